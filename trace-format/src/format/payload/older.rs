//! A reader that pretends to be of a version in which some tags had not been thought of.

use std::cell::RefCell;

use super::tag;
use crate::{Event, Reader};

thread_local! {
    static UNKNOWN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn does_not_know(tag: u8) -> bool {
    UNKNOWN.with_borrow(|unknown| unknown.contains(&tag))
}

/// What such a reader reads of the golden trace: the events that it knows, and how many it does not.
fn read(unknown: &[u8]) -> (Vec<(u64, Event)>, u64) {
    UNKNOWN.set(unknown.to_vec());
    let mut reader = Reader::from_bytes(include_bytes!("../../../tests/golden/1.vmt").as_slice()).unwrap();
    let events = reader.forward(0).map(Result::unwrap).collect();
    UNKNOWN.set(Vec::new());
    assert_eq!(reader.damage(), []);
    (events, reader.unknown_events())
}

/// The tag under which an event is stored.
fn tag_of((_, event): &(u64, Event)) -> u8 {
    super::tag_and_times(&event.payload).0
}

/// Tags that came into the format together, because they share state: see "Adding a kind" in `FORMAT.md`.
fn families() -> Vec<Vec<u8>> {
    let mut families = vec![
        vec![tag::TRAP, tag::TRAP_RETURN],
        vec![tag::IPI, tag::IPI_ACCEPTED, tag::IPI_EOI],
        vec![tag::DEBUGGER, tag::FIXUP],
        vec![tag::RECLAIM, tag::REFAULT],
    ];
    let others = (0..=u8::MAX).filter(|tag| !families.iter().flatten().any(|known| known == tag));
    let others: Vec<Vec<u8>> = others.map(|tag| vec![tag]).collect();
    families.extend(others);
    families
}

#[test]
fn an_older_reader_reads_all_that_it_knows_with_the_right_times() {
    let (all, unknown) = read(&[]);
    assert_eq!(unknown, 0);
    let mut left_out = 0;
    for family in families() {
        let (events, unknown) = read(&family);
        let expected: Vec<_> = all.iter().filter(|event| !family.contains(&tag_of(event))).cloned().collect();
        assert_eq!(unknown as usize, all.len() - expected.len(), "{family:?}");
        assert_eq!(events, expected, "{family:?}");
        left_out += usize::from(unknown > 0);
    }
    assert!(left_out > 40, "only {left_out} families occur in the golden trace");
}

#[test]
fn an_older_reader_may_know_next_to_nothing() {
    let (all, _) = read(&[]);
    let (events, unknown) = read(&(0..=u8::MAX).filter(|&tag| tag != tag::STATE).collect::<Vec<_>>());
    assert!(events.iter().map(tag_of).all(|tag| tag == tag::STATE));
    assert_eq!(events.len() + unknown as usize, all.len());
    assert!(!events.is_empty());
}
