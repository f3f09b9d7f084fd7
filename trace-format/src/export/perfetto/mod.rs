//! Perfetto's own format: a sequence of protobuf packets, of which it needs not know the end.
//!
//! The machine is a process, each vCPU a thread of it with child tracks; what events say are debug annotations.

mod annotation;
mod intern;
mod schema;
mod wire;

use std::io::{self, Write};

use prost::Message as _;

use self::annotation::Annotations;
use self::intern::{Names, Of};
use self::schema::{
    CLOCK_BOOTTIME, CLOCK_REALTIME, COUNTER, Clock, ClockSnapshot, CounterDescriptor, INSTANT,
    ORDER_EXPLICIT, ProcessDescriptor, SEQ_INCREMENTAL_STATE_CLEARED, SEQ_NEEDS_INCREMENTAL_STATE,
    SLICE_BEGIN, SLICE_END, ThreadDescriptor, TracePacket, TrackDescriptor, UNIT_COUNT, packet, track_event,
};
use super::picture::{Canvas, Flow, Mark, Track};
use crate::Header;
use crate::describe::Lane;
use crate::describe::fields::{self, Said, Visitor as _};

/// `Trace.packet`.
const PACKET: u32 = 1;
/// There is one sequence of packets.
const SEQUENCE: u32 = 1;
/// The pid of the machine; vCPUs have the tids after it.
const PID: i32 = 1;
/// Track uuids have this in their high half, for they should be unlikely to be those of another trace.
const UUIDS: u64 = 0x766d_7363 << 32;
const PROCESS: u64 = UUIDS;

/// Draws into a stream of packets.
pub(super) struct Perfetto<W> {
    out: W,
    names: Names,
    /// The next packet says that no names are known.
    cleared: bool,
    buffer: Vec<u8>,
    /// The event that is being written.
    event: Vec<u8>,
}

impl<W: Write> Perfetto<W> {
    pub(super) fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut perfetto =
            Self { out, names: Names::default(), cleared: true, buffer: Vec::new(), event: Vec::new() };
        perfetto.begin_sequence(header)?;
        Ok(perfetto)
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn begin_sequence(&mut self, header: &Header) -> io::Result<()> {
        let clock = |clock_id, timestamp| Clock { clock_id: Some(clock_id), timestamp: Some(timestamp) };
        let mut clocks = vec![clock(CLOCK_BOOTTIME, 0)];
        if header.start_unix_ns != 0 {
            clocks.push(clock(CLOCK_REALTIME, header.start_unix_ns));
        }
        let clock_snapshot = Some(ClockSnapshot { clocks, primary_trace_clock: Some(CLOCK_BOOTTIME) });
        self.packet(TracePacket { clock_snapshot, ..TracePacket::default() })?;
        let name = if header.guest.is_empty() { "guest" } else { &header.guest };
        let process = ProcessDescriptor {
            pid: Some(PID),
            cmdline: header.command.clone(),
            process_name: Some(name.to_owned()),
        };
        self.descriptor(TrackDescriptor {
            uuid: Some(PROCESS),
            process: Some(process),
            child_ordering: Some(ORDER_EXPLICIT),
            ..TrackDescriptor::default()
        })
    }

    fn descriptor(&mut self, descriptor: TrackDescriptor) -> io::Result<()> {
        self.packet(TracePacket { track_descriptor: Some(descriptor), ..TracePacket::default() })
    }

