//! The kernel proper inside a Linux bzImage: an ELF file, compressed, behind the code that unpacks it at boot.
//!
//! The setup header says where it is (Documentation/arch/x86/boot.rst, `payload_offset` and `payload_length`), its
//! first bytes say how it is compressed. Its last four bytes are its size unpacked, for every compression: gzip ends so,
//! and the kernel's build appends it to the others (`arch/x86/boot/compressed/mkpiggy.c` reads it from there).

use std::io::{self, Read};

use crate::error::{Error, Result};

/// A kernel is never larger: it must fit the 1 GiB of addresses that it is linked for (`KERNEL_IMAGE_SIZE`).
const MAX_KERNEL: u64 = 1 << 30;
/// What an LZMA or xz decoder may allocate, in KiB: twice the 64 MiB dictionary of `lzma -9`.
const MAX_LZMA_KIB: u32 = 128 << 10;
/// Offsets into the setup header.
mod header {
    pub(super) const SETUP_SECTS: usize = 0x1f1;
    pub(super) const BOOT_FLAG: usize = 0x1fe;
    pub(super) const MAGIC: usize = 0x202;
    pub(super) const VERSION: usize = 0x206;
    pub(super) const PAYLOAD_OFFSET: usize = 0x248;
    pub(super) const PAYLOAD_LENGTH: usize = 0x24c;
    pub(super) const INIT_SIZE: usize = 0x260;
}
/// The boot protocol that brought `payload_offset`: Linux 2.6.26.
const VERSION_WITH_PAYLOAD: u16 = 0x208;
/// The boot protocol that brought `init_size`: Linux 2.6.35.
const VERSION_WITH_INIT_SIZE: u16 = 0x20a;

/// Whether `file` is a Linux bzImage.
pub(super) fn is_bzimage(file: &[u8]) -> bool {
    array(file, header::BOOT_FLAG) == Some([0x55, 0xaa]) && array(file, header::MAGIC) == Some(*b"HdrS")
}

/// The ELF file inside the bzImage `file`, called `name`.
///
/// # Errors
/// When there is none, it is damaged, or compressed in a way that is not known here.
pub(super) fn vmlinux(name: &str, file: &[u8]) -> Result<Vec<u8>> {
    unpack(file).map_err(|problem| Error::UnpackKernel { name: name.to_owned(), problem })
}

fn unpack(file: &[u8]) -> Result<Vec<u8>, String> {
    let (payload, limit) = payload(file).ok_or("its setup header names no payload inside the file")?;
    let (format, magic) = Format::of(payload).ok_or_else(|| {
        if payload.is_empty() {
            // memtest86+ has the setup header, but no Linux.
            return "its payload is empty, so that there is no compressed kernel inside".to_owned();
        }
        let start: Vec<String> = payload.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("it begins with {}, which is no compression that Linux has", start.join(" "))
    })?;
    match format {
        Format::Plain => return Ok(payload.to_vec()),
        Format::Lzo => return Err("it is compressed by LZO, which vmscope does not unpack".to_owned()),
        _ => {}
    }
    let (packed, size) = payload.split_last_chunk().ok_or("its payload is empty")?;
    let size = u32::from_le_bytes(*size).into();
    if size > limit {
        return Err(format!(
            "it says that it is {size} bytes unpacked, more than the {limit} it has room for"
        ));
    }
    let damaged = |e: io::Error| format!("its {magic} data is damaged: {e}");
    let kernel = match format {
        // gzip's own end is the size.
        Format::Gzip => read(flate2::read::GzDecoder::new(payload), size),
        Format::Bzip2 => read(bzip2::read::BzDecoder::new(packed), size),
        Format::Lzma => lzma_rust2::LzmaReader::new_mem_limit(packed, MAX_LZMA_KIB, None)
            .and_then(|reader| read(reader, size)),
        Format::Xz => read(lzma_rust2::XzReader::new_mem_limit(packed, false, MAX_LZMA_KIB), size),
        Format::Lz4 => lz4_legacy(packed, size),
        Format::Zstd => zstd::stream::read::Decoder::with_buffer(packed)
            .and_then(|reader| read(reader.single_frame(), size)),
        Format::Lzo | Format::Plain => Err(io::ErrorKind::Unsupported.into()),
    }
    .map_err(damaged)?;
    if kernel.len() as u64 != size {
        return Err(format!("it says that it is {size} bytes unpacked, but is {}", kernel.len()));
    }
    if Format::of(&kernel).is_none_or(|(format, _)| format != Format::Plain) {
        return Err("what was unpacked is no ELF file".to_owned());
    }
    Ok(kernel)
}

