//! Everything that is done with a filter and an assertion.

use std::sync::LazyLock;

use trace_format::assertion::Assertion;
use trace_format::filter::{FilterError, Subject, complete};
use trace_format::{Event, Filter, Header, Reader, Summary};

/// A block with its events.
type Block = (Summary, Vec<(u64, Event)>);

/// Events of every kind.
static BLOCKS: LazyLock<(Header, Vec<Block>)> = LazyLock::new(|| {
    let traces: [&[u8]; 4] = [
        include_bytes!("../corpus/reader/golden-0-true"),
        include_bytes!("../corpus/reader/golden-1-true"),
        include_bytes!("../corpus/reader/golden-2-true"),
        include_bytes!("../corpus/reader/golden-3-true"),
    ];
    let mut header = Header::default();
    let mut blocks = Vec::new();
    for trace in traces {
        let mut reader = Reader::from_bytes(trace.to_vec()).expect("a trace");
        header = reader.header().clone();
        let summaries: Vec<Summary> = reader.blocks().copied().collect();
        for summary in summaries {
            let events = reader.forward(summary.first_event).take(summary.count as usize);
            blocks.push((summary, events.map(|event| event.expect("bytes in memory can be read")).collect()));
        }
    }
    (header, blocks)
});

/// Parses, evaluates and completes `bytes`, if they are text.
///
/// # Panics
///
/// If a block is said to have no match that has one, or an error is of a place that is not in the text.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Filter::parse(text) {
        Ok(filter) => matches(&filter),
        Err(error) => is_in(&error, text),
    }
    match Assertion::parse(text) {
        Ok(assertion) => assert_eq!(assertion.text(), text),
        Err(error) => is_in(&error, text),
    }
    // At the end, and somewhere.
    for cursor in [text.len(), text.len() / 2] {
        for candidate in complete(text, cursor) {
            assert!(text.get(candidate.replaces.clone()).is_some(), "{candidate:?} in {text:?}");
        }
    }
}

fn matches(filter: &Filter) {
    let (header, blocks) = &*BLOCKS;
    for (summary, events) in blocks {
        let matched =
            events.iter().any(|(number, event)| filter.matches(&Subject { number: *number, event, header }));
        assert!(!matched || filter.may_match(summary), "{:?} matches in {summary:?}", filter.text());
    }
}

fn is_in(error: &FilterError, text: &str) {
    let range = error.range();
    assert!(text.get(range.clone()).is_some() || range.start >= text.len(), "{error:?}");
    assert!(error.column() <= text.chars().count() + 1, "{error:?}");
    assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
}
