//! Files that are no images, or nearly.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use trace_format::{Reader, verify};
use vmm_lite::{Config, Error, Image, Vm};
use vmscope_tests::images::{HOSTILE, UNKNOWN_INSTRUCTION};
use vmscope_tests::run::Guest;
use vmscope_tests::skip::kvm_or_skip;

use super::exercise::{is_orderly, without_hanging};
use super::soup::{Random, code};

const IMAGES: u64 = 130;
/// How long each may run; most are refused.
const LENGTH: Duration = Duration::from_millis(60);
/// How long what is left may take to go.
const PATIENCE: Duration = Duration::from_secs(10);
/// Set for the process that runs the images, and nothing else.
const ALONE: &str = "VMSCOPE_GARBAGE_IMAGES";
/// The most memory that process may have had, MiB: the guests have 16 each, one after the other.
const PEAK: u64 = 160;

/// Image number `seed`: something between random bytes and a good image.
fn garbage(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let length = match random.below(4) {
        0 => random.below(64),
        1 => random.below(4096),
        2 => 4096 + random.below(60_000),
        _ => random.below(1 << 20),
    };
    match seed % 13 {
        0 => random.bytes(length),
        1 => code(seed, length.max(1)),
        2 => elf(&mut random, 2, length),
        3 => elf(&mut random, 1, length),
        4 => multiboot(&mut random, length),
        5 | 6 => bzimage(&mut random, length),
        7 => pvh(&mut random),
        8 => truncated(&mut random),
        9 => vec![random.next() as u8; length],
        10 => multiboot_elf(&mut random),
        _ => mutated(&mut random),
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Random bytes behind an ELF identification of `class` (1: 32 bits, 2: 64 bits).
fn elf(random: &mut Random, class: u8, length: usize) -> Vec<u8> {
    let mut bytes = random.bytes(length.max(64));
    put(&mut bytes, 0, &[0x7f, b'E', b'L', b'F', class, 1, 1, 0]);
    // An executable for i386 or x86-64, with few program headers: some get further than others.
    if random.below(3) > 0 {
        put(&mut bytes, 16, &[2, 0, if class == 1 { 3 } else { 62 }, 0, 1, 0, 0, 0]);
        let headers = if class == 1 { 28..32 } else { 32..40 };
        put(&mut bytes, headers.start, &vec![0; headers.len()]);
        put(&mut bytes, headers.start, &[if class == 1 { 52 } else { 64 }]);
        let sizes = if class == 1 { 42 } else { 54 };
        put(&mut bytes, sizes, &[if class == 1 { 32 } else { 56 }, 0, random.below(9) as u8, 0]);
        let first = if class == 1 { 52 } else { 64 };
        put(&mut bytes, first, &[1, 0, 0, 0]);
    }
    bytes
}

/// A multiboot 1 header (with its checksum right) somewhere in the first 8 KiB.
fn multiboot(random: &mut Random, length: usize) -> Vec<u8> {
    let mut bytes = random.bytes(length.max(256));
    let flags = if random.below(2) == 0 { 0x1_0003_u32 } else { random.next() as u32 };
    let at = random.below(bytes.len().min(8192) / 4 - 12) * 4;
    multiboot_header(&mut bytes, at, flags);
    if random.below(2) == 0 {
        // Load addresses in memory, so that some of it is loaded and entered.
        let base = 0x10_0000_u32;
        for (n, value) in [base + at as u32, base, 0, 0, base + 16].into_iter().enumerate() {
            put(&mut bytes, at + 12 + 4 * n, &value.to_le_bytes());
        }
    }
    bytes
}

fn multiboot_header(bytes: &mut [u8], at: usize, flags: u32) {
    const MAGIC: u32 = 0x1bad_b002;
    let checksum = 0_u32.wrapping_sub(MAGIC).wrapping_sub(flags);
    for (n, value) in [MAGIC, flags, checksum].into_iter().enumerate() {
        put(bytes, at + 4 * n, &value.to_le_bytes());
    }
}

/// An ELF image that promises multiboot, with damage.
fn multiboot_elf(random: &mut Random) -> Vec<u8> {
    let mut bytes = elf(random, 1, 9000);
    multiboot_header(&mut bytes, 4096, 3);
    bytes
}

/// A Linux boot sector with its setup header, random but for what makes it one.
fn bzimage(random: &mut Random, length: usize) -> Vec<u8> {
    let mut bytes = random.bytes(length.max(0x400));
    put(&mut bytes, 0x1fe, &[0x55, 0xaa]);
    put(&mut bytes, 0x202, b"HdrS");
    if random.below(3) > 0 {
        put(&mut bytes, 0x1f1, &[random.below(5) as u8]);
        put(&mut bytes, 0x206, &[random.below(16) as u8, 2]);
        put(&mut bytes, 0x211, &[1]);
        // Payload, preferred address and size needed.
        for at in [0x248, 0x24c, 0x260] {
            let value = random.next() as u32 >> random.below(32);
            put(&mut bytes, at, &value.to_le_bytes());
        }
    }
    bytes
}

/// A 64-bit ELF file with a PVH note (Xen's note 18) that leads anywhere.
fn pvh(random: &mut Random) -> Vec<u8> {
    let mut bytes = UNKNOWN_INSTRUCTION.to_vec();
    let end = bytes.len();
    let entry = random.next() >> random.below(64);
    bytes.extend([4, 0, 0, 0, 8, 0, 0, 0, 18, 0, 0, 0, b'X', b'e', b'n', 0]);
    bytes.extend(entry.to_le_bytes());
    // The second program header becomes the note's, the file offset and the sizes of it right or not.
    let header = 64 + 56;
    put(&mut bytes, header, &[4, 0, 0, 0]);
    put(&mut bytes, header + 8, &(end as u64).to_le_bytes());
    let size = if random.below(3) == 0 { random.next() >> random.below(64) } else { 24 };
    put(&mut bytes, header + 32, &size.to_le_bytes());
    let count = bytes.get(56).copied().unwrap_or(0).max(2);
    put(&mut bytes, 56, &[count]);
    bytes
}

fn truncated(random: &mut Random) -> Vec<u8> {
    let length = random.below(HOSTILE.len());
    HOSTILE[..length].to_vec()
}

/// A good image with some bytes changed, mostly in its headers.
fn mutated(random: &mut Random) -> Vec<u8> {
    let mut bytes = UNKNOWN_INSTRUCTION.to_vec();
    for _ in 0..1 + random.below(8) {
        let range: Range<usize> = if random.below(4) == 0 { 0..bytes.len() } else { 16..64 + 3 * 56 };
        let at = range.start + random.below(range.len());
        let value = if random.below(2) == 0 { random.next() as u8 } else { bytes[at] ^ 1 << random.below(8) };
        put(&mut bytes, at, &[value]);
    }
    bytes
}

#[test]
fn garbage_images_leave_nothing_behind() {
    if !kvm_or_skip("garbage_images_leave_nothing_behind") {
        return;
    }
    // In a process of its own: what other tests open meanwhile must not be counted.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "hostile::image::garbage_images_alone"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run by garbage_images_leave_nothing_behind"]
fn garbage_images_alone() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    // What is set up once is there afterwards.
    Guest::new("hello", 1).run().assert_well();
    let before = (entries("fd"), entries("task"));
    let directory = tempfile::tempdir().unwrap();
    let (mut refused, mut ran) = (0, 0);
    for seed in 0..IMAGES {
        let path = directory.path().join("image");
        let trace = directory.path().join("t.vmt");
        std::fs::write(&path, garbage(seed)).unwrap();
        match without_hanging(&format!("image {seed}"), move || run(&path, &trace)) {
            Ok(()) => ran += 1,
            Err(error) if is_refusal(&error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
            Err(error) => panic!("image {seed}: {error:?}"),
        }
    }
    assert!(refused > 10 && ran > 10, "{refused} refused, {ran} ran");
    // A thread that has been joined may be in /proc for a moment longer.
    let ended = Instant::now();
    while (entries("fd"), entries("task")) != before {
        assert!(ended.elapsed() < PATIENCE, "{:?}, before {before:?}", (entries("fd"), entries("task")));
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak >> 10 <= PEAK, "{peak} KiB");
}

fn run(image: &Path, trace: &Path) -> Result<(), Error> {
    let config = Config {
        memory_bytes: 16 << 20,
        timeout: Some(LENGTH),
        trace: Some(trace.to_owned()),
        ..Config::new(Image::File(image.to_owned()))
    };
    let outcome = Vm::start(config)?.wait()?;
    assert!(is_orderly(&outcome), "{outcome:?}");
    let found = verify(&mut Reader::open(trace).unwrap()).unwrap();
    assert!(found.is_sound() && found.finished, "{found:?}");
    Ok(())
}

/// Whether it is the image that is said to be wrong.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::UnknownImage { .. }
            | Error::DamagedImage { .. }
            | Error::ImageTooLarge { .. }
            | Error::ImagePlace { .. }
            | Error::UnpackKernel { .. }
    )
}

/// How many entries a directory of this process's in `/proc` has.
fn entries(directory: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{directory}")).unwrap().count()
}
