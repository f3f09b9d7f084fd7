//! Finding and opening the tracepoint.

use std::io;
use std::path::{Path, PathBuf};

use perf_event::{Builder, Clock, SampleFlag, Sampler};
use tracepoint_decode::PerfEventFormat;

use super::message::Message;

/// Where the kernel describes tracepoints, if it does.
const TRACING: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// Bytes of a vCPU's ring: 1,600 IPIs between two looks.
const RING: usize = 64 << 10;

/// `kvm:kvm_apic_ipi`, of which this process may see the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tracepoint {
    id: u64,
    icr_low: Field,
    destination: Field,
}

/// Where a 32-bit field is in a sample, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field(usize);

impl Tracepoint {
    /// Finds the tracepoint and tries to open it for `vcpus` threads.
    ///
    /// # Errors
    /// Says why that cannot be, and what to do about it.
    pub(crate) fn find(vcpus: u8) -> Result<Self, String> {
        Self::find_below(&TRACING.map(Path::new))?.tried(vcpus)
    }

    fn find_below(tracing: &[&Path]) -> Result<Self, String> {
        const EVENT: &str = "events/kvm/kvm_apic_ipi";
        let mut refused = None;
        for root in tracing {
            match std::fs::read_to_string(root.join(EVENT).join("format")) {
                Ok(format) => return Self::parse(&format),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused = Some(*root),
                Err(_) => {}
            }
        }
        let mounted = tracing.iter().any(|root| root.join("events").exists());
        Err(match (refused, mounted) {
            (Some(root), _) => format!("{} may be read by root only: run as root", root.display()),
            (None, true) => "this kernel has no tracepoint kvm:kvm_apic_ipi".to_owned(),
            (None, false) => {
                let root = tracing.first().map_or_else(PathBuf::new, |root| root.to_path_buf());
                format!("tracefs is not mounted: mount -t tracefs tracefs {}", root.display())
            }
        })
    }

    fn parse(format: &str) -> Result<Self, String> {
        let parsed = PerfEventFormat::parse(true, "kvm", format);
        let field = |name: &str| {
            let field = parsed.as_ref()?.fields().iter().find(|field| field.name() == name)?;
            (field.size() == 4).then_some(Field(field.offset().into()))
        };
        match (&parsed, field("icr_low"), field("dest_id")) {
            (Some(parsed), Some(icr_low), Some(destination)) => {
                Ok(Self { id: parsed.id().into(), icr_low, destination })
            }
            _ => Err("this kernel describes kvm:kvm_apic_ipi in a way that vmscope does not know".to_owned()),
        }
    }

    /// Opened for every vCPU at once, so that it will not turn out later that there are not enough of something.
    fn tried(self, vcpus: u8) -> Result<Self, String> {
        let opened: io::Result<Vec<_>> = (0..vcpus).map(|_| self.open()).collect();
        match opened {
            Ok(_) => Ok(self),
            Err(error) => Err(match error.raw_os_error() {
                Some(libc::EACCES | libc::EPERM) => {
                    "perf_event_open is not permitted: run as root, or sysctl kernel.perf_event_paranoid=-1"
                        .to_owned()
                }
                _ => format!("perf_event_open: {error}"),
            }),
        }
    }

    /// Opens it for the present thread.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn open(self) -> io::Result<Sampler> {
        let mut builder = Builder::new(perf_event::events::Tracepoint::with_id(self.id));
        builder
            .observe_self()
            .any_cpu()
            .include_kernel()
            .include_hv()
            .sample_period(1)
            .sample(SampleFlag::TIME | SampleFlag::RAW)
            .clockid(Clock::MONOTONIC)
            // Whoever reads it looks from time to time.
            .wakeup_watermark(RING / 2)
            .enabled(true);
        builder.build()?.sampled(RING)
    }

    /// What a sample's raw data say.
    pub(super) fn decode(self, raw: &[u8]) -> Option<Message> {
        let word = |Field(offset): Field| {
            let bytes = raw.get(offset..offset.checked_add(4)?)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        Some(Message { icr_low: word(self.icr_low)?, destination: word(self.destination)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: kvm_apic_ipi\nID: 96\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
        \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:__u32 icr_low;\toffset:8;\tsize:4;\tsigned:0;\n\
        \tfield:__u32 dest_id;\toffset:12;\tsize:4;\tsigned:0;\n\n\
        print fmt: \"dst %x vec %u\", REC->dest_id, (u8)REC->icr_low\n";

    #[test]
    fn fields_are_where_the_kernel_says() {
        let tracepoint = Tracepoint::parse(FORMAT).unwrap();
        assert_eq!(tracepoint, Tracepoint { id: 96, icr_low: Field(8), destination: Field(12) });
        let mut raw = [0; 20];
        raw[8..12].copy_from_slice(&0x0c_40fd_u32.to_le_bytes());
        raw[12] = 3;
        assert_eq!(tracepoint.decode(&raw), Some(Message { icr_low: 0x0c_40fd, destination: 3 }));
        assert_eq!(tracepoint.decode(&raw[..15]), None);
    }

    #[test]
    fn another_description_is_refused() {
        for format in ["", "name: kvm_apic_ipi\nID: 96\nformat:\n", &FORMAT.replace("dest_id", "dest")] {
            assert!(Tracepoint::parse(format).unwrap_err().contains("does not know"), "{format}");
        }
        assert!(Tracepoint::parse(&FORMAT.replace("size:4", "size:8")).is_err());
    }

    #[test]
    fn says_what_to_do_when_it_is_not_there() {
        let nowhere = Path::new("/nonexistent/tracing");
        let why = Tracepoint::find_below(&[nowhere]).unwrap_err();
        assert_eq!(why, "tracefs is not mounted: mount -t tracefs tracefs /nonexistent/tracing");
    }
}
