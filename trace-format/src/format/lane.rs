//! Lanes: the events of one vCPU in one block.
//!
//! vCPUs interleave by chance, but each by itself repeats. So a block holds the events vCPU after vCPU, and the order
//! apart from them.

use super::column::{self, BitReader, BitWriter, Mean};
use super::payload::{self, Deltas, Encoder, Times, Timing};
use super::{Malformed, varint};
use crate::event::Event;

/// What the times of a lane's events are predicted from.
struct Clock {
    /// Time of the last event; at first of the block's first event.
    last: u64,
    /// When the last exit was handled, so when the guest ran on.
    resumed: u64,
    guests: [Mean; 64],
    handlings: [Mean; 64],
    durations: [Mean; 64],
}

impl Clock {
    fn new(start: u64) -> Self {
        Self {
            last: start,
            resumed: start,
            guests: [Mean::default(); 64],
            handlings: [Mean::default(); 64],
            durations: [Mean::default(); 64],
        }
    }

    /// When an exit with these `times` is to be expected.
    const fn expected(&self, times: Times) -> u64 {
        self.resumed.wrapping_add(times.guest)
    }
}

/// Writes a lane.
pub(crate) struct LaneWriter {
    pub(crate) count: u32,
    pub(crate) events: Vec<u8>,
    /// Exits: how much later than expected.
    pub(crate) waits: Vec<u8>,
    /// Other events: time since the last event.
    pub(crate) steps: Vec<u8>,
    pub(crate) guests: Vec<u8>,
    pub(crate) handlings: Vec<u8>,
    pub(crate) durations: Vec<u8>,
    pub(crate) bits: BitWriter,
    clock: Clock,
    deltas: Deltas,
}

impl LaneWriter {
    /// An empty lane of a block that begins at time `start`.
    pub(crate) fn new(start: u64) -> Self {
        Self {
            count: 0,
            events: Vec::new(),
            waits: Vec::new(),
            steps: Vec::new(),
            guests: Vec::new(),
            handlings: Vec::new(),
            durations: Vec::new(),
            bits: BitWriter::default(),
            clock: Clock::new(start),
            deltas: Deltas::default(),
        }
    }

    /// Bytes that it holds.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
            + self.waits.len()
            + self.steps.len()
            + self.guests.len()
            + self.handlings.len()
            + self.durations.len()
            + self.bits.len()
    }

    /// Appends `event`. After an error the lane is of no use.
    pub(crate) fn push(&mut self, event: &Event, encoder: &mut Encoder) -> Result<(), postcard::Error> {
        let (tag, times) = payload::tag_and_times(&event.payload);
        let slot = usize::from(tag & 63);
        let (clock, bits) = (&mut self.clock, &mut self.bits);
        match Timing::of(tag) {
            Timing::Exit => {
                column::put(&mut self.guests, bits, clock.guests[slot].residual(times.guest));
                column::put(&mut self.handlings, bits, clock.handlings[slot].residual(times.handling));
                let late = event.time.wrapping_sub(clock.expected(times)) as i64;
                column::put(&mut self.waits, bits, varint::zigzag(late));
                clock.resumed = event.time.wrapping_add(times.handling);
            }
            Timing::Timed => {
                column::put(&mut self.steps, bits, event.time.wrapping_sub(clock.last));
                column::put(&mut self.durations, bits, clock.durations[slot].residual(times.duration));
            }
            Timing::Plain => column::put(&mut self.steps, bits, event.time.wrapping_sub(clock.last)),
        }
        clock.last = event.time;
        self.count += 1;
        self.events.push(tag);
        payload::encode(&event.payload, &mut self.deltas, encoder, &mut self.events)
    }
}

/// Reads a lane. Its slices are exactly this lane's part of the sections.
pub(crate) struct LaneReader<'a> {
    vcpu: u8,
    events: &'a [u8],
    waits: &'a [u8],
    steps: &'a [u8],
    guests: &'a [u8],
    handlings: &'a [u8],
    durations: &'a [u8],
    bits: BitReader<'a>,
    clock: Clock,
    deltas: Deltas,
}

impl<'a> LaneReader<'a> {
    /// The lane of `vcpu` in a block that begins at time `start`. Its parts are in the order of the sections.
    pub(crate) fn new(vcpu: u8, parts: [&'a [u8]; 7], start: u64) -> Self {
        let [events, waits, steps, guests, handlings, durations, bits] = parts;
        let bits = BitReader::new(bits);
        let (clock, deltas) = (Clock::new(start), Deltas::default());
        Self { vcpu, events, waits, steps, guests, handlings, durations, bits, clock, deltas }
    }

    pub(crate) const fn vcpu(&self) -> u8 {
        self.vcpu
    }

    /// Takes the next event into `event`. False for one that this version does not know: of that, `event` has the time.
    #[inline]
    pub(crate) fn take(&mut self, event: &mut Event) -> Result<bool, Malformed> {
        let (&tag, rest) = self.events.split_first().ok_or(Malformed("fewer events than declared"))?;
        self.events = rest;
        let length = varint::take_u32(&mut self.events).ok_or(Malformed("event length"))?;
        let (bytes, rest) = self
            .events
            .split_at_checked(length as usize)
            .ok_or(Malformed("event is longer than its lane"))?;
        self.events = rest;

        let slot = usize::from(tag & 63);
        let (clock, bits) = (&mut self.clock, &mut self.bits);
        let mut times = Times::default();
        let time = match Timing::of(tag) {
            Timing::Exit => {
                times.guest = clock.guests[slot].value(column::take(&mut self.guests, bits)?);
                times.handling = clock.handlings[slot].value(column::take(&mut self.handlings, bits)?);
                let late = varint::unzigzag(column::take(&mut self.waits, bits)?);
                let time = clock.expected(times).wrapping_add(late as u64);
                clock.resumed = time.wrapping_add(times.handling);
                time
            }
            Timing::Timed => {
                let step = column::take(&mut self.steps, bits)?;
                times.duration = clock.durations[slot].value(column::take(&mut self.durations, bits)?);
                clock.last.wrapping_add(step)
            }
            Timing::Plain => clock.last.wrapping_add(column::take(&mut self.steps, bits)?),
        };
        clock.last = time;
        (event.time, event.vcpu) = (time, self.vcpu);
        payload::decode(tag, bytes, times, &mut self.deltas, &mut event.payload)
    }
}
