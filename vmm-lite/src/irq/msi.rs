//! Interrupt messages as the bus carries them.

use super::icr::DestinationMode;
use super::route::{Delivery, Message};

/// A message as a write of `data` to `address` (SDM vol. 3, 12.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiMessage {
    /// A gpa in the local APICs' window, which holds the destination.
    pub address: u32,
    /// Vector, delivery mode and trigger.
    pub data: u32,
}

impl MsiMessage {
    /// `message` as the bus carries it.
    #[must_use]
    pub fn new(message: &Message) -> Self {
        const WINDOW: u32 = 0xfee0_0000;
        const LOGICAL: u32 = 1 << 2;
        const ASSERT: u32 = 1 << 14;
        const LEVEL: u32 = 1 << 15;
        let logical = if message.destination_mode == DestinationMode::Logical { LOGICAL } else { 0 };
        let trigger = if message.level { ASSERT | LEVEL } else { 0 };
        Self {
            address: WINDOW | u32::from(message.destination) << 12 | logical,
            data: u32::from(message.vector) | message.delivery.bits() << 8 | trigger,
        }
    }
}

impl Delivery {
    const fn bits(self) -> u32 {
        match self {
            Self::Fixed => 0b000,
            Self::LowestPriority => 0b001,
            Self::Smi => 0b010,
            Self::Reserved => 0b011,
            Self::Nmi => 0b100,
            Self::Init => 0b101,
            Self::ExtInt => 0b111,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_as_the_manual_lays_them_out() {
        let message = Message {
            destination: 3,
            destination_mode: DestinationMode::Physical,
            delivery: Delivery::Fixed,
            vector: 0x52,
            level: true,
        };
        assert_eq!(MsiMessage::new(&message), MsiMessage { address: 0xfee0_3000, data: 0xc052 });
        let logical = Message {
            destination: 0xff,
            destination_mode: DestinationMode::Logical,
            delivery: Delivery::LowestPriority,
            vector: 0x31,
            level: false,
        };
        assert_eq!(MsiMessage::new(&logical), MsiMessage { address: 0xfeef_f004, data: 0x131 });
    }

    #[test]
    fn delivery_modes_come_back() {
        for bits in 0..8 {
            let delivery = Delivery::from_bits(bits);
            assert_eq!(Delivery::from_bits(delivery.bits() as u8), delivery);
        }
    }
}
