//! The APIC timer (SDM vol. 3, 12.5.4): a count of 1 ns ticks, divided, or a deadline on the TSC.

/// The shortest time from one periodic interrupt to the next that is scheduled, ns: a shorter period would leave the
/// vCPU no time to run.
const SHORTEST_PERIOD_NS: u64 = 20_000;

/// Bits 18:17 of the timer's LVT entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerMode {
    OneShot,
    Periodic,
    TscDeadline,
    Reserved,
}

/// The timer's registers and its next deadline.
#[derive(Clone, Debug, Default)]
pub(super) struct Timer {
    initial: u32,
    /// The divide configuration register as the guest wrote it.
    divide: u32,
    /// When it expires, ns; nothing while it does not count.
    deadline_ns: Option<u64>,
    /// `IA32_TSC_DEADLINE`, 0 when not armed.
    tsc_deadline: u64,
}

impl Timer {
    pub(super) const fn deadline_ns(&self) -> Option<u64> {
        self.deadline_ns
    }

    pub(super) const fn initial(&self) -> u32 {
        self.initial
    }

    pub(super) const fn divide(&self) -> u32 {
        self.divide
    }

    pub(super) const fn tsc_deadline(&self) -> u64 {
        self.tsc_deadline
    }

    /// Starts the count, or stops it with 0. In TSC-deadline mode the register is ignored.
    pub(super) fn set_initial(&mut self, mode: TimerMode, value: u32, now_ns: u64) {
        if mode == TimerMode::TscDeadline {
            return;
        }
        self.initial = value;
        self.deadline_ns = (value != 0).then(|| now_ns.saturating_add(self.ticks_ns(value)));
    }

    /// Changes the divisor; what is left of the count goes on at the new speed.
    pub(super) fn set_divide(&mut self, mode: TimerMode, value: u32, now_ns: u64) {
        let left = self.current(mode, now_ns);
        self.divide = value & 0b1011;
        if mode != TimerMode::TscDeadline && self.deadline_ns.is_some() {
            self.deadline_ns = Some(now_ns.saturating_add(self.ticks_ns(left)));
        }
    }

    /// The LVT entry's mode has changed: to and from TSC deadline disarms (SDM vol. 3, 12.5.4.1).
    pub(super) fn change_mode(&mut self, from: TimerMode, to: TimerMode) {
        if (from == TimerMode::TscDeadline) != (to == TimerMode::TscDeadline) {
            self.deadline_ns = None;
            self.tsc_deadline = 0;
            self.initial = 0;
        }
    }

    /// Arms the TSC deadline, or disarms it with 0. Ignored in the other modes.
    ///
    /// `tsc` is the guest's TSC at `now_ns`, and `tsc_khz` its frequency, not 0.
    pub(super) fn set_tsc_deadline(
        &mut self,
        mode: TimerMode,
        value: u64,
        tsc_khz: u32,
        now_ns: u64,
        tsc: u64,
    ) {
        if mode != TimerMode::TscDeadline {
            return;
        }
        self.tsc_deadline = value;
        self.deadline_ns = (value != 0).then(|| {
            let ns = u128::from(value.saturating_sub(tsc)) * 1_000_000 / u128::from(tsc_khz.max(1));
            now_ns.saturating_add(u64::try_from(ns).unwrap_or(u64::MAX))
        });
    }

    /// The current count.
    pub(super) fn current(&self, mode: TimerMode, now_ns: u64) -> u32 {
        let (Some(deadline), false) = (self.deadline_ns, mode == TimerMode::TscDeadline) else { return 0 };
        let initial = u64::from(self.initial);
        let divisor = self.divisor();
        let count = if let Some(left) = deadline.checked_sub(now_ns).filter(|&left| left != 0) {
            // More than one period is left where the deadline was put off.
            (left.div_ceil(divisor) - 1) % initial.max(1) + 1
        } else if mode == TimerMode::Periodic {
            initial - (now_ns - deadline) / divisor % initial.max(1)
        } else {
            0
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// If the deadline has come, returns it and, in periodic mode, sets the next: the first multiple of the period
    /// to come, at least [`SHORTEST_PERIOD_NS`] ahead if the period is shorter than that. Periods that were missed are not made up for.
    pub(super) fn expire(&mut self, mode: TimerMode, now_ns: u64) -> Option<u64> {
        let deadline = self.deadline_ns.filter(|&deadline| deadline <= now_ns)?;
        self.tsc_deadline = 0;
        self.deadline_ns = (mode == TimerMode::Periodic && self.initial != 0).then(|| {
            let period = self.ticks_ns(self.initial);
            let ahead = if period < SHORTEST_PERIOD_NS { SHORTEST_PERIOD_NS } else { 1 };
            let soonest = now_ns.saturating_add(ahead);
            let periods = (soonest - deadline).div_ceil(period);
            deadline.saturating_add(periods.saturating_mul(period))
        });
        Some(deadline)
    }

    fn ticks_ns(&self, count: u32) -> u64 {
        u64::from(count) * self.divisor()
    }

    /// Bits 3, 1 and 0 of the divide register: 2 to 128, and 1 for 0b111.
    fn divisor(&self) -> u64 {
        let code = self.divide >> 1 & 0b100 | self.divide & 0b11;
        1 << ((code + 1) & 0b111)
    }
}
