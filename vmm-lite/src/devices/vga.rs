//! The registers of a VGA in text mode 3, ports 0x3c0 to 0x3df: enough for kernels that find it, move its cursor and
//! scroll by its start address. Nothing is drawn: the screen is the memory at 0xb8000.
//!
//! Index and data registers store what they are given. The retrace bits of the status change with every read, so that
//! a loop that waits for either value ends at once.

/// CRT controller, as in mode 3 with 25 rows of 80 (IBM VGA, "Technical Reference", mode 3+).
const CRT_MODE_3: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c,
    0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
];
const CURSOR_START: usize = 0x0a;
const START_ADDRESS: usize = 0x0c;
const CURSOR_LOCATION: usize = 0x0e;
const HORIZONTAL_END: usize = 0x01;
const OVERFLOW: usize = 0x07;
const CHARACTER_HEIGHT: usize = 0x09;
const VERTICAL_END: usize = 0x12;
const ROW_OFFSET: usize = 0x13;
/// In the cursor's start register: no cursor.
const CURSOR_OFF: u8 = 1 << 5;

/// Sequencer, graphics controller and attribute controller in that mode.
const SEQUENCER_MODE_3: [u8; 5] = [0x03, 0x00, 0x03, 0x00, 0x02];
const GRAPHICS_MISCELLANEOUS: usize = 6;
/// In the graphics controller's miscellaneous register: pixels, not characters.
const GRAPHICS_ON: u8 = 1;
const GRAPHICS_MODE_3: [u8; 9] = [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff];
const ATTRIBUTE_MODE_3: [u8; 21] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c,
    0x00, 0x0f, 0x08, 0x00,
];

/// Colour, memory on, 28 MHz, 400 lines.
const MISCELLANEOUS_MODE_3: u8 = 0x67;
/// Input status 1: display disabled, vertical retrace.
const RETRACE: u8 = 0b1001;
/// Bytes of the palette: red, green and blue of 256 colours.
const PALETTE_BYTES: usize = 768;

/// An index register and the registers behind it.
#[derive(Clone, Debug)]
struct Indexed<const N: usize> {
    index: u8,
    registers: [u8; N],
}

impl<const N: usize> Indexed<N> {
    const fn new(registers: [u8; N]) -> Self {
        Self { index: 0, registers }
    }

    /// The selected register; there are none behind the last.
    fn read(&self) -> u8 {
        self.registers.get(usize::from(self.index)).copied().unwrap_or(0)
    }

    fn write(&mut self, value: u8) {
        if let Some(register) = self.registers.get_mut(usize::from(self.index)) {
            *register = value;
        }
    }
}

/// How the registers say that text memory is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextMode {
    /// Characters of a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
    /// From the beginning of a row to that of the next, in cells of 2 bytes.
    pub pitch: u16,
    /// The first cell on the screen, counted in cells from the start of video memory, modulo 65536.
    pub start: u16,
    /// The cursor's cell, counted likewise; none when it is off.
    pub cursor: Option<u16>,
}

/// The registers.
#[derive(Clone, Debug)]
pub struct Vga {
    crt: Indexed<25>,
    sequencer: Indexed<5>,
    graphics: Indexed<9>,
    attribute: Indexed<21>,
    /// The next write to 0x3c0 is data, not an index.
    attribute_data: bool,
    miscellaneous: u8,
    feature: u8,
    palette_mask: u8,
    palette: [u8; PALETTE_BYTES],
    /// Where in the palette the next byte is read and written.
    palette_read: u16,
    palette_write: u16,
    /// The palette was last addressed for writing.
    palette_writes: bool,
    retrace: u8,
}

impl Default for Vga {
    fn default() -> Self {
        Self::new()
    }
}

