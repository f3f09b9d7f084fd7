use proptest::prelude::*;

use super::*;

fn memory() -> Memory {
    Memory::new(8 << 20).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    load("x", bytes, Handover::default(), &memory()).unwrap_err().to_string()
}

fn module(bytes: &[u8], command_line: &str) -> ModuleData {
    ModuleData { name: "m".to_owned(), bytes: bytes.to_vec(), command_line: command_line.to_owned() }
}

/// The text at gpa `at`.
fn text(memory: &Memory, at: u32) -> String {
    let bytes =
        (u64::from(at)..).map(|gpa| memory.read_value::<u8>(gpa).unwrap()).take_while(|byte| *byte != 0);
    String::from_utf8(bytes.collect()).unwrap()
}

fn words<const N: usize>(memory: &Memory, at: u64) -> [u32; N] {
    std::array::from_fn(|n| memory.read_value(at + 4 * n as u64).unwrap())
}

/// An ELF file with one segment, loaded at `gpa` and linked at `gva`, whose contents are `code`; the entry is its
/// first byte. `note` is the contents of a note segment.
fn elf(wide: bool, gva: u64, gpa: u64, code: &[u8], note: &[u8]) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let machine: u16 = if wide { 62 } else { 3 };
    let word = |file: &mut Vec<u8>, value: u64| file.extend(&value.to_le_bytes()[..if wide { 8 } else { 4 }]);
    let (header, entry) = if wide { (64, 56) } else { (52, 32) };
    let start = header + 2 * entry;
    file.extend([2_u16, machine].map(u16::to_le_bytes).concat());
    file.extend(1_u32.to_le_bytes());
    word(&mut file, gva);
    word(&mut file, header);
    word(&mut file, 0);
    file.extend(0_u32.to_le_bytes());
    file.extend([header as u16, entry as u16, 2, 0, 0, 0].map(u16::to_le_bytes).concat());
    let mut segment = |kind: u32, at: u64, gva: u64, gpa: u64, size: usize| {
        file.extend(kind.to_le_bytes());
        if wide {
            file.extend(7_u32.to_le_bytes());
        }
        for value in [at, gva, gpa, size as u64, size as u64] {
            word(&mut file, value);
        }
        if !wide {
            file.extend(7_u32.to_le_bytes());
        }
        word(&mut file, 4);
    };
    segment(1, start, gva, gpa, code.len());
    segment(4, start + code.len() as u64, 0, 0, note.len());
    file.extend(code);
    file.extend(note);
    file
}

/// A bzImage of boot protocol `version` whose protected-mode code is `code`, to be loaded at 1 MiB.
fn bzimage(version: u16, xloadflags: u16, code: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]);
    put(0x1fe, &[0x55, 0xaa]);
    put(0x202, b"HdrS");
    put(0x206, &version.to_le_bytes());
    put(0x211, &[1]);
    put(0x214, &0x10_0000_u32.to_le_bytes());
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(0x236, &xloadflags.to_le_bytes());
    put(0x238, &2047_u32.to_le_bytes());
    put(0x258, &0x10_0000_u64.to_le_bytes());
    put(0x260, &0x20_0000_u32.to_le_bytes());
    file.extend(code);
    file
}

