//! Event blocks.

use super::lane::{LaneReader, LaneWriter};
use super::payload::Encoder;
use super::section::{Content, Packer, Section, Seen, Unpacker};
use super::summary::{Summary, vcpu_bit};
use super::{MAX_BLOCK_EVENTS, MAX_BLOCK_SECTION, Malformed, varint};
use crate::Error;
use crate::event::{Event, Payload, VcpuState};

/// A block is closed when it holds this many bytes, uncompressed.
const TARGET: usize = 64 << 10;
/// A block is closed when it holds this many events, which keeps a decoded block to a few MiB.
const TARGET_EVENTS: u32 = 1 << 14;

/// The sections of a block's body.
mod id {
    /// The lanes in the order of their vCPUs, the machine's last: vcpu, events, exits, timed events, bytes in
    /// `EVENTS`, bytes in `BITS`, each a varint.
    pub(super) const LANES: u8 = 1;
    /// The vCPU of each event, a byte each; missing if there is only one lane.
    pub(super) const ORDER: u8 = 2;
    /// Tag, length, payload, event after event, lane after lane. So are the others:
    pub(super) const EVENTS: u8 = 3;
    pub(super) const WAITS: u8 = 4;
    pub(super) const STEPS: u8 = 5;
    pub(super) const GUESTS: u8 = 6;
    pub(super) const HANDLINGS: u8 = 7;
    pub(super) const DURATIONS: u8 = 8;
    pub(super) const BITS: u8 = 9;
    pub(super) const COUNT: usize = 10;
}

/// A lane's part of a section.
type Part = fn(&LaneWriter) -> &[u8];

/// Collects the events of a block.
#[derive(Default)]
pub(crate) struct BlockWriter {
    summary: Summary,
    order: Vec<u8>,
    /// By vCPU; empty ones are those without events.
    lanes: Vec<(u8, LaneWriter)>,
    /// Bytes in the lanes.
    bytes: usize,
    encoder: Encoder,
    scratch: Vec<u8>,
}

impl BlockWriter {
    /// An empty block whose first event will have the number `first_event`.
    pub(crate) fn new(first_event: u64) -> Self {
        Self { summary: Summary { first_event, ..Summary::default() }, ..Self::default() }
    }

    pub(crate) const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Whether it is time to close the block.
    pub(crate) fn is_full(&self) -> bool {
        self.summary.count >= TARGET_EVENTS || self.bytes >= TARGET
    }

    /// Appends `event`; the caller has checked that its vCPU fits and that it is not older than the last.
    pub(crate) fn push(&mut self, event: &Event) -> Result<(), Error> {
        let found = self.lanes.binary_search_by_key(&event.vcpu, |(vcpu, _)| *vcpu);
        let at = found.unwrap_or_else(|at| {
            let start = if self.summary.count == 0 { event.time } else { self.summary.first_time };
            self.lanes.insert(at, (event.vcpu, LaneWriter::new(start)));
            at
        });
        let lane = &mut self.lanes[at].1;
        let before = lane.len();
        lane.push(event, &mut self.encoder)
            .map_err(|source| Error::Encode { what: event.payload.kind().name(), source })?;
        self.bytes += lane.len() - before;
        self.order.push(event.vcpu);
        self.summary.add(event);
        Ok(())
    }

    /// Writes the block's body into `body`, which is cleared first, and starts the next block.
    pub(crate) fn close(&mut self, packer: &mut Packer, body: &mut Vec<u8>) -> Result<Summary, Error> {
        body.clear();
        let mut table = Vec::new();
        let mut bits = Vec::new();
        for (vcpu, lane) in &mut self.lanes {
            let length = lane.bits.drain_into(&mut bits);
            let fields = [
                u64::from(*vcpu),
                lane.count.into(),
                lane.waits.len() as u64,
                lane.durations.len() as u64,
                lane.events.len() as u64,
                length as u64,
            ];
            fields.iter().for_each(|&field| varint::put(&mut table, field));
        }
        packer.put(body, id::LANES, Content::Records, &table)?;
        if self.lanes.len() > 1 {
            packer.put(body, id::ORDER, Content::Symbols, &self.order)?;
        }
        let sections: [(u8, Content, Part); 6] = [
            (id::EVENTS, Content::Records, |lane| &lane.events),
            (id::WAITS, Content::Symbols, |lane| &lane.waits),
            (id::STEPS, Content::Symbols, |lane| &lane.steps),
            (id::GUESTS, Content::Symbols, |lane| &lane.guests),
            (id::HANDLINGS, Content::Symbols, |lane| &lane.handlings),
            (id::DURATIONS, Content::Symbols, |lane| &lane.durations),
        ];
        for (id, content, part) in sections {
            self.scratch.clear();
            for (_, lane) in &self.lanes {
                self.scratch.extend_from_slice(part(lane));
            }
            packer.put(body, id, content, &self.scratch)?;
        }
        packer.put(body, id::BITS, Content::Noise, &bits)?;

        let summary = self.summary;
        self.summary = Summary { first_event: summary.end(), ..Summary::default() };
        self.order.clear();
        self.lanes.clear();
        self.bytes = 0;
        Ok(summary)
    }
}

/// A decoded block.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// Of an event that this version does not know only time and vCPU mean something.
    events: Vec<Event>,
    /// The places of those, in order.
    unknown: Vec<u32>,
}

impl Decoded {
    /// How many events there are, known and unknown.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// How many of them this version does not know.
    pub(crate) fn unknown(&self) -> usize {
        self.unknown.len()
    }

