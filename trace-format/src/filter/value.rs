//! What a field of an event is.

use std::borrow::Cow;

/// What kind of values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A number. Some have names, as vectors do.
    Number,
    /// An address or the content of a register; printed in hexadecimal.
    Address,
    /// A time, ns.
    Time,
    /// One of several names.
    Name,
    /// Text.
    Text,
    /// True or false.
    Truth,
    /// Several vCPUs; a comparison is true if it is for one of them, and `!=` if none is equal.
    Vcpus,
}

impl Type {
    /// What its values are, in a sentence: "expected ...".
    #[must_use]
    pub const fn values(self) -> &'static str {
        match self {
            Self::Number => "a number, such as 14, 0x40 or 4K",
            Self::Address => "an address, such as 0xfee00300",
            Self::Time => "a time, such as 50us or 1.5ms",
            Self::Name => "a name",
            Self::Text => "text, such as \"page_fault\"",
            Self::Truth => "true or false",
            Self::Vcpus => "a vCPU's number",
        }
    }

    /// Whether it is compared as a number.
    pub(crate) const fn is_numeric(self) -> bool {
        matches!(self, Self::Number | Self::Address | Self::Time | Self::Vcpus)
    }
}

/// A field's value in one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of [`Type::Number`], [`Type::Address`] and, in ns, [`Type::Time`].
    Number(u64),
    /// Of [`Type::Name`].
    Name(&'static str),
    /// Of [`Type::Text`]; it may hold what a terminal obeys, see [`crate::describe::Escaped`].
    Text(Cow<'a, str>),
    /// Of [`Type::Truth`].
    Truth(bool),
    /// Of [`Type::Vcpus`], a bit each.
    Vcpus(u16),
}
