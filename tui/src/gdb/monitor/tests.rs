use crate::gdb::debuggee::Failure;
use crate::gdb::model::Model;

fn ask(line: &str) -> String {
    super::run(&mut Model::new(2), 1, line, None)
}

#[test]
fn the_help_lists_every_command_and_tells_more_of_each() {
    let mut all = ask("help");
    for command in super::COMMANDS {
        all.push_str(&format!("\n> help {}\n{}", command.name, ask(&format!("help {}", command.name))));
    }
    assert_eq!(ask(""), ask("help"));
    insta::assert_snapshot!(all);
}

#[test]
fn names_can_be_abbreviated() {
    assert_eq!(ask("trace"), "vCPU 1\n");
    assert_eq!(ask("trace-at"), ask("  trace-a  "));
    assert_eq!(ask("tr"), "'tr' could be traps or trace-at\n");
    assert_eq!(ask("help tr"), ask("tr"));
    assert!(ask("help sh").starts_with("monitor shootdowns: "));
    assert_eq!(ask("x\x1b"), "there is no command 'x\\u{1b}'; 'monitor help' lists those that there are\n");
}

#[test]
fn arguments() {
    let lines = [
        "exits",
        "exits 1",
        "events",
        "events 5",
        "events 99999",
        "events x",
        "mark",
        "mark  two  words ",
        "walk",
        "walk 0x1000",
        "walk 4096",
        "walk +1",
        "walk 0x+1",
        "walk 0x10000000000000000",
        "phys 0x10",
        "phys 16 2",
        "phys 16 0",
        "phys 16 99999",
        "phys 16 2 3",
        "scope",
        "scope 0x10",
        "scope 0x10 off",
        "scope 0x10 on",
        "step-irqs",
        "step-irqs on",
        "step-irqs off",
        "step-irqs maybe",
        "break-on",
        "break-on off",
        "break-on shutdown",
        "break-on page-fault",
        "break-on ipi",
        "break-on halted",
        "break-on nothing",
        "break-on ipi.vector == 0x40 and vcpu == 1",
        "break-on exit.reason == \u{1b}",
        "break-on trap.vectr == 3",
    ];
    let mut shown = String::new();
    for line in lines {
        let mut answer = ask(line);
        if line.starts_with("events") && answer.starts_with("01234") {
            answer = format!("{} lines\n", answer.lines().count());
        }
        // Of a filter its text says enough.
        if let Some((before, rest)) = answer.split_once("Filter { text: ") {
            let text = rest.split(", rule").next().unwrap_or(rest);
            answer = format!("{before}{text}\n");
        }
        shown.push_str(&format!("> {}\n{answer}", line.escape_debug()));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn the_front_end_has_its_own() {
    assert_eq!(
        ask("vcpus"),
        "  cpu0  running at 0x1000 in <main>&\\u{1b}\n* cpu1  running at 0x1000 in <main>&\\u{1b}\n"
    );
    assert_eq!(ask("why"), "nothing was refused\n");
    let refused = Failure::new("it\x1b is not mapped");
    assert_eq!(super::run(&mut Model::new(1), 0, "wh", Some(&refused)), "it\\u{1b} is not mapped\n");
}