    /// The event at a place; `None` beyond the end and for one that this version does not know.
    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<&Event> {
        let known = self.unknown.is_empty() || self.unknown.binary_search(&(place as u32)).is_err();
        self.events.get(place).filter(|_| known)
    }

    /// The events that this version knows, with their places.
    #[inline]
    pub(crate) fn known(&self) -> impl Iterator<Item = (usize, &Event)> {
        let mut unknown = self.unknown.iter().peekable();
        self.events
            .iter()
            .enumerate()
            .filter(move |(place, _)| unknown.next_if(|&&unknown| unknown as usize == *place).is_none())
    }

    /// The time of each event, also of those that this version does not know.
    pub(crate) fn times(&self) -> impl ExactSizeIterator<Item = u64> {
        self.events.iter().map(|event| event.time)
    }

    /// The place of the first event at `time` or later.
    pub(crate) fn at_time(&self, time: u64) -> usize {
        self.events.partition_point(|event| event.time < time)
    }
}

/// What is in a place for an event before it is decoded.
const BLANK: Event = Event { time: 0, vcpu: 0, payload: Payload::State(VcpuState::Created) };

/// Decodes blocks, one after the other.
pub(crate) struct BlockReader {
    unpacker: Unpacker,
    sections: [Vec<u8>; id::COUNT],
}

impl BlockReader {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { unpacker: Unpacker::new()?, sections: Default::default() })
    }

    /// Decodes `body` into `out`, whose memory is used again. After an error `out` holds nothing of use.
    pub(crate) fn decode(
        &mut self,
        summary: &Summary,
        mut body: &[u8],
        out: &mut Decoded,
    ) -> Result<(), Malformed> {
        self.sections.iter_mut().for_each(Vec::clear);
        let mut seen = Seen::default();
        while !body.is_empty() {
            let section = Section::take(&mut body)?;
            seen.once(&section)?;
            // Sections of later versions are skipped.
            if let Some(content) = self.sections.get_mut(usize::from(section.id)) {
                self.unpacker.unpack(&section, MAX_BLOCK_SECTION, content)?;
            }
        }
        let mut lanes = self.lanes(summary)?;
        out.unknown.clear();
        // Each event takes two bytes or more, so that memory is bounded by the data that is there.
        out.events.resize(summary.count as usize, BLANK);
        let unknown = &mut out.unknown;
        let mut put = |lane: &mut LaneReader<'_>, place: usize, event: &mut Event| {
            if !lane.take(event)? {
                unknown.push(place as u32);
            }
            Ok(())
        };
        if let [lane] = lanes.as_mut_slice() {
            return out.events.iter_mut().enumerate().try_for_each(|(place, event)| put(lane, place, event));
        }
        let mut index = [u8::MAX; 256];
        for (n, lane) in lanes.iter().enumerate() {
            index[usize::from(lane.vcpu())] = n as u8;
        }
        let order = &self.sections[usize::from(id::ORDER)];
        for (place, (event, vcpu)) in out.events.iter_mut().zip(order).enumerate() {
            let lane = lanes.get_mut(usize::from(index[usize::from(*vcpu)]));
            put(lane.ok_or(Malformed("event of a vCPU without a lane"))?, place, event)?;
        }
        Ok(())
    }

    /// The lanes, each with its part of every section. What they declare agrees with the summary and the sections.
    fn lanes(&self, summary: &Summary) -> Result<Vec<LaneReader<'_>>, Malformed> {
        let section = |id: u8| self.sections[usize::from(id)].as_slice();
        let mut table = section(id::LANES);
        let mut parts =
            [id::EVENTS, id::WAITS, id::STEPS, id::GUESTS, id::HANDLINGS, id::DURATIONS, id::BITS]
                .map(section);
        let mut lanes: Vec<LaneReader<'_>> = Vec::new();
        let mut total = 0;
        while !table.is_empty() {
            let mut field = || varint::take_u32(&mut table).ok_or(Malformed("lane table"));
            let (vcpu, count, exits, timed, events, bits) =
                (field()?, field()?, field()?, field()?, field()?, field()?);
            let vcpu = u8::try_from(vcpu)
                .ok()
                .filter(|&vcpu| vcpu_bit(vcpu) != 0 && lanes.last().is_none_or(|lane| lane.vcpu() < vcpu))
                .ok_or(Malformed("vCPU of a lane"))?;
            let others = count.checked_sub(exits).ok_or(Malformed("more exits than events in a lane"))?;
            total += u64::from(count);
            if u64::from(events) < 2 * u64::from(count) {
                return Err(Malformed("more events than bytes for them in a lane"));
            }
            let lengths = [events, exits, others, exits, exits, timed, bits];
            let mut taken = [[].as_slice(); 7];
            for ((part, length), taken) in parts.iter_mut().zip(lengths).zip(&mut taken) {
                let (head, rest) = part
                    .split_at_checked(length as usize)
                    .ok_or(Malformed("lanes are longer than their sections"))?;
                (*taken, *part) = (head, rest);
            }
            lanes.push(LaneReader::new(vcpu, taken, summary.first_time));
        }
        let ordered = if lanes.len() == 1 { total } else { section(id::ORDER).len() as u64 };
        if total != u64::from(summary.count) || ordered != total || summary.count > MAX_BLOCK_EVENTS {
            return Err(Malformed("a block's lanes hold another number of events than it declares"));
        }
        Ok(lanes)
    }
}
