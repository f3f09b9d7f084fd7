//! One time order out of many nearly ordered sequences.

use std::collections::VecDeque;

use trace_format::event::Event;

/// Holds events until nothing older can come.
#[derive(Debug)]
pub(super) struct Merge {
    /// Each in time order; equal times in the order of arrival.
    lanes: Vec<VecDeque<Event>>,
}

impl Merge {
    pub(super) fn new(lanes: usize) -> Self {
        Self { lanes: (0..lanes).map(|_| VecDeque::new()).collect() }
    }

    /// Takes an event of `lane`. An exit comes a few places later than its time says, so it moves up from the back.
    pub(super) fn push(&mut self, lane: usize, event: Event) {
        let Some(queue) = self.lanes.get_mut(lane) else { return };
        let mut at = queue.len();
        while at > 0 && queue[at - 1].time > event.time {
            at -= 1;
        }
        queue.insert(at, event);
    }

    /// The oldest event that is older than `floor`; of several at one time the one of the lowest lane.
    pub(super) fn pop_before(&mut self, floor: u64) -> Option<Event> {
        let oldest = self
            .lanes
            .iter()
            .enumerate()
            .filter_map(|(lane, queue)| Some((queue.front()?.time, lane)))
            .min()
            .filter(|(time, _)| *time < floor)?;
        self.lanes[oldest.1].pop_front()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trace_format::event::{AddressSpace, Payload};

    use super::*;

    fn event(time: u64, vcpu: u8, n: u64) -> Event {
        Event { time, vcpu, payload: Payload::AddressSpace(AddressSpace { old: 0, new: n }) }
    }

    #[test]
    fn nothing_leaves_before_its_floor() {
        let mut merge = Merge::new(2);
        merge.push(0, event(10, 0, 0));
        assert_eq!(merge.pop_before(10), None);
        assert_eq!(merge.pop_before(11).map(|e| e.time), Some(10));
    }

    proptest! {
        /// Whatever the interleaving: lanes push late exits, floors are honest, and rounds of release come at any
        /// time. Everything comes out once, in time order, and one lane's equal times keep their order.
        #[test]
        fn any_interleaving_gives_one_time_order(
            script in prop::collection::vec((0_usize..4, 0_u64..50, 0_u64..4, any::<bool>()), 1..200)
        ) {
            let mut merge = Merge::new(4);
            let mut clocks = [0_u64; 4];
            let mut out = Vec::new();
            let mut pushed = 0_u64;
            for (lane, advance, inner, release) in script {
                // One exit: time t, `inner` events during its handling, then the exit itself with time t.
                let t = clocks[lane] + advance;
                for n in 0..inner {
                    merge.push(lane, event(t + n, lane as u8, pushed));
                    pushed += 1;
                }
                merge.push(lane, event(t, lane as u8, pushed));
                pushed += 1;
                clocks[lane] = t + inner;
                if release {
                    let floor = clocks.iter().copied().min().unwrap_or(0);
                    while let Some(e) = merge.pop_before(floor) {
                        out.push(e);
                    }
                }
            }
            while let Some(e) = merge.pop_before(u64::MAX) {
                out.push(e);
            }
            prop_assert_eq!(out.len() as u64, pushed);
            prop_assert!(out.windows(2).all(|w| w[0].time <= w[1].time));
        }
    }
}
