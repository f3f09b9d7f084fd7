//! What input can ask for, and what follows from it outside of the UI's state.

use std::path::PathBuf;

use trace_format::Filter;

use super::columns::Columns;
use super::copy::Copied;
use super::export::Target;
use super::location::Location;
use super::memory::flags::Flags;
use super::memory::place::MemoryPlace;
use super::place::Place;
use super::sort::SortBy;
use super::view::View;
use crate::guest::Key;

/// What the user can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leaves the program; ends a live run.
    Quit,
    /// Stops the program as Ctrl-Z does.
    Suspend,
    /// Opens or closes the help.
    Help,
    /// Leaves what is on top: help, a line of text, a maximized pane, the focus away from the view's first pane.
    Back,
    /// Opens the command line.
    Command,
    /// Shows a view.
    Show(View),
    /// Shows the next view.
    NextView,
    /// Shows the view before.
    PreviousView,
    /// Focuses the next pane.
    NextPane,
    /// Focuses the pane before.
    PreviousPane,
    /// Gives the focused pane the whole screen, or takes it back.
    Maximize,
    /// Opens what is selected in the focused pane: of an event, its fields.
    Open,
    /// Moves in the focused pane.
    Move(Motion),
    /// Moves the cursor somewhere.
    Goto(Place),
    /// Shows only the events that match.
    Filter(Wanted),
    /// Goes to the next event that matches, with the others in view.
    Search(Wanted),
    /// Goes to this text in the console.
    SearchConsole(String),
    /// Goes to the next line of the console that has it.
    NextInConsole,
    /// The one before.
    PreviousInConsole,
    /// The next event of the search, or without one of the selected one's kind.
    NextOfKind,
    /// The one before.
    PreviousOfKind,
    /// The next event on the selected one's vCPU.
    NextOnVcpu,
    /// The one before.
    PreviousOnVcpu,
    /// Halves the timeline's span.
    ZoomIn,
    /// Doubles it.
    ZoomOut,
    /// Shows the whole run.
    Fit,
    /// Moves the timeline by an eighth of its span, to earlier times; in the console the text screen.
    PanLeft,
    /// To later times.
    PanRight,
    /// Pauses the guest or lets it go on.
    TogglePause,
    /// Executes one instruction on the selected event's vCPU.
    Step,
    /// The same, but a call or a repeated instruction is let come to its end.
    StepOver,
    /// Lets the guest run until it makes an event that matches.
    RunTo(Wanted),
    /// Sets a breakpoint where the selected event was, or takes it away.
    BreakpointHere,
    /// Sets one there, or takes it away.
    Breakpoint(Location),
    /// Says which there are.
    ListBreakpoints,
    /// Takes all away.
    ClearBreakpoints,
    /// Has the guest begin anew.
    Reset,
    /// Ends the run.
    Stop,
    /// Copies what is recorded so far to a new file.
    SaveCopy(PathBuf),
    /// Keeps a temporary trace under this name.
    Save(PathBuf),
    /// Begins the selection of a range of time at the cursor, ends it there, or takes it back.
    SelectRange,
    /// Select the range between the marks around the cursor.
    SelectBetweenMarks,
    /// Shows the bytes at a place of the guest's memory.
    ShowMemory(MemoryPlace),
    /// Lists only ranges of the address space that have these flags.
    SpaceFlags(Flags),
    /// Lists what has changed in the address space, or what is.
    SwitchChanges,
    /// The next address space.
    NextSpace,
    /// The address space of this CR3.
    ShowSpace(u64),
    /// Marks the selected event, with a note.
    Mark(String),
    /// Takes its mark away.
    Unmark,
    /// The next marked event.
    NextMark,
    /// The one before.
    PreviousMark,
    /// Plays a recorded run, or stops.
    Play,
    /// Plays it twice as fast.
    Faster,
    /// Plays it half as fast.
    Slower,
    /// Copies something to the terminal's clipboard.
    Copy(Copied),
    /// Writes what is selected to a file.
    Export(Target),
    /// The event list has these columns.
    Columns(Columns),
    /// The event list is in this order; once more the other way round. Without, it is in the trace's.
    SortBy(Option<SortBy>),
    /// Sorts the focused table by its next column.
    Sort,
    /// Shows the other of the times of exits.
    SwitchTimes,
    /// Shows the other of the guest's displays.
    SwitchDisplay,
    /// Lets keys go to the guest.
    Type,
    /// Ends that.
    StopTyping,
    /// In a line of text: takes the next candidate.
    Complete,
    /// The one before.
    CompleteBack,
    /// Ends a line of text, or does what the help has selected.
    Accept,
}

