//! One time order out of many nearly ordered sequences.

use std::collections::VecDeque;

use super::ring::Packed;

/// Holds events until nothing older can come.
#[derive(Debug)]
pub(super) struct Merge {
    /// Each in time order; equal times in the order of arrival.
    lanes: Vec<VecDeque<Packed>>,
    /// How many there are in all of them.
    waiting: usize,
    /// The time of the newest event that has left.
    left: u64,
}

impl Merge {
    pub(super) fn new(lanes: usize) -> Self {
        Self { lanes: (0..lanes).map(|_| VecDeque::new()).collect(), waiting: 0, left: 0 }
    }

    /// Takes an event of `lane`. An exit comes a few places later than its time says, so it moves up from the back; but
    /// not before what [`Self::take_excess`] has let go.
    pub(super) fn push(&mut self, lane: usize, mut event: Packed) {
        let Some(queue) = self.lanes.get_mut(lane) else { return };
        if event.time() < self.left {
            event.delay_until(self.left);
        }
        self.waiting += 1;
        let mut at = queue.len();
        while at > 0 && queue[at - 1].time() > event.time() {
            at -= 1;
        }
        if at == queue.len() {
            queue.push_back(event);
        } else {
            queue.insert(at, event);
        }
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
                self.waiting -= 1;
                self.left = event.time();
                take(event)?;
            }
        }
        Ok(())
    }

    /// Gives `take` the oldest events, floor or not, until no more than `most` are left. A lane whose handling of an exit
    /// takes very long, because a disk does say, holds up all that the others do meanwhile; what it pushes in the end
    /// gets the time of what has left.
    ///
    /// # Errors
    /// What `take` returns; it has had the event then.
    pub(super) fn take_excess<E>(
        &mut self,
        most: usize,
        mut take: impl FnMut(Packed) -> Result<(), E>,
    ) -> Result<(), E> {
        while self.waiting > most
            && let Some((lane, _)) = self.next_run(u64::MAX)
            && let Some(event) = self.lanes.get_mut(lane).and_then(VecDeque::pop_front)
        {
            self.waiting -= 1;
            self.left = event.time();
            take(event)?;
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
    use trace_format::event::{AddressSpace, Event, Exit, ExitReason, Payload};

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
    fn a_lane_that_takes_long_holds_up_no_more_than_a_few() {
        let mut merge = Merge::new(2);
        let mut out = Vec::new();
        let excess = |merge: &mut Merge, out: &mut Vec<Event>| {
            let taken: Result<(), ()> = merge.take_excess(8, |packed| {
                out.push(packed.unpack());
                Ok(())
            });
            assert_eq!(taken, Ok(()));
        };
        // Lane 0 has an exit at 10 that is handled until 1010.
        for time in 11..=110 {
            merge.push(1, event(time, 1, 0));
            taken(&mut merge, 10, &mut out);
            excess(&mut merge, &mut out);
        }
        assert_eq!((out.len(), out[91].time), (92, 102));
        let exit = |time, handling_ns| {
            let reason = ExitReason::Halt;
            let exit = Exit { reason, rip: 0, cpl: 0, guest_ns: 5, handling_ns };
            Event { time, vcpu: 0, payload: Payload::Exit(exit) }
        };
        merge.push(0, Packed::Other(Box::new(exit(10, 1000))));
        merge.push(0, event(1010, 0, 0));
        taken(&mut merge, u64::MAX, &mut out);
        assert_eq!(out.len(), 102);
        assert_eq!(out[92], exit(102, 908), "as early as it can be, and over when it was over");
        assert!(out.is_sorted_by_key(|event| event.time));
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
