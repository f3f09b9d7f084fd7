//! Exporting what is selected: the range and the filter together.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use trace_format::Reader;
use trace_format::filter::{Candidate, Selection};

use super::App;
use crate::export::{self, Format};
use crate::new_file::NewFile;
use crate::ui::text;

/// Bytes that are written at a time.
const BUFFER: usize = 64 << 10;

/// A file to export to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    path: PathBuf,
    format: Format,
    /// A file of that name is replaced.
    replaces: bool,
}

impl Target {
    /// Understands `[!] [FORMAT] FILE`: where a file of that name is to be replaced, and as what, unless the name tells.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (replaces, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest.trim_start()));
        let (format, name) = match text.split_once(char::is_whitespace) {
            Some((first, rest)) if Format::of_name(first).is_some() => {
                (Format::of_name(first), rest.trim_start())
            }
            _ => (None, text),
        };
        if name.is_empty() {
            return Err("a file needs a name; Tab has some, Esc cancels".to_owned());
        }
        let path = PathBuf::from(name);
        let Some(format) = format.or_else(|| Format::of_path(&path)) else {
            let endings: Vec<_> = Format::ALL.iter().map(|format| format.extensions()[0]).collect();
            let names: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
            return Err(format!(
                "`{name}` does not tell the format: end it with .{}, or write {} before it",
                endings.join(", ."),
                names.join(", "),
            ));
        };
        format.check()?;
        Ok(Self { path, format, replaces })
    }
}

impl App {
    /// The trace is this file.
    pub fn set_file(&mut self, path: &Path) {
        self.file = Some(path.to_owned());
    }

    /// What is selected now: what happens in the range and matches the filter.
    fn selection(&self) -> Selection {
        let filter = self.filtered_by().clone();
        match self.range() {
            Some(selected) => Selection { filter, from: selected.range.from, to: selected.range.to },
            None => Selection { filter, ..Selection::default() },
        }
    }

    /// Names to export to, if `text` has none that tells the format.
    pub(super) fn complete_target(&self, text: &str) -> Vec<Candidate> {
        let name = text.trim_start_matches(['!', ' ']);
        if Format::of_path(Path::new(name)).is_some() {
            return Vec::new();
        }
        let stem = if name.is_empty() { self.guest_file_name() } else { name.to_owned() };
        let candidate = |format: Format| Candidate {
            text: format!("{stem}.{}", format.extensions()[0]),
            about: format.about().to_owned(),
            replaces: text.len() - name.len()..text.len(),
        };
        Format::ALL.into_iter().filter(|format| format.check().is_ok()).map(candidate).collect()
    }

    /// Begins to export what is selected.
    pub(super) fn export(&mut self, target: Target) {
        let selection = self.selection();
        let name = match &self.file {
            Some(file) => file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned(),
            None => self.guest_name().to_owned(),
        };
        let mut reader = match self.reader.again() {
            Ok(reader) => reader,
            Err(error) => return self.complain(&error),
        };
        let (of, input) = (reader.len(), self.file.clone());
        self.begin("export", of, move |watch| {
            watch.over(&mut reader);
            let path = target.path.display().to_string();
            let events = write(&mut reader, &target, &selection, &name, input.as_deref())
                .with_context(|| format!("cannot export to {path}"))?;
            let of = reader.len();
            let damage = match reader.damage().len() {
                0 => String::new(),
                places => format!("; the trace is damaged in {places} places"),
            };
            Ok(format!(
                "{} of {} events are in {path}, as {}{damage}",
                text::count(events),
                text::count(of),
                target.format.name()
            ))
        });
    }
}

fn write(
    reader: &mut Reader,
    target: &Target,
    selection: &Selection,
    name: &str,
    input: Option<&Path>,
) -> anyhow::Result<u64> {
    let Target { path, format, replaces } = target;
    let new = if *replaces {
        NewFile::create(path, input)
    } else if path.exists() {
        anyhow::bail!("there is such a file; `:export! {}` replaces it", path.display());
    } else {
        NewFile::create_new(path)
    };
    let new = new.map_err(|cannot| cannot.0)?;
    let mut out = BufWriter::with_capacity(BUFFER, new);
    let events = export::write(reader, *format, selection, None, name, &mut out)?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.keep()?;
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_and_perhaps_a_format() {
        let target = |path: &str, format, replaces| Ok(Target { path: path.into(), format, replaces });
        assert_eq!(Target::parse("a b.csv"), target("a b.csv", Format::Csv, false));
        assert_eq!(Target::parse(" ! x.vmt "), target("x.vmt", Format::Trace, true));
        assert_eq!(Target::parse("!chrome out"), target("out", Format::Chrome, true));
        assert_eq!(Target::parse("csv x.json"), target("x.json", Format::Csv, false));
        assert_eq!(Target::parse("csv.vmt"), target("csv.vmt", Format::Trace, false));
        for wrong in ["", "!", "csv ", "out", "out.txt"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }
}
