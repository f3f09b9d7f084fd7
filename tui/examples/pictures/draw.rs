//! README's pictures, drawn by the real UI over the traces in `replays`.

use std::path::Path;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Size;
use trace_format::Reader;
use vmscope::app::{App, Settings};
use vmscope::ui;
use vmscope::ui::theme::{Depth, Palette, Theme};

/// A picture: its file, the trace, the terminal's size, and the keys that lead to it (`\n` is Enter).
type Picture = (&'static str, &'static str, Size, &'static str);

const PICTURES: [Picture; 4] = [
    ("timeline", "tlb-shootdown-4", Size::new(130, 36), "7\n\n"),
    ("ipis", "tlb-shootdown-4", Size::new(130, 32), "7"),
    ("statistics", "exit-storm", Size::new(130, 32), "4"),
    ("memory", "linux-shootdown", Size::new(150, 38), "#3692\n6"),
];

/// Each picture with its name.
pub(crate) fn pictures() -> Vec<(&'static str, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../replays");
    let draw = |(name, trace, size, keys): Picture| {
        let mut settings = Settings::plain();
        settings.look.theme = Theme { palette: Palette::Dark, depth: Depth::True };
        let reader = Reader::open(folder.join(trace).with_extension("vmt")).unwrap();
        let mut app = App::new(reader, settings);
        app.resize(size);
        app.read_all();
        for key in keys.chars() {
            let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            app.key(KeyEvent::new(code, KeyModifiers::NONE));
            app.read_all();
        }
        let frame = ui::coloured_snapshot(&mut app, size).unwrap();
        (name, anstyle_svg::Term::new().render_svg(&frame))
    };
    PICTURES.into_iter().map(draw).collect()
}
