//! The guest's VGA text screen.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

/// A part of a row of the screen changed, or the cursor moved: then there may be no cells.
///
/// The monitor compares the text memory with what it saw before about every 50 ms, and when the guest pauses, steps or
/// ends. So what was overwritten faster than that is not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screen {
    /// Columns of a row: 80, or 40. Another number than before means another mode, with an empty screen.
    pub columns: u8,
    /// The row, from 0 at the top: below 60.
    pub row: u8,
    /// Column of the first of the cells.
    pub first: u8,
    /// Row and column of the cursor as it stands now; `None` if it is off or outside the screen.
    pub cursor: Option<(u8, u8)>,
    /// The cells from there to the right, as in text memory: the character in code page 437 in the low byte, its
    /// attribute in the high byte (colours: foreground bits 0 to 3, background bits 4 to 6; bit 7 blinks).
    pub cells: ArrayVec<u16, 80>,
}