impl Vga {
    /// In text mode 3, the cursor at the top left.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            crt: Indexed::new(CRT_MODE_3),
            sequencer: Indexed::new(SEQUENCER_MODE_3),
            graphics: Indexed::new(GRAPHICS_MODE_3),
            attribute: Indexed::new(ATTRIBUTE_MODE_3),
            attribute_data: false,
            miscellaneous: MISCELLANEOUS_MODE_3,
            feature: 0,
            palette_mask: 0xff,
            palette: [0; PALETTE_BYTES],
            palette_read: 0,
            palette_write: 0,
            palette_writes: true,
            retrace: 0,
        }
    }

    /// The first cell on the screen, counted in cells (2 bytes each) from the start of video memory, modulo 65536.
    #[must_use]
    pub const fn start(&self) -> u16 {
        self.crt_word(START_ADDRESS)
    }

    /// The cursor's cell, counted likewise; none when it is off.
    #[must_use]
    pub const fn cursor(&self) -> Option<u16> {
        if self.crt.registers[CURSOR_START] & CURSOR_OFF != 0 {
            return None;
        }
        Some(self.crt_word(CURSOR_LOCATION))
    }

    /// How text is shown; `None` in a graphics mode.
    #[must_use]
    pub fn text_mode(&self) -> Option<TextMode> {
        if self.graphics.registers[GRAPHICS_MISCELLANEOUS] & GRAPHICS_ON != 0 {
            return None;
        }
        let crt = |register: usize| u16::from(self.crt.registers[register]);
        // Bits 8 and 9 of the last line's number are in the overflow register.
        let overflow = crt(OVERFLOW);
        let lines = (crt(VERTICAL_END) | (overflow & 0x02) << 7 | (overflow & 0x40) << 3) + 1;
        Some(TextMode {
            columns: crt(HORIZONTAL_END) + 1,
            rows: lines / ((crt(CHARACTER_HEIGHT) & 0x1f) + 1),
            pitch: crt(ROW_OFFSET) * 2,
            start: self.start(),
            cursor: self.cursor(),
        })
    }

    /// High byte first.
    const fn crt_word(&self, register: usize) -> u16 {
        u16::from_be_bytes([self.crt.registers[register], self.crt.registers[register + 1]])
    }

    /// Reads a port from 0x3c0 to 0x3df; those without a register are all ones.
    pub fn read(&mut self, port: u16) -> u8 {
        match port {
            0x3c0 => self.attribute.index,
            0x3c1 => self.attribute.read(),
            // Input status 0: no interrupt.
            0x3c2 => 0,
            0x3c4 => self.sequencer.index,
            0x3c5 => self.sequencer.read(),
            0x3c6 => self.palette_mask,
            // Whether the palette is being written (0) or read (3).
            0x3c7 => {
                if self.palette_writes {
                    0
                } else {
                    3
                }
            }
            0x3c8 => (self.palette_write / 3) as u8,
            0x3c9 => {
                let value = self.palette.get(usize::from(self.palette_read)).copied().unwrap_or(0);
                self.palette_read = next_in_palette(self.palette_read);
                value
            }
            0x3ca => self.feature,
            0x3cc => self.miscellaneous,
            0x3ce => self.graphics.index,
            0x3cf => self.graphics.read(),
            0x3d4 => self.crt.index,
            0x3d5 => self.crt.read(),
            0x3da => {
                self.attribute_data = false;
                self.retrace ^= RETRACE;
                self.retrace
            }
            _ => 0xff,
        }
    }

    /// Writes one of those ports.
    pub fn write(&mut self, port: u16, value: u8) {
        match port {
            0x3c0 => {
                if self.attribute_data {
                    self.attribute.write(value);
                } else {
                    // Bit 5 lets the display read the palette.
                    self.attribute.index = value & 0x1f;
                }
                self.attribute_data = !self.attribute_data;
            }
            0x3c2 => self.miscellaneous = value,
            0x3c4 => self.sequencer.index = value,
            0x3c5 => self.sequencer.write(value),
            0x3c6 => self.palette_mask = value,
            0x3c7 => (self.palette_read, self.palette_writes) = (u16::from(value) * 3, false),
            0x3c8 => (self.palette_write, self.palette_writes) = (u16::from(value) * 3, true),
            0x3c9 => {
                // 6 bits a colour.
                if let Some(colour) = self.palette.get_mut(usize::from(self.palette_write)) {
                    *colour = value & 0x3f;
                }
                self.palette_write = next_in_palette(self.palette_write);
            }
            0x3ce => self.graphics.index = value,
            0x3cf => self.graphics.write(value),
            0x3d4 => self.crt.index = value,
            0x3d5 => self.crt.write(value),
            0x3da => self.feature = value,
            _ => {}
        }
    }
}

