//! Finding events without reading blocks that have none of them.

use trace_format::{Error, Event, Kind, Reader, Summary};

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Events of this kind.
    Kind(Kind),
    /// Events of this vCPU, or of the machine.
    Vcpu(u8),
}

impl Wanted {
    const fn is_in(self, block: &Summary) -> bool {
        match self {
            Self::Kind(kind) => block.has_kind(kind),
            Self::Vcpu(vcpu) => block.has_vcpu(vcpu),
        }
    }

    fn is(self, event: &Event) -> bool {
        match self {
            Self::Kind(kind) => event.payload.kind() == kind,
            Self::Vcpu(vcpu) => event.vcpu == vcpu,
        }
    }

    /// The number of the first such event from number `from` on.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next(self, reader: &mut Reader, mut from: u64) -> Result<Option<u64>, Error> {
        loop {
            let block = reader.blocks().find(|block| block.end() > from && self.is_in(block)).copied();
            let Some(block) = block else { return Ok(None) };
            let (start, end) = (block.first_event.max(from), block.end());
            for found in reader.forward(start) {
                let (number, event) = found?;
                if number >= end {
                    break;
                }
                if self.is(&event) {
                    return Ok(Some(number));
                }
            }
            from = end;
        }
    }

    /// The number of the last such event before number `before`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn previous(self, reader: &mut Reader, mut before: u64) -> Result<Option<u64>, Error> {
        loop {
            let block =
                reader.blocks().rfind(|block| block.first_event < before && self.is_in(block)).copied();
            let Some(block) = block else { return Ok(None) };
            let (start, end) = (block.first_event, block.end().min(before));
            for found in reader.backward(end) {
                let (number, event) = found?;
                if number < start {
                    break;
                }
                if self.is(&event) {
                    return Ok(Some(number));
                }
            }
            before = start;
        }
    }
}
