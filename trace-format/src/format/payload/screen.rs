//! The text screen.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use super::{Encoded, Encoder, Malformed, take};
use crate::event::Screen;

/// Characters and attributes are apart because they repeat apart.
#[derive(Serialize, Deserialize)]
struct Cells<'a> {
    columns: u8,
    row: u8,
    first: u8,
    cursor: Option<(u8, u8)>,
    characters: &'a [u8],
    attributes: &'a [u8],
}

pub(super) fn encode(screen: &Screen, e: &mut Encoder) -> Encoded {
    let Screen { columns, row, first, cursor, ref cells } = *screen;
    let (characters, attributes): (ArrayVec<u8, 80>, ArrayVec<u8, 80>) =
        cells.iter().map(|cell| <(u8, u8)>::from(cell.to_le_bytes())).unzip();
    e.put(&Cells { columns, row, first, cursor, characters: &characters, attributes: &attributes })
}

pub(super) fn decode(mut bytes: &[u8]) -> Result<Option<Screen>, Malformed> {
    let Cells { columns, row, first, cursor, characters, attributes } = take(&mut bytes)?;
    if characters.len() != attributes.len() {
        return Err(Malformed("screen with another number of characters than of attributes"));
    }
    let mut cells = ArrayVec::new();
    for (&character, &attribute) in characters.iter().zip(attributes) {
        if cells.try_push(u16::from_le_bytes([character, attribute])).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(Screen { columns, row, first, cursor, cells }))
}
