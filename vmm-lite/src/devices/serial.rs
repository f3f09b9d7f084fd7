//! The first serial port: vm-superio's 16550 with its seams closed for a single-threaded owner.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use vm_superio::Trigger;
use vm_superio::serial::NoEvents;

/// Its first port.
pub const COM1: u16 = 0x3f8;
/// Its interrupt line.
pub const COM1_IRQ: u8 = 4;

/// Input that the guest has not read yet, at most; more is refused.
const INPUT_LIMIT: usize = 4096;

/// A 16550 whose output the owner gets byte by byte.
#[derive(Debug)]
pub struct Serial {
    uart: vm_superio::Serial<InterruptFlag, NoEvents, LastByte>,
    input: VecDeque<u8>,
}

impl Default for Serial {
    fn default() -> Self {
        Self::new()
    }
}

impl Serial {
    /// After reset.
    #[must_use]
    pub fn new() -> Self {
        Self {
            uart: vm_superio::Serial::new(InterruptFlag::default(), LastByte(None)),
            input: VecDeque::with_capacity(INPUT_LIMIT),
        }
    }

    /// Reads a register, 0 to 7.
    pub fn read(&mut self, register: u8) -> u8 {
        let value = self.uart.read(register & 7);
        self.refill();
        value
    }

    /// Writes a register, 0 to 7; returns the byte if one was sent.
    pub fn write(&mut self, register: u8, value: u8) -> Option<u8> {
        // It can only fail where its output or its trigger fails, and these cannot.
        let _ = self.uart.write(register & 7, value);
        self.uart.writer_mut().0.take()
    }

    /// Input for the guest. Returns how many bytes there was room for.
    pub fn input(&mut self, bytes: &[u8]) -> usize {
        let room = INPUT_LIMIT.saturating_sub(self.input.len());
        let accepted = &bytes[..bytes.len().min(room)];
        self.input.extend(accepted);
        self.refill();
        accepted.len()
    }

    /// Whether it has asked for an interrupt since the last call: pulse [`COM1_IRQ`].
    pub fn take_interrupt(&mut self) -> bool {
        self.uart.interrupt_evt().0.take()
    }

    /// Moves input into the UART's FIFO when that is empty, so that there is one interrupt a FIFO.
    fn refill(&mut self) {
        const FIFO: usize = 64;
        if self.input.is_empty() || self.uart.fifo_capacity() < FIFO {
            return;
        }
        let mut bytes = [0; FIFO];
        let count = self.input.len().min(FIFO);
        for (byte, queued) in bytes.iter_mut().zip(&self.input) {
            *byte = *queued;
        }
        // In loop-back mode nothing is taken.
        if let Ok(taken) = self.uart.enqueue_raw_bytes(&bytes[..count]) {
            self.input.drain(..taken.min(count));
        }
    }
}

/// The UART's interrupt output.
#[derive(Debug, Default)]
struct InterruptFlag(std::cell::Cell<bool>);

impl Trigger for InterruptFlag {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        self.0.set(true);
        Ok(())
    }
}

/// The UART's output: a register write sends one byte at most.
#[derive(Debug)]
struct LastByte(Option<u8>);

impl io::Write for LastByte {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = bytes.last().copied();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_its_interrupt() {
        let mut serial = Serial::new();
        assert_eq!(serial.write(0, b'x'), Some(b'x'));
        assert!(!serial.take_interrupt());
        assert_eq!(serial.write(1, 2), None);
        assert!(serial.take_interrupt() && !serial.take_interrupt());
        assert_eq!(serial.read(2) & 0xf, 2, "transmitter empty");
        assert_eq!(serial.read(5) & 0x60, 0x60);
        // The divisor is not output.
        serial.write(3, 0x80);
        assert_eq!(serial.write(0, b'x'), None);
    }

    #[test]
    fn input_is_bounded_and_comes_in_order() {
        let mut serial = Serial::new();
        serial.write(1, 1);
        let bytes: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
        // 64 are in the FIFO only after the queue has taken what it can.
        assert_eq!(serial.input(&bytes), INPUT_LIMIT);
        assert!(serial.take_interrupt());
        for &byte in &bytes[..INPUT_LIMIT] {
            assert_eq!(serial.read(5) & 1, 1);
            assert_eq!(serial.read(0), byte);
        }
        assert_eq!(serial.read(5) & 1, 0);
        assert_eq!(serial.input(b"more"), 4);
    }
}
