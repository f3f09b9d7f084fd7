//! Searching what the guest has written, with what has scrolled away.

use super::{App, Pane};
use crate::model::find::Needle;
use crate::model::output::Display;

/// A search in the console.
#[derive(Debug)]
pub(super) struct Search {
    needle: Needle,
    /// The display, the line of the match that it is at, and how much had been written then: lines that more output
    /// moves are not counted on.
    at: Option<(Display, usize, u64)>,
}

impl App {
    /// What is searched in the console.
    #[must_use]
    pub fn console_needle(&self) -> Option<&Needle> {
        self.console.search.as_ref().map(|search| &search.needle)
    }

    /// Searches for `text`, from the first line in view on; no longer if it is empty.
    pub(super) fn search_console(&mut self, text: &str) {
        self.focus.show(super::View::Console);
        self.focus.set(Pane::Console);
        self.console.search = Needle::new(text).map(|needle| Search { needle, at: None });
        if self.console.search.is_some() {
            self.find_in_console(true);
        }
    }

    /// Ends the search. Whether there was one.
    pub(super) fn forget_console_search(&mut self) -> bool {
        self.console.search.take().is_some()
    }

    /// Goes to the next line that matches or the one before, from the other end if there is none.
    pub(super) fn find_in_console(&mut self, forward: bool) {
        let display = self.display();
        let written = self.summary.console.written();
        let (lines, view) = match display {
            Display::Serial => (self.summary.console.lines(), self.summary.console.first_line()),
            Display::Screen => (self.screen_lines(), usize::from(self.screen_part().row)),
        };
        let Some(Search { needle, at }) = &mut self.console.search else {
            return self.tell("nothing is searched in the console yet: / does");
        };
        let here = match *at {
            Some((on, line, then)) if on == display && then == written => Some(line),
            _ => None,
        };
        let matching: Vec<usize> =
            (0..).zip(&lines).filter(|(_, line)| needle.is_in(line)).map(|(number, _)| number).collect();
        let next = if forward {
            matching.iter().find(|line| here.map_or(**line >= view, |here| **line > here))
        } else {
            matching.iter().rfind(|line| **line < here.unwrap_or(view))
        };
        let around = if forward { matching.first() } else { matching.last() };
        let Some(&line) = next.or(around) else {
            let text = format!("`{}` is not in what the guest has written", needle.text());
            return self.tell(text);
        };
        *at = Some((display, line, written));
        let place = matching.partition_point(|other| *other < line) + 1;
        let from = match (next, forward) {
            (Some(_), _) => "",
            (None, true) => ", on from the top",
            (None, false) => ", on from the bottom",
        };
        let told = format!("`{}`: line {place} of {} that have it{from}", needle.text(), matching.len());
        self.tell(told);
        match display {
            Display::Serial => self.summary.console.show_line(line),
            Display::Screen => self.show_screen_line(line),
        }
    }

    fn screen_lines(&self) -> Vec<String> {
        self.screen().text().lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::action::Action;
    use crate::app::{Settings, View};

    fn said(app: &App) -> &str {
        app.message().map_or("", |message| message.text.as_str())
    }

    fn writing(lines: usize) -> App {
        let reader = trace_format::Reader::from_bytes(crate::embedded::TRACE).unwrap();
        let mut app = App::new(reader, Settings::plain());
        app.show(View::Console);
        app.read_all();
        app.resize((80, 24).into());
        app.console.chosen = Some(Display::Serial);
        for n in 0..lines {
            let what = if n % 40 == 5 { "Fault" } else { "nothing" };
            app.summary.console.write(format!("line {n}: {what}\n").as_bytes());
        }
        app
    }

    #[test]
    fn it_goes_through_what_has_scrolled_away() {
        let mut app = writing(200);
        app.update(Action::SearchConsole("fault".to_owned()));
        assert_eq!(said(&app), "`fault`: line 1 of 5 that have it, on from the top");
        let shown = |app: &App| app.summary.console.screen().contents();
        assert!(shown(&app).contains("line 5: Fault"), "{}", shown(&app));
        app.update(Action::NextInConsole);
        assert_eq!(said(&app), "`fault`: line 2 of 5 that have it");
        assert!(shown(&app).contains("line 45: Fault") && !shown(&app).contains("line 5:"));
        app.update(Action::PreviousInConsole);
        app.update(Action::PreviousInConsole);
        assert_eq!(said(&app), "`fault`: line 5 of 5 that have it, on from the bottom");
        assert!(shown(&app).contains("line 165: Fault"));
        app.update(Action::SearchConsole("FAULT".to_owned()));
        assert_eq!(said(&app), "`FAULT` is not in what the guest has written");
        app.update(Action::Back);
        assert!(app.console_needle().is_none());
        app.update(Action::NextInConsole);
        assert!(said(&app).starts_with("nothing is searched"));
    }
}
