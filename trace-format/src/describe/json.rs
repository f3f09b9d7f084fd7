//! Events as JSON.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::fields::{self, Said, Visitor, push_bytes, push_hex};
use crate::event::{Event, Level};
use crate::header::Header;

/// An event as a JSON object with a stable form.
///
/// Every object has `number`, `time` (ns), `vcpu` (null for what no vCPU did) and `kind` ([`crate::Kind::name`]); then the
/// payload's fields under the names that they have in [`crate::event`], without nesting except for a walk's `levels`.
/// Addresses, register values and data are strings (`"0xfee00300"`), because JSON numbers end at 2^53; counts and
/// times in ns are numbers. `symbol` names the code at `rip` where the trace has a symbol for it. Bytes are
/// hexadecimal digits, console output has them as `text` besides, with invalid UTF-8 replaced.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a> {
    number: u64,
    event: &'a Event,
    header: &'a Header,
}

impl<'a> Json<'a> {
    pub(super) const fn new(number: u64, event: &'a Event, header: &'a Header) -> Self {
        Self { number, event, header }
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object(serializer.serialize_map(None)?);
        object.field("number", self.number.into())?;
        fields::when_and_where(self.event, &mut object)?;
        fields::details(self.event, self.header, &mut object)?;
        object.0.end()
    }
}

/// What an event says without when and where: `number` and the payload's fields, as in [`Json`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Details<'a> {
    pub(crate) number: u64,
    pub(crate) event: &'a Event,
    pub(crate) header: &'a Header,
}

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object(serializer.serialize_map(None)?);
        object.field("number", self.number.into())?;
        fields::details(self.event, self.header, &mut object)?;
        object.0.end()
    }
}

/// The object that is being written.
struct Object<M>(M);

impl<M: SerializeMap> Visitor for Object<M> {
    type Error = M::Error;

    fn field(&mut self, name: &'static str, said: Said<'_>) -> Result<(), M::Error> {
        self.0.serialize_entry(name, &said)
    }
}

impl Serialize for Said<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Nothing => serializer.serialize_none(),
            Self::Truth(truth) => serializer.serialize_bool(truth),
            Self::Number(number) => serializer.serialize_u64(number),
            Self::Hex(number) => Hex(number).serialize(serializer),
            Self::Name(name) => serializer.serialize_str(name),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Shown(shown) => serializer.collect_str(shown),
            Self::Symbol(name, offset) => {
                let mut text = String::with_capacity(name.len() + 19);
                text.push_str(name);
                text.push('+');
                push_hex(&mut text, offset);
                serializer.serialize_str(&text)
            }
            Self::Bytes(bytes) => {
                let mut text = String::with_capacity(2 * bytes.len());
                push_bytes(&mut text, bytes);
                serializer.serialize_str(&text)
            }
            Self::Numbers(numbers) => serializer.collect_seq(numbers),
            Self::Hexes(numbers) => serializer.collect_seq(numbers.iter().copied().map(Hex)),
            Self::Levels(levels) => serializer.collect_seq(levels.iter().map(OneLevel::of)),
        }
    }
}

/// A number as a string in hexadecimal.
#[derive(Clone, Copy)]
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(18);
        push_hex(&mut text, self.0);
        serializer.serialize_str(&text)
    }
}

#[derive(serde::Serialize)]
struct OneLevel {
    level: u8,
    entry_gpa: Hex,
    entry: Hex,
}

impl OneLevel {
    const fn of(level: &Level) -> Self {
        let Level { level, entry_gpa, entry } = *level;
        Self { level, entry_gpa: Hex(entry_gpa), entry: Hex(entry) }
    }
}
