//! Perfetto's own format: a sequence of protobuf packets, of which it needs not know the end.
//!
//! The machine is a process, each vCPU a thread of it with child tracks; what events say are debug annotations.

mod intern;
mod schema;

use std::io::{self, Write};

use prost::Message as _;
use serde_json::Value;

use self::intern::{Names, Of};
use self::schema::{
    CLOCK_BOOTTIME, CLOCK_REALTIME, COUNTER, Clock, ClockSnapshot, CounterDescriptor, DebugAnnotation,
    INSTANT, ORDER_EXPLICIT, ProcessDescriptor, SEQ_INCREMENTAL_STATE_CLEARED, SEQ_NEEDS_INCREMENTAL_STATE,
    SLICE_BEGIN, SLICE_END, ThreadDescriptor, TracePacket, TrackDescriptor, TrackEvent, UNIT_COUNT,
};
use super::picture::{Canvas, Flow, Mark, Track};
use crate::Header;
use crate::describe::{Details, Lane};

/// `Trace.packet`, length-delimited.
const PACKET: u8 = 1 << 3 | 2;
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
}

impl<W: Write> Perfetto<W> {
    pub(super) fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut perfetto = Self { out, names: Names::default(), cleared: true, buffer: Vec::new() };
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

    fn event(&mut self, time: u64, event: TrackEvent) -> io::Result<()> {
        // Timestamps are signed once they are read.
        let timestamp = Some(time.min(i64::MAX as u64));
        self.packet(TracePacket { timestamp, track_event: Some(event), ..TracePacket::default() })
    }

    fn mark(&mut self, r#type: i32, mark: &Mark<'_>) -> io::Result<()> {
        let subject = &mark.subject;
        if self.names.forget_if_many() {
            self.cleared = true;
        }
        let details = Details { number: subject.number, event: subject.event, header: subject.header };
        // What events say serializes as an object; nothing in it can fail to.
        let details = serde_json::to_value(details).map_err(io::Error::from)?;
        let debug_annotations = annotation(&details, &mut self.names).dict_entries;
        let flows = mark.flow.ids().collect();
        let (flow_ids, terminating_flow_ids) = match mark.flow {
            Flow::To { .. } => (Vec::new(), flows),
            Flow::From { .. } | Flow::None => (flows, Vec::new()),
        };
        let event = TrackEvent {
            category_iids: vec![self.names.number(Of::Category, subject.event.payload.kind().name())],
            debug_annotations,
            r#type: Some(r#type),
            name_iid: Some(self.names.number(Of::Event, &mark.name)),
            track_uuid: Some(uuid(mark.track)),
            flow_ids,
            terminating_flow_ids,
            counter_value: None,
        };
        self.event(subject.event.time, event)
    }

    fn packet(&mut self, packet: TracePacket) -> io::Result<()> {
        let cleared = if std::mem::take(&mut self.cleared) { SEQ_INCREMENTAL_STATE_CLEARED } else { 0 };
        let packet = TracePacket {
            trusted_packet_sequence_id: Some(SEQUENCE),
            sequence_flags: Some(cleared | SEQ_NEEDS_INCREMENTAL_STATE),
            interned_data: self.names.take_new(),
            ..packet
        };
        self.buffer.clear();
        self.buffer.push(PACKET);
        packet.encode_length_delimited(&mut self.buffer).map_err(io::Error::other)?;
        self.out.write_all(&self.buffer)
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
        let debug_annotations = note.map(|note| DebugAnnotation {
            name_iid: Some(self.names.number(Of::Annotation, "end")),
            string_value_iid: Some(self.names.number(Of::Value, note)),
            ..DebugAnnotation::default()
        });
        let event = TrackEvent {
            r#type: Some(SLICE_END),
            track_uuid: Some(uuid(track)),
            debug_annotations: debug_annotations.into_iter().collect(),
            ..TrackEvent::default()
        };
        self.event(time, event)
    }

    fn instant(&mut self, mark: &Mark<'_>) -> io::Result<()> {
        self.mark(INSTANT, mark)
    }

    fn count(&mut self, track: Track, time: u64, value: u64) -> io::Result<()> {
        let event = TrackEvent {
            r#type: Some(COUNTER),
            track_uuid: Some(uuid(track)),
            counter_value: Some(i64::try_from(value).unwrap_or(i64::MAX)),
            ..TrackEvent::default()
        };
        self.event(time, event)
    }
}

fn uuid(track: Track) -> u64 {
    UUIDS | u64::from(track.number())
}

/// A JSON value as an annotation without a name. What is null has no value and does not get here.
fn annotation(value: &Value, names: &mut Names) -> DebugAnnotation {
    let mut made = DebugAnnotation::default();
    match value {
        Value::Null => {}
        Value::Bool(value) => made.bool_value = Some(*value),
        // Events have no other numbers than unsigned ones.
        Value::Number(number) => made.uint_value = number.as_u64(),
        Value::String(text) => match address(text) {
            Some(address) => made.pointer_value = Some(address),
            None => made.string_value_iid = Some(names.number(Of::Value, text)),
        },
        Value::Array(values) => {
            made.array_values = values.iter().map(|value| annotation(value, names)).collect();
        }
        Value::Object(object) => {
            let entries = object.iter().filter(|(_, value)| !value.is_null());
            made.dict_entries = entries
                .map(|(name, value)| {
                    let name_iid = Some(names.number(Of::Annotation, name));
                    DebugAnnotation { name_iid, ..annotation(value, names) }
                })
                .collect();
        }
    }
    made
}

/// The number that is displayed as this text when it is displayed as an address.
fn address(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let canonical = digits == "0" || !digits.starts_with('0');
    let lower = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(digits, 16).ok().filter(|_| canonical && lower)
}

#[cfg(test)]
mod tests;