/// The packed kernel, and the most that it may be unpacked.
fn payload(file: &[u8]) -> Option<(&[u8], u64)> {
    let version = u16::from_le_bytes(array(file, header::VERSION)?);
    if !is_bzimage(file) || version < VERSION_WITH_PAYLOAD {
        return None;
    }
    // Zero stands for four, from the time of floppy disks.
    let sectors = match *file.get(header::SETUP_SECTS)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let code = file.get((sectors + 1) * 512..)?;
    let offset = u32::from_le_bytes(array(file, header::PAYLOAD_OFFSET)?) as usize;
    let length = u32::from_le_bytes(array(file, header::PAYLOAD_LENGTH)?) as usize;
    let payload = code.get(offset..)?.get(..length)?;
    // The kernel unpacks itself in place, in the memory that `init_size` asks for.
    let room = match u32::from_le_bytes(array(file, header::INIT_SIZE)?) {
        size if version >= VERSION_WITH_INIT_SIZE && size != 0 => u64::from(size).min(MAX_KERNEL),
        _ => MAX_KERNEL,
    };
    Some((payload, room))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// How a kernel is compressed: the choices of `init/Kconfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Gzip,
    Bzip2,
    Lzma,
    Xz,
    Lzo,
    Lz4,
    Zstd,
    Plain,
}

impl Format {
    /// What `packed` begins with, and its name.
    fn of(packed: &[u8]) -> Option<(Self, &'static str)> {
        const MAGICS: [(&[u8], Format, &str); 8] = [
            (&[0x1f, 0x8b], Format::Gzip, "gzip"),
            (b"BZh", Format::Bzip2, "bzip2"),
            (&[0x5d, 0, 0], Format::Lzma, "LZMA"),
            (b"\xfd7zXZ\0", Format::Xz, "xz"),
            (b"\x89LZO\0", Format::Lzo, "LZO"),
            (&[0x02, 0x21, 0x4c, 0x18], Format::Lz4, "LZ4"),
            (&[0x28, 0xb5, 0x2f, 0xfd], Format::Zstd, "zstd"),
            (b"\x7fELF", Format::Plain, "ELF"),
        ];
        let (_, format, name) = MAGICS.into_iter().find(|(magic, ..)| packed.starts_with(magic))?;
        Some((format, name))
    }
}

/// Reads what should be `size` bytes, and no more than one byte beyond, which is enough to see that it is wrong.
fn read(reader: impl Read, size: u64) -> io::Result<Vec<u8>> {
    let mut kernel = Vec::new();
    reader.take(size + 1).read_to_end(&mut kernel)?;
    Ok(kernel)
}