    /// Begins an event of `r#type` on `track`. Its fields are written as they come and not made into a message first,
    /// which would take most of the time.
    fn begin_event(&mut self, r#type: i32, track: Track) {
        self.event.clear();
        wire::number(&mut self.event, track_event::TYPE, r#type as u64);
        wire::number(&mut self.event, track_event::TRACK_UUID, uuid(track));
    }

    /// Writes the event that was begun.
    fn end_event(&mut self, time: u64) -> io::Result<()> {
        let flags = self.flags();
        self.buffer.clear();
        wire::message(&mut self.buffer, PACKET, |out| {
            // Timestamps are signed once they are read.
            wire::number(out, packet::TIMESTAMP, time.min(i64::MAX as u64));
            wire::number(out, packet::SEQUENCE_ID, SEQUENCE.into());
            wire::bytes(out, packet::TRACK_EVENT, &self.event);
            if let Some(new) = self.names.take_new() {
                wire::bytes(out, packet::INTERNED_DATA, &new.encode_to_vec());
            }
            wire::number(out, packet::SEQUENCE_FLAGS, flags.into());
        });
        self.out.write_all(&self.buffer)
    }

    fn mark(&mut self, r#type: i32, mark: &Mark<'_>) -> io::Result<()> {
        let subject = &mark.seen.subject;
        if self.names.forget_if_many() {
            self.cleared = true;
        }
        self.begin_event(r#type, mark.track);
        let category = self.names.of_program(Of::Category, subject.event.payload.kind().name());
        wire::number(&mut self.event, track_event::CATEGORY_IIDS, category);
        let name = self.names.number(Of::Event, &mark.name);
        wire::number(&mut self.event, track_event::NAME_IID, name);
        let mut annotations = Annotations { names: &mut self.names, out: &mut self.event };
        let Ok(()) = annotations.field("number", subject.number.into());
        let Ok(()) = fields::details(subject.event, subject.header, &mut annotations);
        let flow = match mark.flow {
            Flow::To { .. } => track_event::TERMINATING_FLOW_IDS,
            Flow::From { .. } | Flow::None => track_event::FLOW_IDS,
        };
        mark.flow.ids().for_each(|id| wire::fixed(&mut self.event, flow, id));
        self.end_event(subject.event.time)
    }

    fn packet(&mut self, packet: TracePacket) -> io::Result<()> {
        let packet = TracePacket {
            trusted_packet_sequence_id: Some(SEQUENCE),
            sequence_flags: Some(self.flags()),
            ..packet
        };
        self.buffer.clear();
        wire::bytes(&mut self.buffer, PACKET, &packet.encode_to_vec());
        self.out.write_all(&self.buffer)
    }

    fn flags(&mut self) -> u32 {
        let cleared = if std::mem::take(&mut self.cleared) { SEQ_INCREMENTAL_STATE_CLEARED } else { 0 };
        cleared | SEQ_NEEDS_INCREMENTAL_STATE
    }
}

impl<W: Write> Canvas for Perfetto<W> {
    fn track(&mut self, track: Track, name: &str) -> io::Result<()> {
        let parent = track.vcpu().map_or(PROCESS, |vcpu| uuid(Track::Vcpu(vcpu)));
        let thread = match track {
            Track::Vcpu(vcpu) => Some(ThreadDescriptor {
                pid: Some(PID),
                tid: Some(PID + 1 + i32::from(vcpu)),
                thread_name: Some(Lane(vcpu).to_string()),
            }),
            _ => None,
        };
        let name = match track {
            Track::Machine => Some("machine"),
            Track::Counter(_) => Some(name),
            Track::Vcpu(_) => None,
            Track::State(_) => Some("state"),
            Track::Rate(_) => Some("exits per second"),
            Track::Sent(..) => Some("IPIs sent"),
            Track::Taken(..) => Some("interrupts taken"),
        };
        let counter = track.is_counter().then(|| match track {
            Track::Rate(_) => CounterDescriptor { unit: None, unit_name: Some("exits/s".to_owned()) },
            _ => CounterDescriptor { unit: Some(UNIT_COUNT), unit_name: None },
        });
        self.descriptor(TrackDescriptor {
            uuid: Some(uuid(track)),
            name: name.map(str::to_owned),
            parent_uuid: if thread.is_some() { None } else { Some(parent) },
            process: None,
            child_ordering: thread.as_ref().map(|_| ORDER_EXPLICIT),
            sibling_order_rank: Some(track.rank().into()),
            thread,
            counter,
        })
    }

    fn begin(&mut self, mark: &Mark<'_>) -> io::Result<()> {
        self.mark(SLICE_BEGIN, mark)
    }

    fn end(&mut self, track: Track, time: u64, note: Option<&str>) -> io::Result<()> {
        self.begin_event(SLICE_END, track);
        if let Some(note) = note {
            let mut annotations = Annotations { names: &mut self.names, out: &mut self.event };
            let Ok(()) = annotations.field("end", Said::Text(note));
        }
        self.end_event(time)
    }

    fn instant(&mut self, mark: &Mark<'_>) -> io::Result<()> {
        self.mark(INSTANT, mark)
    }

    fn count(&mut self, track: Track, time: u64, value: u64) -> io::Result<()> {
        self.begin_event(COUNTER, track);
        wire::number(&mut self.event, track_event::COUNTER_VALUE, value.min(i64::MAX as u64));
        self.end_event(time)
    }
}

fn uuid(track: Track) -> u64 {
    UUIDS | u64::from(track.number())
}

#[cfg(test)]
mod tests;
