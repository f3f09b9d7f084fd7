//! The grammar and its fields in words.

use std::fmt::Write as _;

use super::field::{Field, fields};
use super::value::Type;

const GRAMMAR: &str = "\
A filter says which events are wanted. It is one or more tests, joined by `and`, `or` and `not`
(or `&&`, `||`, `!`) and grouped by parentheses; `not` binds more tightly than `and`, `and` more
tightly than `or`.

  FIELD == VALUE    != < <= > >=     as is usual
  FIELD in A..B                      from A to B, both included
  FIELD in {A, B, C..D}              one of them; `not in` is none of them
  FIELD ~ PATTERN   !~               a regular expression somewhere in text or a name
  FIELD                              the event has it; of one that is true or false, it is true

Numbers are decimal or hexadecimal (0x40), with K, M, G (powers of 1000) or Ki, Mi, Gi (of
1024). Times have a unit: ns, us, ms, s, min; without one they are ns. Many numbers have names:
`trap.vector == page-fault`. Text with other characters than letters, digits, `_`, `-` and
single dots stands in \"quotes\"; within them \\\" is a quote and \\\\ a backslash.

What an event does not have compares false, also by != and !~: `io.port != 0x80` is true of port
accesses only, and `not io.port == 0x80` of all other events besides.

A field of vCPUs has several: `ipi.target == 3` and `ipi.target > 1` are true if they are of one of
them, `ipi.target != 3` if vCPU 3 is none of them. A filter sees one event at a time, and console
output comes in events of 64 bytes and less: a pattern that may be cut there is better looked for
in what `vmscope console` prints.

Examples:
  kind == exit and exit.reason == mmio and latency > 50us
  vcpu in {0, 2} and trap.vector == page-fault and trap.cr2 in 0x400000..0x4fffff
  symbol ~ \"^flush_tlb\" and not cpl == user
  kind == ipi and ipi.vector == 0xfd and time in 1.5s..1.6s
";

/// The grammar, and every field with its type and its values' names; plain text of lines of at most 100 characters.
#[must_use]
pub fn documentation() -> String {
    let mut out = String::from(GRAMMAR);
    out.push_str("\nFields:\n");
    for field in fields() {
        // Writing to a string does not fail.
        let _ = writeln!(out, "  {} ({})", field.name, type_name(field.of));
        wrap(&mut out, field.documentation);
        let names = names(field);
        if !names.is_empty() {
            wrap(&mut out, &names);
        }
    }
    out
}

fn names(field: &Field) -> String {
    let names = field.names();
    if names.is_empty() { String::new() } else { format!("Names: {}.", names.join(", ")) }
}

const fn type_name(of: Type) -> &'static str {
    match of {
        Type::Number => "number",
        Type::Address => "address",
        Type::Time => "time",
        Type::Name => "name",
        Type::Text => "text",
        Type::Truth => "true or false",
        Type::Vcpus => "vCPUs",
    }
}

/// Appends `text` in lines that are indented.
fn wrap(out: &mut String, text: &str) {
    const WIDTH: usize = 94;
    let mut length = WIDTH + 1;
    for word in text.split_whitespace() {
        if length + 1 + word.len() > WIDTH {
            out.push_str(if length > WIDTH { "      " } else { "\n      " });
            length = 0;
        } else {
            out.push(' ');
            length += 1;
        }
        out.push_str(word);
        length += word.len();
    }
    out.push('\n');
}
