//! The commands after `monitor`.

use super::debuggee::Debuggee;
use crate::ui::text;

/// A command.
pub(super) struct Command {
    /// Its first word.
    pub(super) name: &'static str,
    /// The words after it, as the help shows them.
    pub(super) arguments: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    /// Carries it out for a vCPU, with the words after it; what it returns is shown, and escaped before.
    pub(super) run: fn(&mut dyn Debuggee, u8, &str) -> String,
}

/// All, in the order of the help.
const COMMANDS: &[Command] = &[
    Command { name: "help", arguments: "[COMMAND]", about: "this, or what one command does", run: help },
    Command { name: "why", arguments: "", about: "why the last request was refused", run: nothing_refused },
];

/// Carries a line out and gives its output, which ends with a line feed.
pub(super) fn run(debuggee: &mut dyn Debuggee, vcpu: u8, line: &str) -> String {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let name = if name.is_empty() { "help" } else { name };
    let output = match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => (command.run)(debuggee, vcpu, rest.trim()),
        None => debuggee.monitor(vcpu, line).unwrap_or_else(|| unknown(name)),
    };
    // Much of it comes from the guest, and it is for a terminal.
    output.lines().map(|line| format!("{}\n", text::escape(line))).collect()
}

fn unknown(name: &str) -> String {
    format!("there is no command '{name}'; 'monitor help' lists those that there are")
}

fn help(_: &mut dyn Debuggee, _: u8, name: &str) -> String {
    let usage = |command: &Command| format!("{} {}", command.name, command.arguments).trim_end().to_owned();
    let chosen = COMMANDS.iter().filter(|command| name.is_empty() || command.name == name);
    let lines: Vec<String> =
        chosen.map(|command| format!("{:<24} {}", usage(command), command.about)).collect();
    if lines.is_empty() { unknown(name) } else { lines.join("\n") }
}

/// The session answers it if there is something to say.
fn nothing_refused(_: &mut dyn Debuggee, _: u8, _: &str) -> String {
    "nothing was refused".to_owned()
}
