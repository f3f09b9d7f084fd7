//! Guest memory, from the guest if it is paused, otherwise as far as the trace and the guest's image tell of it.

use super::App;
use crate::gdb::recorded::Moment;
use crate::guest::Guest;

/// Where bytes come from.
pub(super) enum Bytes<'a> {
    /// A paused guest, through the tables of this vCPU.
    Guest(&'a dyn Guest, u8),
    /// What is known of a moment.
    Recorded(Box<Moment>),
}

impl App {
    /// Reads from `gva` on, up to the first byte that is not known; how many were.
    pub(super) fn read_bytes(&self, bytes: &Bytes<'_>, gva: u64, buffer: &mut [u8]) -> usize {
        let moment = match bytes {
            Bytes::Guest(guest, vcpu) => return guest.read(*vcpu, gva, buffer),
            Bytes::Recorded(moment) => moment,
        };
        let image = self.header().image.as_ref().zip(self.image());
        let mut count = 0;
        while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
            let at = gva.wrapping_add(count as u64);
            let constant = image.and_then(|(facts, image)| facts.at(image, at)).unwrap_or_default();
            let read = if constant.is_empty() {
                moment.read(at, rest)
            } else {
                rest.iter_mut().zip(constant).map(|(place, byte)| *place = *byte).count()
            };
            if read == 0 {
                break;
            }
            count += read;
        }
        count
    }

    /// The same from `gpa` on.
    pub(super) fn read_physical(bytes: &Bytes<'_>, gpa: u64, buffer: &mut [u8]) -> usize {
        match bytes {
            Bytes::Guest(guest, _) => guest.read_physical(gpa, buffer),
            Bytes::Recorded(moment) => moment.read_physical(gpa, buffer),
        }
    }
}