fn multiboot_header(flags: u32, addresses: &[u32]) -> Vec<u8> {
    const MAGIC: u32 = 0x1bad_b002;
    let words = [MAGIC, flags, 0_u32.wrapping_sub(MAGIC).wrapping_sub(flags)];
    words.iter().chain(addresses).flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn what_is_no_image_is_named() {
    for (bytes, what) in [
        (&b""[..], "empty"),
        (b"\x7fELF\x02\x01\x01", "damaged"),
        (b"\x7fELF\x01\x01\x01", "damaged"),
        (b"\xfd7zXZ\0...", "xz"),
        (b"QFI\xfb", "qcow2"),
        (b"MZ\x90\0", "EFI"),
        (b"070701", "--initrd"),
        (b"#!/bin/sh", "script"),
        (&[[0; 8], [0xd6, 0x50, 0x52, 0xe8, 0, 0, 0, 0]].concat(), "multiboot 2"),
    ] {
        let error = refused(bytes);
        assert!(error.contains(what), "{error}");
    }
    let error = refused(&vec![0; 700_000]);
    for looked_for in ["HdrS", "ELF magic", "multiboot", "too large"] {
        assert!(error.contains(looked_for), "{error}");
    }
    let mut arm = elf(true, 0x10_0000, 0x10_0000, &[0xf4], &[]);
    arm[18] = 183;
    assert!(refused(&arm).contains("not for x86"));
    arm[18] = 62;
    arm[16] = 3;
    assert!(refused(&arm).contains("fixed addresses"));
}

#[test]
fn a_flat_image_goes_where_boot_sectors_go() {
    let memory = memory();
    let loaded = load("x", &[0xf4, 0xeb], Handover::default(), &memory).unwrap();
    assert_eq!((loaded.kind, loaded.entry.mode, loaded.entry.address), (Kind::Flat, Mode::Real, 0x7c00));
    assert_eq!(memory.read_value::<u16>(0x7c00).unwrap(), 0xebf4);
}

#[test]
fn elf_files_of_both_classes() {
    for (wide, kind, mode) in [(true, Kind::Elf64, Mode::Long), (false, Kind::Elf32, Mode::Protected)] {
        let memory = memory();
        let file = elf(wide, 0x4000_1000, 0x20_0000, &[0xf4, 0xeb], &[]);
        let loaded = load("x", &file, Handover::default(), &memory).unwrap();
        assert_eq!((loaded.kind, loaded.entry.mode, loaded.entry.address), (kind, mode, 0x20_0000));
        assert_eq!(loaded.entry.registers.rdi, 0x600);
        assert_eq!(memory.read_value::<u16>(0x20_0000).unwrap(), 0xebf4);
    }
}

#[test]
fn an_image_stays_off_the_monitors_places() {
    for gpa in [0, 0x500, 0x2_f000, 0x9_fc00, 0xb_8000, 0xf_fff0] {
        let error = refused(&elf(true, gpa, gpa, &[0; 64], &[]));
        assert!(error.contains("0x30000"), "{gpa:#x}: {error}");
    }
    for gpa in [0x80_0000, 0x7f_fff0, u64::MAX - 8] {
        let error = refused(&elf(true, gpa, gpa, &[0; 64], &[]));
        assert!(error.contains("--memory"), "{gpa:#x}: {error}");
    }
    load("x", &elf(true, 0x3_0000, 0x3_0000, &[0; 64], &[]), Handover::default(), &memory()).unwrap();
}

#[test]
fn multiboot_gets_its_information() {
    let memory = memory();
    let mut code = vec![0xf4, 0, 0, 0];
    code.extend(multiboot_header(0b111, &[]));
    let file = elf(false, 0x10_0000, 0x10_0000, &code, &[]);
    let modules = [module(&[1, 2, 3], "a b"), module(&[4], "")];
    let handover = Handover { command_line: "-v", modules: &modules };
    let loaded = load("k", &file, handover, &memory).unwrap();
    assert_eq!(
        (loaded.kind, loaded.entry.mode, loaded.entry.address),
        (Kind::Multiboot, Mode::Protected, 0x10_0000)
    );
    assert_eq!(loaded.entry.registers.rax, 0x2bad_b002);
    let info: [u32; 29] = words(&memory, loaded.entry.registers.rbx);
    assert_eq!(info[0], 0b1_0010_0100_1101);
    assert_eq!(info[1..3], [639, 7 << 10]);
    assert_eq!(text(&memory, info[4]), "k -v");
    assert_eq!(info[5], 2);
    let list: [u32; 8] = words(&memory, info[6].into());
    assert_eq!(list[..2], [0x10_1000, 0x10_1003]);
    assert_eq!(list[4..6], [0x10_2000, 0x10_2001]);
    assert_eq!((text(&memory, list[2]), text(&memory, list[6])), ("m a b".into(), "m".into()));
    assert_eq!(memory.read_value::<u8>(0x10_1002).unwrap(), 3);
    let map: [u32; 6] = words(&memory, info[12].into());
    assert_eq!((info[11] % 24, map), (0, [20, 0, 0, 0x9_fc00, 0, 1]));
    assert!(text(&memory, info[16]).starts_with("vmscope"));
    assert_eq!(info[22..27], [0xb_8000, 0, 160, 80, 25]);
    assert_eq!(info[27], 0x0210);
}

#[test]
fn multiboot_by_its_own_addresses() {
    let memory = memory();
    let mut file = vec![0; 16];
    // Loaded from the file's byte 8 on, to 1 MiB; the header is 8 bytes into that.
    file.extend(multiboot_header(1 << 16, &[0x10_0008, 0x10_0000, 0, 0x20_0000, 0x10_0028]));
    file.extend([0xf4, 0xf4, 0xf4, 0xf4]);
    let loaded = load("k", &file, Handover::default(), &memory).unwrap();
    assert_eq!((loaded.kind, loaded.entry.address), (Kind::Multiboot, 0x10_0028));
    assert_eq!(memory.read_value::<u32>(0x10_0028).unwrap(), 0xf4f4_f4f4);
    assert_eq!(memory.read_value::<u32>(0x10_0008).unwrap(), 0x1bad_b002);
    for (what, addresses) in [
        ("before its load address", [0x10_0008, 0x20_0000, 0, 0, 0]),
        ("before its load address", [0x10_0008, 0, 0, 0, 0]),
        ("before its start", [0x10_0008, 0x10_0000, 1, 0, 0]),
        ("file ends", [0x10_0008, 0x10_0000, 0x20_0000, 0, 0]),
        ("--memory", [0x10_0008, 0x10_0000, 0, 0xffff_ffff, 0]),
    ] {
        let mut file = vec![0; 16];
        file.extend(multiboot_header(1 << 16, &addresses));
        let error = refused(&file);
        assert!(error.contains(what), "{what}: {error}");
    }
    let mut file = vec![0; 16];
    file.extend(multiboot_header(1 << 16 | 1 << 5, &[0x10_0008, 0x10_0000, 0, 0, 0]));
    assert!(refused(&file).contains("0x20"));
}

#[test]
fn pvh_gets_its_start_information() {
    let memory = memory();
    let note = [[4_u32, 4, 18].map(u32::to_le_bytes).concat(), b"Xen\0\x04\0\x10\0".to_vec()].concat();
    let file = elf(true, 0x10_0000, 0x10_0000, &[0xf4; 8], &note);
    let modules = [module(&[1, 2, 3], "first")];
    let handover = Handover { command_line: "quiet", modules: &modules };
    let loaded = load("k", &file, handover, &memory).unwrap();
    assert_eq!(
        (loaded.kind, loaded.entry.mode, loaded.entry.address),
        (Kind::Pvh, Mode::Protected, 0x10_0004)
    );
    let info: [u32; 14] = words(&memory, loaded.entry.registers.rbx);
    assert_eq!(info[..4], [0x336e_c578, 1, 0, 1]);
    let list: [u32; 6] = words(&memory, info[4].into());
    assert_eq!(list[..4], [0x10_1000, 0, 3, 0]);
    assert_eq!((text(&memory, list[4]), text(&memory, info[6])), ("first".into(), "quiet".into()));
    assert_eq!(info[8], 0xf_0000);
    let map: [u32; 6] = words(&memory, info[10].into());
    assert_eq!((info[12], map[2], map[4]), (6, 0x9_fc00, 1));
}

#[test]
fn linux_gets_its_zero_page() {
    for (version, xloadflags, kind, mode, entry) in [
        (0x20f, 1, Kind::BzImage64, Mode::Long, 0x10_0200),
        (0x20f, 0, Kind::BzImage32, Mode::Protected, 0x10_0000),
        (0x204, 1, Kind::BzImage32, Mode::Protected, 0x10_0000),
    ] {
        let memory = memory();
        let modules = [module(&[7; 5000], "")];
        let handover = Handover { command_line: "console=ttyS0", modules: &modules };
        let loaded = load("k", &bzimage(version, xloadflags, &[0xf4; 600]), handover, &memory).unwrap();
        assert_eq!((loaded.kind, loaded.entry.mode, loaded.entry.address), (kind, mode, entry));
        assert!(loaded.no_symbols.is_some());
        let zero_page = loaded.entry.registers.rsi;
        let at = |offset: u64| memory.read_value::<u32>(zero_page + offset).unwrap();
        assert_eq!(at(0x202), u32::from_le_bytes(*b"HdrS"));
        assert_eq!(text(&memory, at(0x228)), "console=ttyS0");
        // As high as it can be on whole pages: 5000 bytes below 8 MiB.
        assert_eq!((at(0x218), at(0x21c)), (0x7f_e000, 5000));
        assert_eq!(memory.read_value::<u8>(0x7f_e000 + 4999).unwrap(), 7);
        assert_eq!((at(0x1e8) & 0xff, at(0x2d0 + 8), at(0x2d0 + 16)), (6, 0x9_fc00, 1));
        assert_eq!((at(0x70), at(0x210) & 0xff), (0xf_0000, 0xff));
        assert_eq!(memory.read_value::<u8>(0x10_0000).unwrap(), 0xf4);
    }
}

#[test]
fn linux_that_does_not_fit_says_how_much_it_needs() {
    let small = Memory::new(2 << 20).unwrap();
    let error = load("k", &bzimage(0x20f, 1, &[0]), Handover::default(), &small).unwrap_err().to_string();
    assert!(error.contains("--memory 3M"), "{error}");
    let modules = [module(&[0; 6 << 20], "")];
    let handover = Handover { command_line: "", modules: &modules };
    let error = load("k", &bzimage(0x20f, 1, &[0]), handover, &memory()).unwrap_err().to_string();
    assert!(error.contains("--memory 9M"), "{error}");
    let long = "x".repeat(2048);
    let handover = Handover { command_line: &long, modules: &[] };
    let error = load("k", &bzimage(0x20f, 1, &[0]), handover, &memory()).unwrap_err().to_string();
    assert!(error.contains("2047"), "{error}");
}

#[test]
fn segments_and_notes_that_overlap_are_no_work_without_end() {
    let code = vec![0xf4; 1 << 20];
    let note = [0_u8; 1 << 10];
    for (kind, size, what) in [(0, 56, "guest's memory"), (1, 56, "larger than the file")] {
        let mut file = elf(true, 0x10_0000, 0x10_0000, &code, &note);
        // The same program header over and over, at the end of the file.
        let header = file[64 + size * kind..][..size].to_vec();
        let at = file.len().next_multiple_of(8);
        file.resize(at, 0);
        file.extend(header.repeat(0xfff0));
        file[32..40].copy_from_slice(&(at as u64).to_le_bytes());
        file[56..58].copy_from_slice(&0xfff0_u16.to_le_bytes());
        let error = refused(&file);
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn modules_are_read_as_far_as_they_can_fit() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &[1; 3000]).unwrap();
    let module = |path: &Path| Module { path: path.to_owned(), command_line: String::new() };
    let both = [module(file.path()), module(Path::new("/dev/zero"))];
    let read = read_modules(&both[..1], 3000).unwrap();
    assert_eq!(read[0].bytes, [1; 3000]);
    let error = read_modules(&both, 1 << 20).unwrap_err().to_string();
    assert!(error.contains("/dev/zero") && error.contains("1045576 bytes"), "{error}");
    assert!(error.contains("--memory"), "{error}");
}

#[test]
fn a_vmlinux_is_told_from_other_elf_files() {
    let mut code = vec![0xf4; 16];
    code.extend(b"Linux version 6.1.0");
    for (wide, gva, kind) in [
        (true, 0xffff_ffff_8100_0000, Kind::Vmlinux64),
        (false, 0xc100_0000, Kind::Vmlinux32),
        (true, 0x10_0000, Kind::Elf64),
    ] {
        let loaded =
            load("k", &elf(wide, gva, 0x10_0000, &code, &[]), Handover::default(), &memory()).unwrap();
        assert_eq!((loaded.kind, loaded.entry.address), (kind, 0x10_0000));
    }
}

#[test]
fn modules_go_only_to_kernels_that_take_them() {
    let modules = [module(&[1], ""), module(&[2], "")];
    let both = Handover { command_line: "", modules: &modules };
    let one = Handover { command_line: "", modules: &modules[..1] };
    for (file, handover) in [
        (vec![0xf4], one),
        (elf(true, 0x10_0000, 0x10_0000, &[0xf4], &[]), one),
        (bzimage(0x20f, 1, &[0]), both),
    ] {
        let error = load("k", &file, handover, &memory()).unwrap_err();
        assert!(matches!(error, Error::NotTaken { .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_loaded_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..3000),
        start in 0..6_usize,
    ) {
        let starts = [
            Vec::new(),
            b"\x7fELF\x02\x01\x01".to_vec(),
            b"\x7fELF\x01\x01\x01".to_vec(),
            multiboot_header(1 << 16, &[0x10_0000, 0x10_0000, 0, 0, 0]),
            bzimage(0x20f, 1, &[]),
            elf(true, 0xffff_ffff_8100_0000, 0x10_0000, b"Linux version ", &[]),
        ];
        bytes.splice(0..0, starts[start].clone());
        let _ = load("x", &bytes, Handover::default(), &memory());
    }

    #[test]
    fn damaged_images_are_loaded_or_refused(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        which in 0..4_usize,
    ) {
        let note = [[4_u32, 4, 18].map(u32::to_le_bytes).concat(), b"Xen\0\x04\0\x10\0".to_vec()].concat();
        let mut bytes = match which {
            0 => elf(true, 0x10_0000, 0x10_0000, &multiboot_header(0, &[]), &note),
            1 => elf(false, 0x10_0000, 0x10_0000, &multiboot_header(0, &[]), &note),
            2 => elf(true, 0x10_0000, 0x10_0000, &[0xf4], &note),
            _ => bzimage(0x20f, 1, &[0xf4; 100]),
        };
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let modules = [module(&[1; 5000], "x")];
        let _ = load("x", &bytes, Handover { command_line: "x", modules: &modules }, &memory());
    }
}
