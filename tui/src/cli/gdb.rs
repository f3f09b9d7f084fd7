//! `--gdb` and `--wait`.

use std::path::Path;

use std::borrow::Cow;
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
    let image = Path::new(&request.guest);
    let symbols = request.options.symbols.first().map(|file| file.path.as_path());
    let file = symbols.or(Some(image).filter(|image| image.is_file()));
    let file = file.map(|file| format!(" {}", file.display())).unwrap_or_default();
    let warning = if address.is_local() { "" } else { "; anybody can" };
    format!("to debug it: gdb{file} -ex 'target remote {address}'{warning}")
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
fn image(header: &Header, given: Option<&Path>) -> Result<Option<Cow<'static, [u8]>>, Failure> {
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
