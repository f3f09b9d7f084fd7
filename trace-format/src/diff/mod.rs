//! Comparing two traces: what happened more or less often, what took longer, and where two runs of one guest part ways.
//!
//! As JSON a comparison is one object; `DIFF.md` documents its fields, which are kept.
//!
//! # When something has changed
//!
//! When it differs by at least [`Options::threshold`], and by more than noise: the chance that what is the same in both runs
//! shows such a difference is below [`SIGNIFICANT`], after Holm's correction for the number of comparisons.
//!
//! - Counts: a two-sided binomial test of how they are divided between the runs. It takes events as independent of each
//!   other. Bursts are not, so that of many alike a single difference may be one burst more: the threshold is for those.
//! - Times: the Mann-Whitney test of all values, shown by their medians, and a binomial test of how the longest hundredth of
//!   all is divided between the runs, shown by the 99th percentiles. Sides with fewer than 8 values are not tested.
//!
//! Both know the noise within the two runs, and not that from one run to another: a host that was busier during one run makes
//! everything slower in it, and that is a change.
//!
//! # Where runs part ways
//!
//! Each vCPU's steps are compared in order: exits for ports, memory, MSRs and hypercalls, traps but interrupts, IPIs, guest
//! markers and counters, and the end. Not compared are times, data, `hlt`, and what is done while an interrupt is handled. Code
//! is the same place if symbol and offset are, without a symbol if it is at the same place of a page.

mod condition;
mod lane;
mod parting;
mod profile;
mod significance;
mod text;

use std::collections::BTreeMap;
use std::thread;

use serde::Serialize;

pub use condition::{Compared, Condition, DOCUMENTATION, Judgement};
pub use parting::{Parting, Place};
pub use text::Text;

use self::parting::partings;
use self::profile::Profile;
use crate::analysis::{Durations, Quantiles};
use crate::filter::Selection;
use crate::{Damage, Error, Reader};

/// A change is one if it would be there by chance less often than this.
pub const SIGNIFICANT: f64 = 0.01;

/// How traces are compared.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which events of both.
    pub selection: Selection,
    /// What differs by less than this fraction has not changed: 0.05 is 5 %.
    pub threshold: f64,
    /// Compare how often things happen in a second, and not in a run.
    pub rates: bool,
}

impl Default for Options {
    /// Everything, 5 %, in a run.
    fn default() -> Self {
        Self { selection: Selection::default(), threshold: 0.05, rates: false }
    }
}

/// How two traces differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// Version of this structure: 1.
    pub schema: u32,
    /// The first trace.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// Whether counts are compared a second.
    pub rates: bool,
    /// What counts as a change, a fraction.
    pub threshold: f64,
    /// How often what happened.
    pub counts: Vec<CountChange>,
    /// How long what took.
    pub times: Vec<TimeChange>,
    /// How far each vCPU did the same.
    pub partings: Vec<Parting>,
}

/// One of the traces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// The guest's name or image.
    pub guest: String,
    /// Number of vCPUs.
    pub vcpus: u8,
    /// Events that are compared.
    pub events: u64,
    /// From the first event that may be compared to the last, ns.
    pub duration_ns: u64,
    /// Events that the recorder dropped.
    pub lost: u64,
    /// What is wrong with the file.
    pub damage: Vec<Damage>,
}

/// What is counted or timed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Subject {
    /// `exit`, `trap`, `handling`, ...
    pub what: &'static str,
    /// A reason, a vector, a symbol.
    pub of: String,
}

/// How often something happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CountChange {
    /// What.
    #[serde(flatten)]
    pub subject: Subject,
    /// How often in the first run.
    pub a: u64,
    /// How often in the second.
    pub b: u64,
    /// The difference as a fraction of the first, of rates if they are compared; `None` if there was nothing.
    pub change: Option<f64>,
    /// How likely it is to be chance, corrected.
    pub p: f64,
    /// Whether it is a change.
    pub changed: bool,
}

/// How long something took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimeChange {
    /// What.
    #[serde(flatten)]
    pub subject: Subject,
    /// How often it was timed in the first run.
    pub count_a: u64,
    /// In the second.
    pub count_b: u64,
    /// How long it took in the first.
    pub a: Option<Quantiles>,
    /// In the second.
    pub b: Option<Quantiles>,
    /// How likely it took longer in the second; equal times count half. `None` if that was not tested.
    pub longer: Option<f64>,
    /// The difference of the medians as a fraction of the first.
    pub median: Option<f64>,
    /// How likely the shift of all times is chance, corrected.
    pub p_median: Option<f64>,
    /// The difference of the 99th percentiles as a fraction of the first.
    pub tail: Option<f64>,
    /// How likely the share of long times is chance, corrected.
    pub p_tail: Option<f64>,
    /// Whether it is a change.
    pub changed: bool,
}

impl Subject {
    fn new(what: &'static str, of: &str) -> Self {
        Self { what, of: of.to_owned() }
    }
}

