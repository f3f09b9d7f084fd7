//! What looking for handlers may cost.
//!
//! A guest decides how often its handlers move and how much code they have. A kernel moves them a few times while it
//! boots; a guest that does nothing else must not keep its vCPU's thread in here.

/// What may be spent at once, ns: some searches on a slow host, where one takes a quarter of a second. Between two the
/// vCPU's thread looks at what others want of it.
const BURST_NS: i64 = 2_000_000_000;
/// Afterwards one part of so many of the time.
const SHARE: u64 = 10;

/// Time that may still be spent.
#[derive(Debug)]
pub(super) struct Budget {
    /// Less than nothing after a search that cost more than there was.
    credit_ns: i64,
    counted_ns: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { credit_ns: BURST_NS, counted_ns: 0 }
    }
}

impl Budget {
    /// Whether there is anything left at time `now`, ns.
    pub(super) fn allows(&mut self, now: u64) -> bool {
        let earned = i64::try_from(now.saturating_sub(self.counted_ns) / SHARE).unwrap_or(BURST_NS);
        self.credit_ns = self.credit_ns.saturating_add(earned).min(BURST_NS);
        self.counted_ns = now;
        self.credit_ns > 0
    }

    /// Takes the cost of one search, ns, which may be more than there is.
    pub(super) fn spend(&mut self, cost: u64) {
        self.credit_ns = self.credit_ns.saturating_sub(i64::try_from(cost).unwrap_or(BURST_NS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_moves_its_handlers_all_the_time_gets_a_tenth() {
        const COST: u64 = 2_000_000;
        let (mut budget, mut now, mut spent) = (Budget::default(), 0, 0);
        while now < 100_000_000_000 {
            now += 10_000;
            if budget.allows(now) {
                budget.spend(COST);
                now += COST;
                spent += COST;
            }
        }
        assert!(spent < now / 5, "{spent} of {now}");
    }

    #[test]
    fn a_booting_kernel_is_not_held_up() {
        let mut budget = Budget::default();
        for n in 0..20 {
            assert!(budget.allows(n));
            budget.spend(2_000_000);
        }
    }
}