/// A filter; two are equal if they are written alike.
#[derive(Clone, Debug)]
pub struct Wanted(pub Filter);

impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        self.0.text() == other.0.text()
    }
}

impl Eq for Wanted {}

/// A movement in a list or a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// One line.
    Up,
    /// One line.
    Down,
    /// Half a page.
    HalfPageUp,
    /// Half a page.
    HalfPageDown,
    /// A page.
    PageUp,
    /// A page.
    PageDown,
    /// To the beginning.
    First,
    /// To the end; the events follow from there.
    Last,
}

impl Motion {
    /// Where the motion leads from line `at` of `count`, with `page` lines in view.
    #[must_use]
    pub fn apply(self, at: u64, count: u64, page: u64) -> u64 {
        let last = count.saturating_sub(1);
        match self {
            Self::Up => at.saturating_sub(1),
            Self::Down => at.saturating_add(1).min(last),
            Self::HalfPageUp => at.saturating_sub((page / 2).max(1)),
            Self::HalfPageDown => at.saturating_add((page / 2).max(1)).min(last),
            Self::PageUp => at.saturating_sub(page.max(1)),
            Self::PageDown => at.saturating_add(page.max(1)).min(last),
            Self::First => 0,
            Self::Last => last,
        }
    }
}

/// What the program has to do for the UI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// End the guest, finish the trace, leave.
    Quit,
    /// Stop this process until it is continued.
    Suspend,
    /// Pause the guest.
    Pause,
    /// Let the guest go on.
    Resume,
    /// Execute one instruction.
    Step {
        /// On this vCPU.
        vcpu: u8,
    },
    /// Execute one instruction, and what it calls.
    StepOver {
        /// On this vCPU.
        vcpu: u8,
    },
    /// Let the guest run until it makes an event that matches.
    RunTo(Wanted),
    /// Set a breakpoint, or take it away.
    ToggleBreakpoint {
        /// The vCPU whose page tables translate the address.
        vcpu: u8,
        /// Where.
        gva: u64,
    },
    /// Take all of the user's breakpoints away.
    ClearBreakpoints,
    /// Have the guest begin anew.
    Reset,
    /// End the run.
    Stop,
    /// Copy what is recorded so far.
    SaveCopy {
        /// To a new file of this name.
        path: PathBuf,
    },
    /// Type into the guest.
    Type(Typed),
    /// Put this into the terminal's clipboard.
    Copy(String),
    /// Keep the temporary trace.
    Save {
        /// Under this name.
        path: PathBuf,
    },
}

/// What is typed into the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// At its keyboard.
    Key(Key),
    /// At a terminal on its serial port.
    Serial(Vec<u8>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn motions_stay_inside() {
        for motion in [
            Motion::Up,
            Motion::Down,
            Motion::HalfPageUp,
            Motion::HalfPageDown,
            Motion::PageUp,
            Motion::PageDown,
            Motion::First,
            Motion::Last,
        ] {
            for count in [0, 1, 5, 100] {
                for at in 0..count {
                    assert!(motion.apply(at, count, 7) < count, "{motion:?} from {at} of {count}");
                }
            }
        }
        assert_eq!(Motion::PageDown.apply(10, 100, 7), 17);
        assert_eq!(Motion::HalfPageUp.apply(10, 100, 7), 7);
        assert_eq!(Motion::Last.apply(3, 100, 7), 99);
    }
}
