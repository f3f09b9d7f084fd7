//! The commands after `monitor`: one [`table`] for their names, their help and what is understood after them. What they
//! ask for is a [`Request`], which the debuggee carries out.

mod condition;
mod request;
mod table;
#[cfg(test)]
mod tests;
pub(super) mod trace;
pub(super) mod walk;

#[cfg(all(feature = "live", target_os = "linux", target_arch = "x86_64"))]
pub(crate) use request::Change;
pub(crate) use request::Request;

use super::debuggee::{Debuggee, Failure};
use crate::ui::text;
use table::{COMMANDS, Command};

/// Carries a line out for a vCPU and gives its output, which ends with a line feed. `refused` is why the last request of
/// the client was refused that was.
pub(super) fn run(debuggee: &mut dyn Debuggee, vcpu: u8, line: &str, refused: Option<&Failure>) -> String {
    let output = answer(debuggee, vcpu, line.trim(), refused).unwrap_or_else(|failure| failure.0);
    // Much of it comes from the guest, and it is for a terminal.
    output.lines().map(|line| format!("{}\n", text::escape(line))).collect()
}

fn answer(
    debuggee: &mut dyn Debuggee,
    vcpu: u8,
    line: &str,
    refused: Option<&Failure>,
) -> Result<String, Failure> {
    let (name, arguments) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let command = find(if name.is_empty() { "help" } else { name })?;
    let understood = (command.parse)(arguments.trim()).map_err(|why| match why {
        Some(why) => Failure(why),
        None => Failure(format!("usage: monitor {}", command.usage())),
    })?;
    match understood {
        Request::Help(name) if name.is_empty() => Ok(overview()),
        Request::Help(name) => find(&name).map(explanation),
        Request::Why => {
            Ok(refused.map_or_else(|| "nothing was refused".to_owned(), |refused| refused.0.clone()))
        }
        Request::Vcpus => Ok(vcpus(debuggee, vcpu)),
        request => debuggee.monitor(vcpu, request),
    }
}

/// The command with that name, or the only one whose name begins so.
fn find(name: &str) -> Result<&'static Command, Failure> {
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        return Ok(command);
    }
    let fitting: Vec<&Command> = COMMANDS.iter().filter(|command| command.name.starts_with(name)).collect();
    match fitting.as_slice() {
        [command] => Ok(command),
        [] => {
            Err(Failure(format!("there is no command '{name}'; 'monitor help' lists those that there are")))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|command| command.name).collect();
            Err(Failure(format!("'{name}' could be {}", names.join(" or "))))
        }
    }
}

fn overview() -> String {
    let line = |command: &Command| format!("{:<24} {}\n", command.usage(), command.about);
    let lines: String = COMMANDS.iter().map(line).collect();
    lines + "\nNames can be abbreviated; 'monitor help COMMAND' tells more of one.\n"
}

fn explanation(command: &Command) -> String {
    let Command { about, more, .. } = command;
    format!("monitor {}: {about}.\n{}", command.usage(), text::wrap(more, 100).join("\n"))
}

fn vcpus(debuggee: &mut dyn Debuggee, selected: u8) -> String {
    let mut lines = String::new();
    for vcpu in 0..debuggee.vcpus() {
        let mark = if vcpu == selected { '*' } else { ' ' };
        let about = debuggee.describe(vcpu);
        lines.push_str(&format!("{mark} cpu{vcpu:<2} {about}\n"));
    }
    lines
}
