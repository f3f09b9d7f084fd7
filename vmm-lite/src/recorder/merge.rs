//! One time order out of many nearly ordered sequences.

use std::collections::VecDeque;

use super::ring::Packed;

/// Holds events until nothing older can come.
#[derive(Debug)]
pub(super) struct Merge {
    /// Each in time order; equal times in the order of arrival.
    lanes: Vec<VecDeque<Packed>>,
}

impl Merge {
    pub(super) fn new(lanes: usize) -> Self {
        Self { lanes: (0..lanes).map(|_| VecDeque::new()).collect() }
    }

    /// Takes an event of `lane`. An exit comes a few places later than its time says, so it moves up from the back.
    pub(super) fn push(&mut self, lane: usize, event: Packed) {
        let Some(queue) = self.lanes.get_mut(lane) else { return };
        let mut at = queue.len();
        while at > 0 && queue[at - 1].time() > event.time() {
            at -= 1;
        }
        queue.insert(at, event);
    }

    /// Gives `take` every event that is older than `floor`, in time order; of several at one time those of the lowest
    /// lane come first.
    ///
    /// # Errors
    /// What `take` returns; it has had the event then.
    pub(super) fn take_before<E>(
        &mut self,
        floor: u64,
        mut take: impl FnMut(Packed) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some((lane, until)) = self.next_run(floor) {
            let Some(queue) = self.lanes.get_mut(lane) else { return Ok(()) };
            while let Some(event) = queue.pop_front_if(|event| event.time() < until) {
                take(event)?;
            }
        }
        Ok(())
    }

    /// The lane with the oldest event, and the time from which on another one's turn comes first, at most `floor`.
    fn next_run(&self, floor: u64) -> Option<(usize, u64)> {
        let fronts = || {
            let lanes = self.lanes.iter().enumerate();
            lanes.filter_map(|(lane, queue)| Some((queue.front()?.time(), lane)))
        };
        let (_, oldest) = fronts().min().filter(|(time, _)| *time < floor)?;
        let others = fronts().filter(|(_, lane)| *lane != oldest);
        let turns = others.map(|(time, lane)| if lane < oldest { time } else { time.saturating_add(1) });
        Some((oldest, turns.fold(floor, u64::min)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trace_format::event::{AddressSpace, Event, Payload};

    use super::*;

    fn event(time: u64, vcpu: u8, n: u64) -> Packed {
        let payload = Payload::AddressSpace(AddressSpace { old: 0, new: n });
        Packed::Other(Box::new(Event { time, vcpu, payload }))
    }

    fn taken(merge: &mut Merge, floor: u64, out: &mut Vec<Event>) {
        let taken: Result<(), ()> = merge.take_before(floor, |packed| {
            out.push(packed.unpack());
            Ok(())
        });
        assert_eq!(taken, Ok(()));
    }

    #[test]
    fn nothing_leaves_before_its_floor() {
        let mut merge = Merge::new(2);
        let mut out = Vec::new();
        merge.push(0, event(10, 0, 0));
        taken(&mut merge, 10, &mut out);
        assert_eq!(out.len(), 0);
        taken(&mut merge, 11, &mut out);
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn lanes_take_turns_and_the_lower_is_first_at_one_time() {
        let mut merge = Merge::new(3);
        for (lane, times) in [(0, [3, 4, 7]), (1, [1, 3, 5]), (2, [3, 3, 4])] {
            times.into_iter().for_each(|time| merge.push(lane, event(time, lane as u8, 0)));
        }
        let mut out = Vec::new();
        taken(&mut merge, u64::MAX, &mut out);
        let order: Vec<_> = out.iter().map(|event| (event.time, event.vcpu)).collect();
        assert_eq!(order, [(1, 1), (3, 0), (3, 1), (3, 2), (3, 2), (4, 0), (4, 2), (5, 1), (7, 0)]);
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
                    taken(&mut merge, floor, &mut out);
                }
            }
            taken(&mut merge, u64::MAX, &mut out);
            prop_assert_eq!(out.len() as u64, pushed);
            prop_assert!(out.windows(2).all(|w| w[0].time <= w[1].time));
        }
    }
}
