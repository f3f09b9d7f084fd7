//! What events say as debug annotations.

use std::convert::Infallible;
use std::fmt::Write as _;

use super::intern::{Names, Of};
use super::schema::{debug_annotation as annotation, track_event};
use super::wire;
use crate::describe::fields::{Said, Visitor, push_bytes, push_hex};
use crate::event::Level;

/// Appends fields to a `TrackEvent`, an annotation each. What an event has no value of has none.
pub(super) struct Annotations<'a> {
    pub(super) names: &'a mut Names,
    pub(super) out: &'a mut Vec<u8>,
}

impl Visitor for Annotations<'_> {
    type Error = Infallible;

    fn field(&mut self, name: &'static str, said: Said<'_>) -> Result<(), Infallible> {
        if !matches!(said, Said::Nothing) {
            let names = &mut *self.names;
            named(self.out, track_event::DEBUG_ANNOTATIONS, name, names, |out, names| {
                value(out, said, names);
            });
        }
        Ok(())
    }
}

/// Appends an annotation with a name to a message in which it is `field`.
fn named(
    out: &mut Vec<u8>,
    field: u32,
    name: &'static str,
    names: &mut Names,
    value: impl FnOnce(&mut Vec<u8>, &mut Names),
) {
    wire::message(out, field, |out| {
        wire::number(out, annotation::NAME_IID, names.of_program(Of::Annotation, name));
        value(out, names);
    });
}

/// Appends the value to an annotation.
fn value(out: &mut Vec<u8>, said: Said<'_>, names: &mut Names) {
    let text = match said {
        Said::Nothing => return,
        Said::Truth(truth) => return wire::number(out, annotation::BOOL_VALUE, truth.into()),
        Said::Number(number) => return wire::number(out, annotation::UINT_VALUE, number),
        Said::Hex(number) => return wire::number(out, annotation::POINTER_VALUE, number),
        Said::Numbers(numbers) => {
            let numbers = numbers.iter().map(|number| u64::from(*number));
            return numbers.for_each(|number| element(out, annotation::UINT_VALUE, number));
        }
        Said::Hexes(numbers) => {
            return numbers.iter().for_each(|number| element(out, annotation::POINTER_VALUE, *number));
        }
        Said::Levels(levels) => return levels.iter().for_each(|level| level_of_walk(out, *level, names)),
        Said::Name(name) => names.of_program(Of::Value, name),
        Said::Text(text) => names.number(Of::Value, text),
        Said::Shown(shown) => names.made(Of::Value, |made| {
            // Writing to a string does not fail.
            let _ = write!(made, "{shown}");
        }),
        Said::Symbol(name, offset) => names.made(Of::Value, |made| {
            made.push_str(name);
            made.push('+');
            push_hex(made, offset);
        }),
        Said::Bytes(bytes) => names.made(Of::Value, |made| push_bytes(made, bytes)),
    };
    wire::number(out, annotation::STRING_VALUE_IID, text);
}

fn level_of_walk(out: &mut Vec<u8>, level: Level, names: &mut Names) {
    let Level { level, entry_gpa, entry } = level;
    let parts = [("level", level.into()), ("entry_gpa", Said::Hex(entry_gpa)), ("entry", Said::Hex(entry))];
    wire::message(out, annotation::ARRAY_VALUES, |out| {
        for (name, said) in parts {
            named(out, annotation::DICT_ENTRIES, name, names, |out, names| value(out, said, names));
        }
    });
}

/// Appends an element of an array.
fn element(out: &mut Vec<u8>, field: u32, number: u64) {
    wire::message(out, annotation::ARRAY_VALUES, |out| wire::number(out, field, number));
}
