//! Where two runs part ways.

use serde::Serialize;

use super::lane::{Lane, Lanes, Step, Walker};
use crate::describe::Line;
use crate::event::Event;
use crate::filter::{Selection, Subject};
use crate::{Error, Header, Reader};

/// How far a vCPU does the same in both runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parting {
    /// The vCPU's number, 255 for the machine.
    pub vcpu: u8,
    /// How many steps are the same.
    pub steps: u64,
    /// Whether both do the same until the end.
    pub same: bool,
    /// The first event of the first run that is another one; none if it has ended there, or both do the same.
    pub a: Option<Place>,
    /// Of the second run.
    pub b: Option<Place>,
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its number in the trace.
    pub number: u64,
    /// Its time, ns.
    pub time: u64,
    /// As `vmscope events` prints it.
    pub line: String,
}

/// Compares the lanes of two traces, and finds in the traces where they differ.
pub(super) fn partings(
    a: (&mut Reader, &Lanes),
    b: (&mut Reader, &Lanes),
    selection: &Selection,
) -> Result<Vec<Parting>, Error> {
    let ((reader_a, lanes_a), (reader_b, lanes_b)) = (a, b);
    let mut vcpus: Vec<u8> = lanes_a.keys().chain(lanes_b.keys()).copied().collect();
    vcpus.sort_unstable();
    vcpus.dedup();
    let nothing = Lane::default();
    let mut found = Vec::new();
    for vcpu in vcpus {
        let lane_a = lanes_a.get(&vcpu).unwrap_or(&nothing);
        let lane_b = lanes_b.get(&vcpu).unwrap_or(&nothing);
        let steps = lane_a.steps;
        if steps == lane_b.steps && lane_a.hash == lane_b.hash {
            if steps > 0 {
                found.push(Parting { vcpu, steps, same: true, a: None, b: None });
            }
            continue;
        }
        let pairs = lane_a.checkpoints.iter().zip(&lane_b.checkpoints);
        let start = pairs.take_while(|(a, b)| a.hash == b.hash && a.steps == b.steps).last();
        let (start_a, start_b, mut steps) =
            start.map_or((0, 0, 0), |(checkpoint, b)| (checkpoint.event, b.event, checkpoint.steps));
        let mut steps_a = steps_of(reader_a, vcpu, start_a, selection);
        let mut steps_b = steps_of(reader_b, vcpu, start_b, selection);
        let (a, b) = loop {
            match (steps_a.next().transpose()?, steps_b.next().transpose()?) {
                (Some(a), Some(b)) if a.step == b.step => steps += 1,
                (a, b) => break (a, b),
            }
        };
        drop((steps_a, steps_b));
        let place = |at: Option<At>, reader: &Reader| at.map(|at| at.place(reader.header()));
        let (a, b) = (place(a, reader_a), place(b, reader_b));
        found.push(Parting { vcpu, steps, same: false, a, b });
    }
    Ok(found)
}

/// A step and its event.
struct At {
    step: Step,
    number: u64,
    event: Event,
}

impl At {
    fn place(self, header: &Header) -> Place {
        let Self { number, event, .. } = self;
        let line = Line { number, event: &event, header }.to_string();
        Place { number, time: event.time, line }
    }
}

/// The steps of a vCPU from event `from` on.
fn steps_of(
    reader: &mut Reader,
    vcpu: u8,
    from: u64,
    selection: &Selection,
) -> impl Iterator<Item = Result<At, Error>> {
    let header = reader.header().clone();
    let mut walker = Walker::default();
    reader.forward(from).filter_map(move |found| match found {
        Err(error) => Some(Err(error)),
        Ok((_, event)) if event.vcpu != vcpu => None,
        Ok((number, event)) if !selection.has(&Subject { number, event: &event, header: &header }) => None,
        Ok((number, event)) => {
            let step = walker.step(&event, &header)?;
            Some(Ok(At { step, number, event }))
        }
    })
}