impl Diff {
    /// Compares two traces. Both are read at the same time, and parts of them once more for each vCPU to find where they part
    /// ways.
    ///
    /// # Errors
    ///
    /// If a file cannot be read. Damage is no error: it is in the result.
    pub fn of(a: &mut Reader, b: &mut Reader, options: &Options) -> Result<Self, Error> {
        let (profile_a, profile_b) = thread::scope(|scope| {
            let profile_b = scope.spawn(|| Profile::of(b, &options.selection));
            let profile_a = Profile::of(a, &options.selection);
            (profile_a, profile_b.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (profile_a, profile_b) = (profile_a?, profile_b?);
        let partings = partings((a, &profile_a.lanes), (b, &profile_b.lanes), &options.selection)?;
        let sides = (side(a, &profile_a, options), side(b, &profile_b, options));
        let (mut counts, mut times) =
            (counts(&profile_a, &profile_b, &sides, options), times(&profile_a, &profile_b));
        let of_times = times.iter_mut().flat_map(|time| time.p_median.iter_mut().chain(&mut time.p_tail));
        let mut all: Vec<&mut f64> = counts.iter_mut().map(|count| &mut count.p).chain(of_times).collect();
        significance::holm(&mut all);
        let far = |change: Option<f64>| change.is_none_or(|change| change.abs() >= options.threshold);
        for count in &mut counts {
            count.changed = count.p < SIGNIFICANT && far(count.change);
        }
        for time in &mut times {
            let significant = |p: Option<f64>| p.is_some_and(|p| p < SIGNIFICANT);
            time.changed =
                significant(time.p_median) && far(time.median) || significant(time.p_tail) && far(time.tail);
        }
        let (a, b) = sides;
        let Options { rates, threshold, .. } = *options;
        Ok(Self { schema: 1, a, b, rates, threshold, counts, times, partings })
    }

    /// Whether anything happens more or less often, or takes longer or shorter.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.counts.iter().any(|count| count.changed) || self.times.iter().any(|time| time.changed)
    }

    /// Whether a vCPU does something else.
    #[must_use]
    pub fn parted(&self) -> bool {
        self.partings.iter().any(|parting| !parting.same)
    }
}

fn side(reader: &Reader, profile: &Profile, options: &Options) -> Side {
    let header = reader.header();
    let Selection { from, to, .. } = options.selection;
    let (first, last) = reader.time_range().unwrap_or_default();
    Side {
        guest: header.guest.clone(),
        vcpus: header.vcpus,
        events: profile.events,
        duration_ns: last.min(to).saturating_sub(first.max(from)),
        lost: reader.blocks().fold(0, |lost: u64, block| lost.saturating_add(block.lost)),
        damage: reader.damage(),
    }
}

/// What either has, with what each has.
fn pairs<T: Copy>(
    a: BTreeMap<Subject, T>,
    b: BTreeMap<Subject, T>,
) -> BTreeMap<Subject, (Option<T>, Option<T>)> {
    let mut pairs: BTreeMap<Subject, (Option<T>, Option<T>)> = BTreeMap::new();
    for (subject, value) in a {
        pairs.entry(subject).or_default().0 = Some(value);
    }
    for (subject, value) in b {
        pairs.entry(subject).or_default().1 = Some(value);
    }
    pairs
}

fn counts(a: &Profile, b: &Profile, sides: &(Side, Side), options: &Options) -> Vec<CountChange> {
    let (time_a, time_b) = (sides.0.duration_ns as f64, sides.1.duration_ns as f64);
    // How much more there would be in the second run.
    let more = if options.rates && time_a > 0.0 && time_b > 0.0 { time_b / time_a } else { 1.0 };
    let counts = pairs(a.counts(), b.counts()).into_iter().filter_map(|(subject, (a, b))| {
        let (a, b) = (a.unwrap_or(0), b.unwrap_or(0));
        if a == 0 && b == 0 {
            return None; // such as traps of which just the return is in the trace
        }
        let change = (a > 0).then(|| b as f64 / more / a as f64 - 1.0);
        let p = significance::binomial(a, b, more / (1.0 + more));
        Some(CountChange { subject, a, b, change, p, changed: false })
    });
    counts.collect()
}

fn times(a: &Profile, b: &Profile) -> Vec<TimeChange> {
    let times = pairs(a.times(), b.times()).into_iter().map(|(subject, (a, b))| {
        let tested = |test: fn(&Durations, &Durations) -> Option<f64>| test(a?, b?);
        let shift = a.zip(b).and_then(|(a, b)| significance::mann_whitney(a, b));
        let count = |of: Option<&Durations>| of.map_or(0, Durations::count);
        let (count_a, count_b) = (count(a), count(b));
        let p_tail = tested(significance::tail);
        let (a, b) = (a.and_then(Durations::quantiles), b.and_then(Durations::quantiles));
        let change = |of: fn(&Quantiles) -> u64| {
            let (a, b) = (of(a.as_ref()?), of(b.as_ref()?));
            (a > 0).then(|| b as f64 / a as f64 - 1.0)
        };
        TimeChange {
            subject,
            count_a,
            count_b,
            a,
            b,
            longer: shift.map(|shift| shift.larger),
            median: change(|quantiles| quantiles.p50),
            p_median: shift.map(|shift| shift.p),
            tail: change(|quantiles| quantiles.p99),
            p_tail,
            changed: false,
        }
    });
    times.collect()
}

#[cfg(test)]
mod tests;
