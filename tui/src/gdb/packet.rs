//! Packets of GDB's remote protocol: `$body#xx`, where `xx` is the sum of the body's bytes.

/// The longest body of a packet that is taken; GDB is told, and sends none that is longer.
pub(super) const LONGEST: usize = 16 << 10;

/// What a client can send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A packet's body.
    Packet(Vec<u8>),
    /// A packet that is too long or whose sum is wrong.
    Damaged,
    /// The last packet of ours arrived.
    Ack,
    /// It did not.
    Nack,
    /// Ctrl-C.
    Interrupt,
}

/// Finds packets in a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Framer {
    state: State,
    body: Vec<u8>,
    too_long: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    Body,
    Sum {
        high: Option<u8>,
    },
}

impl Framer {
    /// Takes a byte in.
    pub(super) fn push(&mut self, byte: u8) -> Option<Incoming> {
        match (self.state, byte) {
            // In a body it would be escaped: what came before it is lost.
            (State::Between | State::Body, b'$') => {
                self.state = State::Body;
                self.body.clear();
                self.too_long = false;
                None
            }
            (State::Between, b'+') => Some(Incoming::Ack),
            (State::Between, b'-') => Some(Incoming::Nack),
            (State::Between, 0x03) => Some(Incoming::Interrupt),
            (State::Between, _) => None,
            (State::Body, b'#') => {
                self.state = State::Sum { high: None };
                None
            }
            (State::Body, _) => {
                if self.body.len() < LONGEST {
                    self.body.push(byte);
                } else {
                    self.too_long = true;
                }
                None
            }
            (State::Sum { high: None }, _) => {
                self.state = State::Sum { high: Some(byte) };
                None
            }
            (State::Sum { high: Some(high) }, low) => {
                self.state = State::Between;
                let body = std::mem::take(&mut self.body);
                let intact = !self.too_long && hex_pair(high, low) == Some(sum(&body));
                Some(if intact { Incoming::Packet(body) } else { Incoming::Damaged })
            }
        }
    }
}

/// A body as it is sent.
pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(body.len() + 4);
    packet.push(b'$');
    packet.extend_from_slice(body);
    packet.extend_from_slice(format!("#{:02x}", sum(body)).as_bytes());
    packet
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes as they are in a body: what would end it is escaped.
pub(super) fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'#' | b'$' | b'}' | b'*' => escaped.extend_from_slice(&[b'}', byte ^ 0x20]),
            _ => escaped.push(*byte),
        }
    }
    escaped
}

/// A hexadecimal number of at most 64 bits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u64::from_str_radix(text, 16).ok()
}

fn sum(body: &[u8]) -> u8 {
    body.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Vec<Incoming> {
        let mut framer = Framer::default();
        bytes.iter().filter_map(|byte| framer.push(*byte)).collect()
    }

    #[test]
    fn packets_between_noise() {
        let found = all(b"xyz+$g#67\x03-$m0,1#fa");
        let packet = |body: &[u8]| Incoming::Packet(body.to_vec());
        let wanted = [Incoming::Ack, packet(b"g"), Incoming::Interrupt, Incoming::Nack, packet(b"m0,1")];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_wrong_sum_or_length_is_damage() {
        assert_eq!(all(b"$g#68$g#zz"), [Incoming::Damaged, Incoming::Damaged]);
        assert_eq!(all(b"$lost$g#67"), [Incoming::Packet(b"g".to_vec())]);
        let longest = vec![b'a'; LONGEST];
        assert_eq!(all(&framed(&longest)), [Incoming::Packet(longest.clone())]);
        let longer = [longest, b"a".to_vec()].concat();
        assert_eq!(all(&framed(&longer)), [Incoming::Damaged]);
    }

    #[test]
    fn ctrl_c_in_a_packet_is_data() {
        assert_eq!(all(&framed(b"X0,1:\x03")), [Incoming::Packet(b"X0,1:\x03".to_vec())]);
    }

    #[test]
    fn numbers_are_hexadecimal() {
        assert_eq!((number(b"fF"), number(b"ffffffffffffffff")), (Some(255), Some(u64::MAX)));
        for wrong in ["", "+1", "-1", "g", "10000000000000000", "\u{e9}"] {
            assert_eq!(number(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_framed_is_found(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let body = binary(&data);
            prop_assert_eq!(all(&framed(&body)), [Incoming::Packet(body)]);
        }

        #[test]
        fn a_flood_is_not_kept(data in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut framer = Framer::default();
            for byte in std::iter::once(b'$').chain(data.iter().copied().cycle().take(3 * LONGEST)) {
                framer.push(byte);
                prop_assert!(framer.body.len() <= LONGEST);
            }
        }
    }
}
