//! What can go wrong, with the operation, its operand, and what to do about it.

use std::path::PathBuf;
use std::{fmt, io};

/// Shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in the monitor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No `/dev/kvm`.
    #[error(
        "this host has no /dev/kvm: enable virtualization in the firmware and load the module (modprobe kvm-intel or \
         kvm-amd); inside a virtual machine, nested virtualization must be on"
    )]
    NoKvm,
    /// No permission for `/dev/kvm`.
    #[error(
        "no permission to open /dev/kvm: add yourself to the group that owns it (usermod -aG kvm $USER, then log in again)"
    )]
    KvmPermission,
    /// A KVM of another kind.
    #[error("this host's KVM speaks API version {version}, not 12")]
    ApiVersion {
        /// Its version.
        version: i32,
    },
    /// A capability is missing.
    #[error("this host's KVM lacks {name} (for {purpose}): Linux 5.10 or later has it")]
    MissingCapability {
        /// Its name in `linux/kvm.h`.
        name: &'static str,
        /// What the monitor needs it for.
        purpose: &'static str,
    },
    /// A KVM ioctl failed.
    #[error("{operation} failed")]
    Kvm {
        /// The ioctl.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A system call failed.
    #[error("cannot {operation}")]
    Os {
        /// What was attempted.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Guest memory could not be had.
    #[error("cannot get {} MiB of memory for the guest; try --memory with less", bytes >> 20)]
    Memory {
        /// How much.
        bytes: u64,
        /// Why.
        source: io::Error,
    },
    /// A setting out of range.
    #[error("{what} must be {allowed}, not {value}")]
    Setting {
        /// Which.
        what: &'static str,
        /// What it may be.
        allowed: &'static str,
        /// What it was.
        value: String,
    },
    /// An image cannot be read.
    #[error("cannot read the image {}", path.display())]
    ReadImage {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image is not what the run began with.
    #[error(
        "cannot begin anew: {name} or a module of it has changed since the run began; start vmscope again for the new one"
    )]
    ImageChanged {
        /// The image's name.
        name: String,
    },
    /// An image is of no known kind.
    #[error("{name} is not a guest image that vmscope knows: {looked_for}")]
    UnknownImage {
        /// Its name.
        name: String,
        /// What was looked for.
        looked_for: String,
    },
    /// An image is damaged.
    #[error("{name} is damaged: {problem}")]
    DamagedImage {
        /// Its name.
        name: String,
        /// In which way.
        problem: String,
    },
    /// The kernel inside a bzImage cannot be had.
    #[error("cannot unpack the Linux kernel inside {name}: {problem}")]
    UnpackKernel {
        /// The bzImage's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A Linux kernel that does not name its functions.
    #[error(
        "{name} has no symbols: it has no .symtab, and no kallsyms tables of Linux 4.6 or later (a kernel built without \
         CONFIG_KALLSYMS?); try its System.map, or the vmlinux of its debug package"
    )]
    NoKallsyms {
        /// Its name.
        name: String,
    },
    /// An image does not fit.
    #[error("{name} needs guest memory up to {end:#x}, but the guest has {memory:#x} bytes: try --memory {}M", end.div_ceil(1 << 20))]
    ImageTooLarge {
        /// Its name.
        name: String,
        /// The first gpa behind it.
        end: u64,
        /// The guest's memory in bytes.
        memory: u64,
    },
    /// A module or initial RAM disk does not fit.
    #[error(
        "cannot give the guest {}: it is larger than {room} bytes, all that modules before it leave of the guest's {} \
         MiB of memory; try --memory with more",
        path.display(),
        memory >> 20
    )]
    ModuleTooLarge {
        /// Its path.
        path: PathBuf,
        /// Bytes that are left for it.
        room: u64,
        /// The guest's memory in bytes.
        memory: u64,
    },
    /// An image wants memory that the monitor uses for booting.
    #[error(
        "{name} wants to be loaded at {gpa:#x} to {end:#x}: an image may be at 0x30000 to 0x9fc00 and from 0x100000 on; \
         elsewhere are vmscope's boot tables, video memory and the firmware's tables"
    )]
    ImagePlace {
        /// Its name.
        name: String,
        /// Where it wants to be.
        gpa: u64,
        /// The first gpa behind it.
        end: u64,
    },
    /// A guest is given something that its boot protocol has no place for.
    #[error("cannot give {name} {what}: {protocol} takes none")]
    NotTaken {
        /// The image's name.
        name: String,
        /// What kind of image it is.
        protocol: &'static str,
        /// What it was to be given.
        what: String,
    },
    /// A text for the guest is too long, or has a zero in it.
    #[error("{what} has {length} bytes: this kind of guest takes {most}, and none that is zero")]
    TextTooLong {
        /// Which text.
        what: &'static str,
        /// The most bytes.
        most: usize,
        /// How many it has.
        length: usize,
    },
    /// A file for `--symbols` that has none.
    #[error("{name} has no symbols: it is neither an ELF file, a System.map, nor what nm prints")]
    NoSymbols {
        /// Its name.
        name: String,
    },
    /// A file with more symbols than a trace holds.
    #[error(
        "{name} has more symbols than a trace holds, which is 2^20 of them and 32 MiB of names: remove them (strip) and \
         give the ones that matter in a file of their own (nm FILE | grep ..., --symbols)"
    )]
    TooManySymbols {
        /// Its name.
        name: String,
    },
    /// A disk cannot be opened.
    #[error("cannot open the disk {}", path.display())]
    OpenDisk {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that cannot be a disk.
    #[error("{} cannot be a disk: {problem}", path.display())]
    NotADisk {
        /// Its path.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// A disk that somebody else holds.
    #[error("the disk {} is in use by another guest: give this one a copy, or make the file read-only for both", path.display())]
    DiskInUse {
        /// Its path.
        path: PathBuf,
    },
    /// An address range that no guest memory backs.
    #[error("gpa {gpa:#x} + {len:#x} bytes is not guest memory")]
    NotMemory {
        /// First gpa.
        gpa: u64,
        /// Bytes.
        len: u64,
    },
    /// A guest virtual address that the guest's tables do not map.
    #[error("gva {gva:#x} is not mapped on vCPU {vcpu}: {why}")]
    NotMapped {
        /// The address.
        gva: u64,
        /// Whose tables.
        vcpu: u8,
        /// What the walk found.
        why: &'static str,
    },
    /// A selector that cannot be loaded into a segment register.
    #[error("cannot load selector {selector:#x} into {register}: {why}")]
    Selector {
        /// The register's name.
        register: &'static str,
        /// The selector.
        selector: u16,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value that a register does not take.
    #[error("{register} does not take {value:#x}: {why}")]
    RegisterValue {
        /// The register's name.
        register: &'static str,
        /// The value.
        value: u64,
        /// What it takes.
        why: &'static str,
    },
    /// A model-specific register that cannot be set.
    #[error("MSR {index:#x} does not take {value:#x}, or this host has no such register")]
    MsrValue {
        /// Its number.
        index: u32,
        /// The value.
        value: u64,
    },
    /// A vCPU number that the machine does not have.
    #[error("there is no vCPU {vcpu}: the machine has {count}")]
    NoSuchVcpu {
        /// The number.
        vcpu: u8,
        /// How many there are.
        count: u8,
    },
    /// The operation needs another state of the machine.
    #[error("cannot {operation}: the guest {state}")]
    WrongState {
        /// What was attempted.
        operation: &'static str,
        /// The state it is in.
        state: &'static str,
    },
    /// This host cannot do it, as calibration found.
    #[error("cannot {operation} on this host: {why} (see vmscope doctor)")]
    HostCannot {
        /// What was attempted.
        operation: &'static str,
        /// What is missing.
        why: &'static str,
    },
    /// A reset failed in the middle.
    #[error("the guest could not begin anew, and the run ends: {why}")]
    ResetFailed {
        /// What went wrong.
        why: String,
    },
    /// KVM cannot go on with a guest: `KVM_EXIT_INTERNAL_ERROR`.
    #[error("KVM cannot go on with this guest {0}")]
    InternalError(Box<Stuck>),
    /// KVM could not get at guest memory: `KVM_EXIT_MEMORY_FAULT`.
    #[error(
        "KVM cannot access the guest's memory at gpa {gpa:#x} ({size:#x} bytes): the host has run out of memory for it, or \
         its own is damaged (see dmesg)"
    )]
    MemoryFault {
        /// First gpa.
        gpa: u64,
        /// Bytes.
        size: u64,
    },
    /// The trace's file could not be made.
    #[error("cannot create the trace {}", path.display())]
    CreateTrace {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The trace could not be written.
    #[error("cannot write the trace {}", path.display())]
    Trace {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: trace_format::Error,
    },
    /// A thread of the monitor ended by a panic.
    #[error("the monitor's {thread} thread panicked: this is a defect of vmscope; please report it")]
    Panicked {
        /// Which.
        thread: &'static str,
    },
}

/// Where and at what KVM cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Which vCPU.
    pub vcpu: u8,
    /// KVM's reason: 1 is an instruction that it could not emulate (`KVM_INTERNAL_ERROR_*` in `linux/kvm.h`).
    pub suberror: u32,
    /// The instruction for people: disassembled, or its bytes.
    pub instruction: String,
    /// Its gva.
    pub address: u64,
    /// The symbol that holds it, with the offset into it.
    pub symbol: Option<String>,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vcpu, suberror, instruction, address, symbol, why } = self;
        write!(f, "on vCPU {vcpu} at {address:#x}")?;
        if let Some(symbol) = symbol {
            write!(f, " ({symbol})")?;
        }
        if *suberror != 1 {
            return write!(f, ", before {instruction}: {why} (internal error {suberror}); try another host");
        }
        write!(
            f,
            ": this KVM emulates guest kernel code and cannot run {instruction}: {why}. Try a host whose KVM has \
             hardware virtualization (vmscope doctor describes this one), and leave --cpu at safe, so that the guest \
             is told what is missing"
        )
    }
}

impl Error {
    /// Whether it is this host that cannot (exit status 3), rather than the guest or the command line.
    #[must_use]
    pub fn is_host(&self) -> bool {
        matches!(
            self,
            Self::NoKvm
                | Self::KvmPermission
                | Self::ApiVersion { .. }
                | Self::MissingCapability { .. }
                | Self::Kvm { .. }
                | Self::Memory { .. }
                | Self::HostCannot { .. }
                | Self::InternalError(_)
                | Self::MemoryFault { .. }
        )
    }

    pub(crate) fn kvm(operation: &'static str, e: kvm_ioctls::Error) -> Self {
        Self::Kvm { operation, source: io::Error::from_raw_os_error(e.errno()) }
    }

    pub(crate) fn os(operation: &'static str, errno: i32) -> Self {
        Self::Os { operation, source: io::Error::from_raw_os_error(errno) }
    }

    pub(crate) fn open_kvm(errno: i32) -> Self {
        match errno {
            libc::ENOENT | libc::ENODEV | libc::ENXIO => Self::NoKvm,
            libc::EACCES | libc::EPERM => Self::KvmPermission,
            errno => Self::os("open /dev/kvm", errno),
        }
    }
}
