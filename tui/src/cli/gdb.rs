//! `--gdb` and `--wait`.

use std::path::Path;

use anyhow::anyhow;

use super::failure::{Code, Failure};
use super::guest::GuestOptions;
use super::output;
use crate::gdb::{Address, Listener};
use crate::live::Request;

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
