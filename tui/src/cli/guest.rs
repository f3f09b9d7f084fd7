//! How to run a guest, wherever one runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::gdb::Address;

/// How to run a guest.
#[derive(Args, Clone, Debug)]
pub struct GuestOptions {
    /// Number of vCPUs, 1 to 16 [default: what the guest shows best with, 1 for an image file]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub cpus: Option<u8>,
    /// Guest memory, for instance 512M [default: 64M, 256M for an image file]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
    /// End the run after so long, for instance 10s or 500ms
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// The guest's own command line, for instance 'console=ttyS0' or 'rounds=100'
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub append: String,
    /// An initial RAM disk for a Linux kernel
    #[arg(long, value_name = "FILE", conflicts_with = "module")]
    pub initrd: Option<PathBuf>,
    /// A module for a multiboot or PVH kernel; may be given several times
    ///
    /// What follows the first blank is the module's own command line: --module 'disk.img ro'.
    #[arg(long, value_name = "FILE[ ARGS]", value_parser = module)]
    pub module: Vec<ModuleFile>,
    /// Symbols besides the image's own: ELF, System.map, output of nm, or vmlinuz; may be given several times
    ///
    /// OFFSET is added to every address: decimal, or hexadecimal with 0x, and - in front of it subtracts. Of several
    /// files that name the same place the last counts.
    #[arg(long, value_name = "FILE[@OFFSET]", value_parser = symbols)]
    pub symbols: Vec<SymbolFile>,
    /// A file that the guest sees as a disk (virtio block device); the guest may write to it
    #[arg(long, value_name = "FILE")]
    pub disk: Option<PathBuf>,
    /// Let GDB connect: at a PORT of this machine, at ADDRESS:PORT, or at the path of a Unix socket
    ///
    /// Port 0 takes a free one, and which is said. GDB may come and go any number of times while the guest runs: 'target remote ADDRESS', 'detach'.
    #[arg(long, value_name = "ADDRESS")]
    pub gdb: Option<Address>,
    /// Let GDB connect from other machines, too: whoever does has the guest
    #[arg(long, requires = "gdb")]
    pub gdb_anywhere: bool,
    /// Hold the guest before its first instruction until somebody resumes it: GDB, or Space in the UI
    #[arg(long)]
    pub wait: bool,
    /// What the guest's CPUID offers
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Cpu::Safe)]
    pub cpu: Cpu,
    /// Who plays the interrupt controllers
    #[arg(long, value_name = "WHO", value_enum, default_value_t = Irqchip::User)]
    pub irqchip: Irqchip,
    /// Which traps to record: all, none, or a list of vectors such as 14,13,syscall
    #[arg(long, value_name = "WHICH", default_value = "all")]
    pub traps: String,
    /// When to record what is in a vCPU's registers, for 'replay --gdb'
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Registers::None)]
    pub registers: Registers,
    /// What to do when the guest makes events faster than they can be written
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnFull::Wait)]
    pub on_full: OnFull,
}

/// A file for the guest's boot protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// The file.
    pub path: PathBuf,
    /// Its own command line.
    pub command_line: String,
}

/// A file with symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolFile {
    /// The file.
    pub path: PathBuf,
    /// What to add to each address, wrapping.
    pub offset: u64,
}

/// What `CPUID` offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cpu {
    /// What this host has and kernel code can use, as 'vmscope doctor' finds it.
    Safe,
    /// All that this host's KVM says it has.
    Host,
}

/// Who plays the interrupt controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Irqchip {
    /// vmscope: every interrupt, IPI and EOI is in the trace.
    User,
    /// KVM plays the local APICs, vmscope the rest: faster, and less is seen.
    Split,
    /// KVM plays all of them: what is not seen then is said in the report.
    Kernel,
}

/// When registers are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Registers {
    /// Never.
    None,
    /// When a handler of the guest's is entered.
    Traps,
    /// At every exit and after every step.
    All,
}

/// What to do when the recorder cannot keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFull {
    /// The vCPU waits, and nothing is lost.
    Wait,
    /// Events are dropped and counted.
    Drop,
}

