//! Postcard's fields, without its way through serde.

use crate::format::{Malformed, varint};

const MALFORMED: Malformed = Malformed("payload");

/// A number without a sign.
#[inline(always)]
pub(super) fn number<T: TryFrom<u64>>(bytes: &mut &[u8]) -> Result<T, Malformed> {
    varint::take(bytes).and_then(|number| T::try_from(number).ok()).ok_or(MALFORMED)
}

/// A number with a sign.
#[inline(always)]
pub(super) fn signed(bytes: &mut &[u8]) -> Result<i64, Malformed> {
    varint::take(bytes).map(varint::unzigzag).ok_or(MALFORMED)
}

/// A `u8`.
#[inline(always)]
pub(super) fn byte(bytes: &mut &[u8]) -> Result<u8, Malformed> {
    let (&byte, rest) = bytes.split_first().ok_or(MALFORMED)?;
    *bytes = rest;
    Ok(byte)
}

/// A truth value.
#[inline(always)]
pub(super) fn truth(bytes: &mut &[u8]) -> Result<bool, Malformed> {
    match byte(bytes)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(MALFORMED),
    }
}

/// An `Option` of a number with a sign.
#[inline(always)]
pub(super) fn maybe_signed(bytes: &mut &[u8]) -> Result<Option<i64>, Malformed> {
    Ok(if truth(bytes)? { Some(signed(bytes)?) } else { None })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Fields {
        a: i64,
        b: u8,
        c: u16,
        d: bool,
        e: Option<i64>,
        f: u32,
        g: u64,
    }

    quick! { Fields { a: signed, b: byte, c: number, d: truth, e: maybe_signed, f: number, g: number } }

    proptest! {
        #[test]
        fn it_takes_what_postcard_writes(
            a: i64, b: u8, c: u16, d: bool, e: Option<i64>, f: u32, g: u64,
        ) {
            let fields = Fields { a, b, c, d, e, f, g };
            let bytes = postcard::to_stdvec(&fields).unwrap();
            let mut rest = bytes.as_slice();
            prop_assert_eq!(Fields::take(&mut rest), Ok(fields));
            prop_assert!(rest.is_empty());
            for length in 0..bytes.len() {
                prop_assert!(Fields::take(&mut &bytes[..length]).is_err());
            }
        }

        /// What postcard refuses is refused; what it takes is taken alike.
        #[test]
        fn it_agrees_with_postcard_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut rest = bytes.as_slice();
            if let Ok((theirs, their_rest)) = postcard::take_from_bytes::<Fields>(&bytes) {
                prop_assert_eq!(Fields::take(&mut rest), Ok(theirs));
                prop_assert_eq!(rest, their_rest);
            }
        }
    }
}
