//! How busy each vCPU was over the whole run, in bounded memory.
//!
//! Time is cut into buckets of equal width. When a run outgrows them, neighbours are merged and the width doubles, so
//! a trace of any length takes the same space and adding an event stays cheap.

use trace_format::event::{Event, Payload, VcpuState};

use super::class::{Class, Mix};

/// The most lanes: what a run can have (vCPUs 0 to 15).
pub const MAX_LANES: usize = 16;

const MAX_BUCKETS: usize = 8192;
const FIRST_WIDTH_NS: u64 = 1024;

/// What a vCPU is doing between events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LaneState {
    /// Not created yet, waiting for its start-up IPI, or stopped.
    #[default]
    Absent,
    /// In the guest or in the monitor.
    Running,
    /// Waits for an interrupt.
    Halted,
    /// Stopped for now.
    Paused,
}

/// One bucket of one vCPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// What happened in it.
    pub mix: Mix,
    /// The last state that the vCPU changed to in it.
    pub state: Option<LaneState>,
}

/// The buckets of every vCPU.
#[derive(Clone, Debug)]
pub struct Activity {
    width_ns: u64,
    lanes: Vec<Vec<Bucket>>,
}

impl Activity {
    /// For so many vCPUs at first; more than [`MAX_LANES`] are not kept.
    #[must_use]
    pub fn new(vcpus: u8) -> Self {
        Self { width_ns: FIRST_WIDTH_NS, lanes: vec![Vec::new(); usize::from(vcpus).min(MAX_LANES)] }
    }

    /// Number of lanes.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Counts an event. Events of the machine and of vCPUs that no run has are not counted.
    pub fn add(&mut self, event: &Event) {
        let lane = usize::from(event.vcpu);
        if lane >= MAX_LANES {
            return;
        }
        if lane >= self.lanes.len() {
            // The header says otherwise, or is damaged.
            self.lanes.resize(lane + 1, Vec::new());
        }
        while event.time / self.width_ns >= MAX_BUCKETS as u64 {
            self.coarsen();
        }
        // Below MAX_BUCKETS, so it fits.
        let index = (event.time / self.width_ns) as usize;
        let buckets = &mut self.lanes[lane];
        if buckets.len() <= index {
            buckets.resize(index + 1, Bucket::default());
        }
        let bucket = &mut buckets[index];
        bucket.mix.add(Class::of(&event.payload));
        if let Payload::State(state) = &event.payload {
            bucket.state = Some(LaneState::of(state));
        }
    }

    /// The buckets of `lane` from the one that holds `start`, each with the time it begins at.
    pub fn from(&self, lane: usize, start: u64) -> impl Iterator<Item = (u64, &Bucket)> {
        let buckets = self.lanes.get(lane).map_or(&[][..], Vec::as_slice);
        let first = usize::try_from(start / self.width_ns).unwrap_or(usize::MAX);
        let width = self.width_ns;
        buckets
            .iter()
            .enumerate()
            .skip(first)
            .map(move |(index, bucket)| (width.saturating_mul(index as u64), bucket))
    }

    /// The state that `lane` is in when the bucket that holds `time` begins.
    #[must_use]
    pub fn state_before(&self, lane: usize, time: u64) -> LaneState {
        let Some(buckets) = self.lanes.get(lane) else { return LaneState::Absent };
        let end = usize::try_from(time / self.width_ns).unwrap_or(usize::MAX).min(buckets.len());
        buckets[..end].iter().rev().find_map(|bucket| bucket.state).unwrap_or_default()
    }

    /// The state of each lane, as [`Self::state_before`] has it.
    #[must_use]
    pub fn states_before(&self, time: u64) -> Vec<LaneState> {
        (0..self.lanes()).map(|lane| self.state_before(lane, time)).collect()
    }

    /// Width of a bucket, ns.
    #[must_use]
    pub const fn width_ns(&self) -> u64 {
        self.width_ns
    }

    fn coarsen(&mut self) {
        self.width_ns = self.width_ns.saturating_mul(2);
        for buckets in &mut self.lanes {
            let half = buckets.len().div_ceil(2);
            for index in 0..half {
                let mut merged = std::mem::take(&mut buckets[2 * index]);
                if let Some(second) = buckets.get(2 * index + 1) {
                    merged.mix.merge(&second.mix);
                    merged.state = second.state.or(merged.state);
                }
                buckets[index] = merged;
            }
            buckets.truncate(half);
        }
    }
}

impl LaneState {
    /// As a state event has it.
    #[must_use]
    pub const fn of(state: &VcpuState) -> Self {
        match state {
            VcpuState::Created
            | VcpuState::WaitingForSipi
            | VcpuState::Reset { .. }
            | VcpuState::Stopped { .. } => Self::Absent,
            VcpuState::Running => Self::Running,
            VcpuState::Halted => Self::Halted,
            VcpuState::Paused { .. } => Self::Paused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trace_format::event::MACHINE;

    fn state(time: u64, vcpu: u8, state: VcpuState) -> Event {
        Event { time, vcpu, payload: Payload::State(state) }
    }

    #[test]
    fn merging_keeps_every_count_and_the_last_state() {
        let mut activity = Activity::new(1);
        for n in 0..10_000 {
            activity.add(&state(n * 500, 0, VcpuState::Running));
        }
        activity.add(&state(5_000_001, 0, VcpuState::Halted));
        let before: u32 = activity.from(0, 0).map(|(_, b)| b.mix.count(Class::Note)).sum();
        activity.add(&state(u64::MAX, 0, VcpuState::Running));
        let after: u32 = activity.from(0, 0).map(|(_, b)| b.mix.count(Class::Note)).sum();
        assert_eq!((before, after), (10_001, 10_002));
        assert_eq!(activity.state_before(0, u64::MAX), LaneState::Halted);
        assert!(activity.from(0, 0).count() <= MAX_BUCKETS);
    }

    #[test]
    fn what_has_no_lane_is_not_counted() {
        let mut activity = Activity::new(200);
        assert_eq!(activity.lanes(), MAX_LANES);
        activity.add(&state(0, MACHINE, VcpuState::Running));
        activity.add(&state(0, 16, VcpuState::Running));
        assert!((0..MAX_LANES).all(|lane| activity.from(lane, 0).next().is_none()));
    }
}
