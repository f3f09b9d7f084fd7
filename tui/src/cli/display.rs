//! What the guest showed: its text screen, its console output.

use std::io::Write;

use anyhow::anyhow;
use trace_format::{Kind, Payload, Reader};

use super::failure::{Code, Failure};
use super::{options, output};
use crate::model::screen::At;
use crate::ui::text;

/// `vmscope screen`.
pub(super) fn screen(arguments: &options::Screen) -> Result<Code, Failure> {
    let mut reader = Reader::open(&arguments.file)?;
    // The first event that does not count.
    let end = match (arguments.event, arguments.at) {
        (Some(number), _) if number >= reader.len() => {
            let error = anyhow!("there is no event {number}: the trace has {}", text::count(reader.len()));
            return Err(Failure::new(Code::Usage, error));
        }
        (Some(number), _) => number + 1,
        (None, Some(at)) => {
            let ns = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
            reader.seek_time(ns.saturating_add(1))?
        }
        (None, None) => reader.len(),
    };
    let at = match end.checked_sub(1) {
        Some(last) => At::event(last, &mut reader)?,
        None => At::default(),
    };
    if at.screen().is_unused() {
        let ever = reader.blocks().any(|block| block.has_kind(Kind::Screen));
        let until = if ever { "until then" } else { "(vmscope console prints what it wrote elsewhere)" };
        output::error(&format_args!("the guest wrote nothing to its text screen {until}"))?;
        output::warn_of_damage(&reader)?;
        return Ok(Code::Failed);
    }
    let mut out = output::out();
    out.write_all(at.screen().text().as_bytes())?;
    out.flush()?;
    output::warn_of_damage(&reader)
}

/// `vmscope console`.
pub(super) fn console(arguments: &options::Console) -> Result<Code, Failure> {
    if arguments.raw && output::is_terminal() {
        let error =
            anyhow!("--raw could make this terminal do what the guest wants: send it to a file or a pipe");
        return Err(Failure::new(Code::Usage, error));
    }
    let mut reader = Reader::open(&arguments.file)?;
    let blocks: Vec<(u64, u64)> = reader
        .blocks()
        .filter(|block| block.has_kind(Kind::Console))
        .map(|block| (block.first_event, block.end()))
        .collect();
    let mut out = output::out();
    let mut escape = Escape::default();
    for (start, end) in blocks {
        for found in reader.forward(start) {
            let (number, event) = found?;
            if number >= end {
                break;
            }
            match &event.payload {
                Payload::Console(output) if arguments.raw => out.write_all(&output.bytes)?,
                Payload::Console(output) => escape.write(&output.bytes, &mut out)?,
                _ => {}
            }
        }
    }
    escape.finish(&mut out)?;
    out.flush()?;
    output::warn_of_damage(&reader)
}

/// Makes text of bytes that come in pieces.
#[derive(Default)]
struct Escape {
    /// The beginning of a character, or a return that may belong to a line feed; 3 bytes at most.
    begun: Vec<u8>,
}

impl Escape {
    fn write(&mut self, bytes: &[u8], out: &mut impl Write) -> std::io::Result<()> {
        self.begun.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.begun);
        let begins = begins(&all);
        let (whole, begun) = all.split_at(all.len() - begins);
        self.begun.extend_from_slice(begun);
        escape(whole, out)
    }

    /// Whatever has begun does not go on.
    fn finish(self, out: &mut impl Write) -> std::io::Result<()> {
        escape(&self.begun, out)
    }
}

/// How many bytes at the end begin something that the next piece may complete.
fn begins(bytes: &[u8]) -> usize {
    if bytes.last() == Some(&b'\r') {
        return 1;
    }
    let Some(last) = bytes.utf8_chunks().last() else { return 0 };
    // An incomplete character is what more bytes make one of.
    match std::str::from_utf8(last.invalid()) {
        Err(error) if error.error_len().is_none() => last.invalid().len(),
        _ => 0,
    }
}

fn escape(bytes: &[u8], out: &mut impl Write) -> std::io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        for line in chunk.valid().split_inclusive('\n') {
            let (line, feed) = match line.strip_suffix('\n') {
                Some(line) => (line.strip_suffix('\r').unwrap_or(line), "\n"),
                None => (line, ""),
            };
            for (n, cell) in line.split('\t').enumerate() {
                if n > 0 {
                    out.write_all(b"\t")?;
                }
                out.write_all(text::escape(cell).as_bytes())?;
            }
            out.write_all(feed.as_bytes())?;
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(pieces: &[&[u8]]) -> String {
        let (mut out, mut escape) = (Vec::new(), Escape::default());
        pieces.iter().for_each(|piece| escape.write(piece, &mut out).unwrap());
        escape.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        assert_eq!(escaped(&[b"one\r\ntwo\tthree\n"]), "one\ntwo\tthree\n");
        assert_eq!(escaped(&[b"\x1b[2Jx\r10%\r20%\n\xff"]), "\\u{1b}[2Jx\\r10%\\r20%\n\\xff");
    }

    #[test]
    fn what_is_cut_is_put_together() {
        assert_eq!(escaped(&[b"a\r", b"\nb\r", b"c", b"\r"]), "a\nb\\rc\\r");
        assert_eq!(escaped(&[b"\xe2", b"\x94\x80 \xc3", b"x\xe2\x94"]), "─ \\xc3x\\xe2\\x94");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..60), cut in 0_usize..60) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let whole = escaped(&[&bytes]);
            prop_assert_eq!(&escaped(&[head, tail]), &whole);
            prop_assert!(!whole.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')));
        }
    }
}