/// A size in bytes, with `K`, `M` or `G` for their binary multiples.
fn size(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &lower[number.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        other => return Err(format!("unknown unit '{other}': use K, M or G")),
    };
    let number: u64 = number.parse().map_err(|_| "not a size: give a number and K, M or G".to_owned())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(|| "out of range".to_owned())
}

/// A time: seconds, or with `ms`, `s`, `m` or `h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let time = moment(text)?;
    if time.is_zero() { Err("out of range".to_owned()) } else { Ok(time) }
}

/// A time since the beginning of a run, which may be 0.
pub(super) fn moment(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "us" => 0.000_001,
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit '{other}': use ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| "not a time: give a number and ms, s, m or h".to_owned())?;
    Duration::try_from_secs_f64(number * unit).map_err(|_| "out of range".to_owned())
}

/// A file, a blank, and the module's own command line.
fn module(text: &str) -> Result<ModuleFile, String> {
    let (path, command_line) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if path.is_empty() {
        return Err("no file: give FILE, or 'FILE ARGS'".to_owned());
    }
    Ok(ModuleFile { path: path.into(), command_line: command_line.trim().to_owned() })
}

/// A file, and an offset behind its last `@` if that looks like a number.
fn symbols(text: &str) -> Result<SymbolFile, String> {
    let numeric = |word: &str| word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    let (path, offset) = match text.rsplit_once('@') {
        Some((path, word)) if numeric(word) => {
            let complaint = || {
                format!(
                    "'{word}' is not an offset: give a number such as 0x1000 or -4096 (a file whose name has an @ \
                     needs one too: {text}@0)"
                )
            };
            (path, offset(word).ok_or_else(complaint)?)
        }
        _ => (text, 0),
    };
    if path.is_empty() {
        return Err("no file: give FILE, or FILE@OFFSET".to_owned());
    }
    Ok(SymbolFile { path: path.into(), offset })
}

/// A number of 64 bits with or without a sign, as what it adds.
fn offset(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    // The parsers below would take a second sign.
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok()?,
        Some(_) => return None,
        None => digits.parse().ok()?,
    };
    Some(if negative { number.wrapping_neg() } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("4096"), Ok(4096));
        assert!(size("12X").is_err() && size("").is_err() && size("0").is_err());
        assert!(size("99999999999999G").is_err());
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert!(duration("-1").is_err() && duration("x").is_err() && duration("1e300h").is_err());
        assert!(duration("0").is_err() && moment("0") == Ok(Duration::ZERO));
    }

    #[test]
    fn a_module_has_a_file_and_words() {
        let parsed = |text| module(text).map(|m| (m.path.display().to_string(), m.command_line));
        assert_eq!(parsed("a/b.img"), Ok(("a/b.img".into(), String::new())));
        assert_eq!(parsed("b.img  ro  x=1 "), Ok(("b.img".into(), "ro  x=1".into())));
        assert!(parsed("").is_err() && parsed(" ro").is_err());
    }

    #[test]
    fn symbols_may_have_an_offset() {
        let parsed = |text| symbols(text).map(|s| (s.path.display().to_string(), s.offset));
        assert_eq!(parsed("vmlinux"), Ok(("vmlinux".into(), 0)));
        assert_eq!(parsed("vmlinux@0x1000"), Ok(("vmlinux".into(), 0x1000)));
        assert_eq!(parsed("vmlinux@-0x10"), Ok(("vmlinux".into(), 16_u64.wrapping_neg())));
        assert_eq!(parsed("m@+4096"), Ok(("m".into(), 4096)));
        assert_eq!(parsed("m@0xffffffff80000000"), Ok(("m".into(), 0xffff_ffff_8000_0000)));
        assert_eq!(parsed("user@host.map"), Ok(("user@host.map".into(), 0)));
        assert_eq!(parsed("a@2x.map@0"), Ok(("a@2x.map".into(), 0)));
        for wrong in ["", "@0x10", "m@0x", "m@2x.map", "m@--1", "m@0x-1", "m@+-1", "m@99999999999999999999"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