const fn next_in_palette(at: u16) -> u16 {
    (at + 1) % PALETTE_BYTES as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set_crt(vga: &mut Vga, register: u8, value: u8) {
        vga.write(0x3d4, register);
        vga.write(0x3d5, value);
    }

    #[test]
    fn cursor_and_start() {
        let mut vga = Vga::new();
        assert_eq!((vga.start(), vga.cursor()), (0, Some(0)));
        for (register, value) in [(0x0c, 0x01), (0x0d, 0x40), (0x0e, 0x02), (0x0f, 0x03)] {
            set_crt(&mut vga, register, value);
        }
        assert_eq!((vga.start(), vga.cursor()), (0x140, Some(0x203)));
        assert_eq!((vga.read(0x3d4), vga.read(0x3d5)), (0x0f, 0x03));
        set_crt(&mut vga, 0x0a, 0x20);
        assert_eq!(vga.cursor(), None);
    }

    #[test]
    fn text_modes() {
        let mut vga = Vga::new();
        let mode = TextMode { columns: 80, rows: 25, pitch: 80, start: 0, cursor: Some(0) };
        assert_eq!(vga.text_mode(), Some(mode));
        set_crt(&mut vga, 0x09, 0x47);
        assert_eq!(vga.text_mode(), Some(TextMode { rows: 50, ..mode }));
        set_crt(&mut vga, 0x09, 0x4f);
        set_crt(&mut vga, 0x01, 0x27);
        set_crt(&mut vga, 0x13, 0x14);
        assert_eq!(vga.text_mode(), Some(TextMode { columns: 40, pitch: 40, ..mode }));
        vga.write(0x3ce, 6);
        vga.write(0x3cf, 0x05);
        assert_eq!(vga.text_mode(), None);
    }

    #[test]
    fn retrace_comes_and_goes() {
        let mut vga = Vga::new();
        let seen = [(); 4].map(|()| vga.read(0x3da) & RETRACE);
        assert_eq!(seen, [RETRACE, 0, RETRACE, 0]);
    }

    #[test]
    fn a_kernel_finds_colour_text_mode() {
        let mut vga = Vga::new();
        assert_eq!(vga.read(0x3cc) & 1, 1, "CRT controller at 0x3d4");
        vga.write(0x3ce, 6);
        assert_eq!(vga.read(0x3cf) >> 2 & 0b11, 0b11, "memory at 0xb8000");
        vga.write(0x3d4, 1);
        assert_eq!(vga.read(0x3d5), 79);
    }

    #[test]
    fn the_attribute_controller_takes_index_and_data_by_turns() {
        let mut vga = Vga::new();
        vga.read(0x3da);
        vga.write(0x3c0, 0x10);
        vga.write(0x3c0, 0x0d);
        assert_eq!((vga.read(0x3c0), vga.read(0x3c1)), (0x10, 0x0d));
        vga.write(0x3c0, 0x11);
        vga.read(0x3da);
        vga.write(0x3c0, 0x10 | 0x20);
        assert_eq!(vga.read(0x3c1), 0x0d);
    }

    #[test]
    fn the_palette_goes_round() {
        let mut vga = Vga::new();
        vga.write(0x3c8, 255);
        for value in [0x41, 2, 3, 4] {
            vga.write(0x3c9, value);
        }
        vga.write(0x3c7, 255);
        assert_eq!([(); 4].map(|()| vga.read(0x3c9)), [1, 2, 3, 4]);
    }

    proptest! {
        #[test]
        fn any_access_is_answered(accesses in prop::collection::vec((0x3c0u16..0x3e0, any::<Option<u8>>()), 1..300)) {
            let mut vga = Vga::new();
            for (port, value) in accesses {
                match value {
                    Some(value) => vga.write(port, value),
                    None => drop(vga.read(port)),
                }
            }
            let (start, cursor) = (vga.start(), vga.cursor());
            prop_assert_eq!(start, vga.clone().start());
            prop_assert_eq!(cursor.is_none(), vga.crt.registers[CURSOR_START] & CURSOR_OFF != 0);
        }
    }
}