/// Unpacks LZ4's legacy frame, which the kernel's build makes (`lz4 -l`): blocks of at most 8 MiB unpacked, each after
/// its packed size (lz4_Frame_format.md, "Legacy frame").
///
/// By hand because lz4_flex's frame decoder refuses a block that did not get smaller.
fn lz4_legacy(packed: &[u8], size: u64) -> io::Result<Vec<u8>> {
    const BLOCK: usize = 8 << 20;
    let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "a block ends behind its end");
    let mut block = vec![0; BLOCK.min(size as usize)];
    let mut kernel = Vec::new();
    let mut rest = packed.get(4..).ok_or_else(short)?;
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let (packed_block, next) = behind.split_at_checked(length).ok_or_else(short)?;
        let room = block.len().min(size as usize - kernel.len());
        let unpacked = lz4_flex::block::decompress_into(packed_block, &mut block[..room])
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        kernel.extend_from_slice(&block[..unpacked]);
        rest = next;
    }
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A bzImage of protocol 2.15 with `payload`.
    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 0x400 + 0x10];
        file[header::SETUP_SECTS] = 1;
        file[header::BOOT_FLAG..][..2].copy_from_slice(&[0x55, 0xaa]);
        file[header::MAGIC..][..4].copy_from_slice(b"HdrS");
        file[header::VERSION..][..2].copy_from_slice(&0x20f_u16.to_le_bytes());
        file[header::PAYLOAD_OFFSET..][..4].copy_from_slice(&0x10_u32.to_le_bytes());
        file[header::PAYLOAD_LENGTH..][..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        file[header::INIT_SIZE..][..4].copy_from_slice(&(32_u32 << 20).to_le_bytes());
        file.extend_from_slice(payload);
        file.extend_from_slice(b"the rest of the unpacking code");
        file
    }

    /// Something that begins like an ELF file and spans several of LZ4's blocks.
    fn kernel() -> Vec<u8> {
        let mut kernel = b"\x7fELF".to_vec();
        kernel.extend((0..9_u32 << 18).flat_map(|i| (i / 3).wrapping_mul(0x9e37_79b9).to_le_bytes()));
        kernel
    }

    /// As the kernel's build does.
    fn with_size(mut packed: Vec<u8>, kernel: &[u8]) -> Vec<u8> {
        packed.extend_from_slice(&(kernel.len() as u32).to_le_bytes());
        packed
    }

    fn gzip(kernel: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(kernel).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(kernel: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(kernel).unwrap();
        with_size(encoder.finish().unwrap(), kernel)
    }

    fn lz4(kernel: &[u8]) -> Vec<u8> {
        let mut packed = vec![0x02, 0x21, 0x4c, 0x18];
        for block in kernel.chunks(8 << 20) {
            let block = lz4_flex::block::compress(block);
            packed.extend_from_slice(&(block.len() as u32).to_le_bytes());
            packed.extend_from_slice(&block);
        }
        with_size(packed, kernel)
    }

    fn zstd(kernel: &[u8]) -> Vec<u8> {
        with_size(zstd::bulk::compress(kernel, 1).unwrap(), kernel)
    }

    fn lzma(kernel: &[u8]) -> Vec<u8> {
        let options = lzma_rust2::LzmaOptions::with_preset(0);
        let mut encoder = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None).unwrap();
        encoder.write_all(kernel).unwrap();
        with_size(encoder.finish().unwrap(), kernel)
    }

    /// With the filter for x86 code, as `scripts/xz_wrap.sh` packs kernels.
    fn xz(kernel: &[u8]) -> Vec<u8> {
        let mut options = lzma_rust2::XzOptions::with_preset(0);
        options.prepend_pre_filter(lzma_rust2::filter::FilterType::BcjX86, 0);
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        encoder.write_all(kernel).unwrap();
        with_size(encoder.finish().unwrap(), kernel)
    }

    fn problem(file: &[u8]) -> String {
        vmlinux("bzImage", file).unwrap_err().to_string()
    }

    #[test]
    fn every_compression_gives_the_kernel_back() {
        let kernel = kernel();
        for pack in [gzip, bzip2, lz4, zstd, lzma, xz] {
            let packed = pack(&kernel);
            let (_, name) = Format::of(&packed).unwrap();
            assert!(packed.len() < kernel.len(), "{name}");
            assert!(vmlinux("bzImage", &bzimage(&packed)).unwrap() == kernel, "{name}");
        }
        assert!(vmlinux("bzImage", &bzimage(&kernel)).unwrap() == kernel);
    }

    #[test]
    fn a_kernel_that_is_larger_than_it_says_is_refused() {
        let kernel = kernel();
        for pack in [gzip, bzip2, lz4, zstd, lzma, xz] {
            let mut packed = pack(&kernel);
            let (_, name) = Format::of(&packed).unwrap();
            let at = packed.len() - 4;
            packed[at..].copy_from_slice(&1000_u32.to_le_bytes());
            vmlinux("bzImage", &bzimage(&packed)).expect_err(name);
        }
    }

    #[test]
    fn a_size_without_room_is_refused() {
        let mut packed = lz4(&kernel());
        let at = packed.len() - 4;
        packed[at..].copy_from_slice(&[0xff; 4]);
        assert!(problem(&bzimage(&packed)).contains("more than the 33554432"));
    }

    #[test]
    fn lzo_and_the_unknown_are_named() {
        assert!(problem(&bzimage(b"\x89LZO\0\r\n\x1a\n")).contains("LZO, which vmscope does not unpack"));
        assert!(problem(&bzimage(&[1, 2, 3, 4, 5, 6, 7])).contains("01 02 03 04 05 06"));
    }

    #[test]
    fn an_empty_payload_is_no_compression() {
        assert!(problem(&bzimage(&[])).contains("there is no compressed kernel inside"));
    }

    #[test]
    fn what_is_packed_must_be_an_elf_file() {
        assert!(problem(&bzimage(&zstd(b"a text"))).contains("no ELF file"));
    }

    #[test]
    fn a_payload_outside_the_file_is_none() {
        let mut file = bzimage(&zstd(b"\x7fELF"));
        file[header::PAYLOAD_OFFSET..][..4].copy_from_slice(&[0xff; 4]);
        assert!(problem(&file).contains("no payload"));
    }

    proptest! {
        #[test]
        fn damage_never_panics(
            which in 0_usize..6,
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let kernel: Vec<u8> = b"\x7fELF".iter().copied().chain((0..5000_u32).map(|i| (i / 7) as u8)).collect();
            let mut file = bzimage(&[gzip, bzip2, lz4, zstd, lzma, xz][which](&kernel));
            for (at, byte) in damage {
                let at = at.index(file.len());
                file[at] = byte;
            }
            file.truncate(file.len() - cut.index(file.len() / 4));
            let _ = vmlinux("bzImage", &file);
        }

        #[test]
        fn garbage_never_panics(payload in prop::collection::vec(any::<u8>(), 0..200), which in 0_usize..8) {
            const STARTS: [&[u8]; 8] = [
                b"", b"\x1f\x8b\x08", b"BZh9", b"\x5d\0\0", b"\xfd7zXZ\0", b"\x02\x21\x4c\x18", b"\x28\xb5\x2f\xfd",
                b"\x7fELF",
            ];
            let _ = vmlinux("bzImage", &bzimage(&[STARTS[which], &payload].concat()));
        }
    }
}
