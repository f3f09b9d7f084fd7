//! `--gdb` and `--wait`.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use trace_format::{Header, Reader};

use super::failure::{Code, Failure};
use super::guest::GuestOptions;
use super::{options, output};
use crate::gdb::recorded::Recorded;
use crate::gdb::{Address, Cursor, Listener, Server};
use crate::live::Request;
use crate::signals::Signals;

/// Listens if GDB is to be able to connect. `ui` says whether somebody can resume a guest without it.
pub(super) fn listen(options: &GuestOptions, ui: bool) -> Result<Option<Listener>, Failure> {
    let Some(address) = &options.gdb else {
        if options.wait && !ui {
            let error = anyhow!("--wait: nobody could resume the guest; let GDB connect with --gdb");
            return Err(Failure::new(Code::Usage, error));
        }
        return Ok(None);
    };
    let listener =
        Listener::bind(address, options.gdb_anywhere).map_err(|error| Failure::new(Code::Usage, error))?;
    if !listener.address().is_local() && !ui {
        output::progress(&format_args!(
            "warning: whoever can reach {} has the guest and all its memory",
            listener.address()
        ))?;
    }
    Ok(Some(listener))
}

/// How to connect.
pub(super) fn invitation(address: &Address, request: &Request) -> String {
    let symbols = request.options.symbols.iter().map(|file| file.path.as_path());
    let file = symbols.chain([Path::new(&request.guest)]).find(|file| is_elf(file));
    let file = file.map(|file| format!(" {}", file.display())).unwrap_or_default();
    let warning = if address.is_local() { "" } else { "; anybody can" };
    format!("to debug it: gdb{file} -ex 'target remote {address}'{warning}")
}

/// Whether GDB can read it; a bzImage or a System.map it cannot.
fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}

/// A trace that GDB can look at.
pub(super) struct Served {
    pub(super) server: Server,
    /// Shared with a UI.
    pub(super) cursor: Cursor,
    /// How to connect, and what GDB will not know.
    pub(super) invitation: String,
}

/// Lets GDB look at the trace behind `reader`.
pub(super) fn serve_trace(
    reader: Reader,
    arguments: &options::Replay,
    address: &Address,
) -> Result<Served, Failure> {
    let image = image(reader.header(), arguments.image.as_deref())?;
    let unknown = if image.is_none() && reader.header().image.is_some() {
        "; the guest's image is not here, so that memory is unknown: give it with --image"
    } else {
        ""
    };
    let listener =
        Listener::bind(address, arguments.gdb_anywhere).map_err(|error| Failure::new(Code::Usage, error))?;
    let cursor = Cursor::default();
    let server = listener.serve(Box::new(Recorded::new(reader, image, cursor.clone())?))?;
    let invitation = format!("to debug it: gdb -ex 'target remote {}'{unknown}", server.address());
    Ok(Served { server, cursor, invitation })
}

/// The same until a signal comes, without a UI.
pub(super) fn serve_trace_headless(
    reader: Reader,
    arguments: &options::Replay,
    address: &Address,
) -> Result<Code, Failure> {
    let signals = Signals::take()?;
    let served = serve_trace(reader, arguments, address)?;
    output::progress(&served.invitation)?;
    if !served.server.address().is_local() {
        output::progress(&format_args!(
            "warning: whoever can reach {} can read the trace",
            served.server.address()
        ))?;
    }
    while !signals.came() {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Code::Done)
}

/// The image that the trace is of: the given file, the built-in guest, or the file that was recorded, if it still is that.
pub(super) fn image(header: &Header, given: Option<&Path>) -> Result<Option<Cow<'static, [u8]>>, Failure> {
    let usage = |error| Failure::new(Code::Usage, error);
    let Some(facts) = &header.image else {
        return match given {
            Some(_) => {
                Err(usage(anyhow!("--image: the trace does not say what of its image stays in memory")))
            }
            None => Ok(None),
        };
    };
    if let Some(path) = given {
        let bytes =
            std::fs::read(path).with_context(|| format!("--image {}", path.display())).map_err(usage)?;
        if !facts.agrees(&bytes) {
            return Err(usage(anyhow!("--image {}: it is not the image that was recorded", path.display())));
        }
        return Ok(Some(bytes.into()));
    }
    let built_in = crate::live::image(&header.guest).map(Cow::Borrowed);
    // A file that cannot be read is none.
    let image = built_in.or_else(|| std::fs::read(&header.guest).ok().map(Cow::Owned));
    Ok(image.filter(|bytes| facts.agrees(bytes)))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn gdb_is_given_the_first_file_that_it_can_read() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).expect("a file");
            path.to_string_lossy().into_owned()
        };
        let [kernel, elf] = [file("vmlinuz", b"MZ"), file("vmlinux", b"\x7fELF\x02")];
        let map = file("System.map", b"1000 T _text\n");
        let address: Address = "127.0.0.1:7".parse().expect("an address");
        let said = |words: &[&str]| {
            let run = Cli::parse_from([&["vmscope"][..], words].concat()).run;
            let guest = run.guest.expect("a guest");
            invitation(&address, &Request { guest, options: run.options, trace: None, followed: false })
        };
        let without = "to debug it: gdb -ex 'target remote 127.0.0.1:7'";
        let with = format!("to debug it: gdb {elf} -ex 'target remote 127.0.0.1:7'");
        assert_eq!(said(&["hello"]), without);
        assert_eq!(said(&[&kernel, "--symbols", &map]), without);
        assert_eq!(said(&[&elf, "--symbols", &map]), with);
        assert_eq!(said(&[&kernel, "--symbols", &map, "--symbols", &elf]), with);
    }
}
