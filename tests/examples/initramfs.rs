//! Writes the initial RAM disk that the tests boot Linux with, for use by hand:
//!
//! ```text
//! tests/real-guests/fetch
//! cargo run -p vmscope-tests --example initramfs initramfs.cpio
//! cargo run --release -- run ~/.cache/vmscope-guests/vmlinuz --initrd initramfs.cpio --append console=ttyS0 --cpus 2
//! ```
//!
//! A second argument says where to write the program `shootdown`, for `--symbols`.

use std::path::Path;
use std::process::ExitCode;

use vmscope_tests::initramfs::Initramfs;
use vmscope_tests::{images, real};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (archive, program) = match arguments.as_slice() {
        [archive] => (archive, None),
        [archive, program] => (archive, Some(program)),
        _ => {
            eprintln!("usage: initramfs ARCHIVE [PROGRAM]");
            return ExitCode::from(2);
        }
    };
    let busybox = real::directory().join("busybox");
    let written = Initramfs::new()
        .write(&busybox, Path::new(archive))
        .and_then(|()| program.map_or(Ok(()), |path| std::fs::write(path, images::SHOOTDOWN)));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} from {}: {error}", Path::new(archive).display(), busybox.display());
            ExitCode::FAILURE
        }
    }
}
