//! A session of the UI on a terminal: keys in, frames out, commands to the guest.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossterm::event::{Event, KeyEventKind};

use crate::app::action::{Command, Typed, Wanted};
use crate::app::{App, SAVE};
use crate::debugger::Debugger;
use crate::gdb::{Cursor, Server};
use crate::guest::{Guest, Machine, Toggled};
use crate::input::Input;
use crate::keep::{Temporary, copy_so_far};
use crate::signals::Signals;
use crate::terminal::Screen;
use crate::ui::text;

/// How often a trace that may grow is looked at.
const GROWING: Duration = Duration::from_millis(50);
/// How often it is looked whether another thread has found something.
const WORKING: Duration = Duration::from_millis(20);
/// How often it is looked where a guest has stopped that is let go for a step.
const STEPPING: Duration = Duration::from_millis(2);
/// How often signals are looked for when nothing else can happen.
const IDLE: Duration = Duration::from_millis(200);

/// What a session works with.
pub struct Session<'a> {
    /// The state, already with its trace.
    pub app: &'a mut App,
    /// The guest to control, if there is one.
    pub guest: Option<&'a dyn Guest>,
    /// Where debuggers connect, if they can.
    pub gdb: Option<Gdb<'a>>,
    /// The temporary trace that the user may want to keep.
    pub temporary: Option<&'a mut Temporary>,
    /// Ends the session.
    pub signals: &'a Signals,
}

/// A server for debuggers beside the UI.
#[derive(Clone, Copy)]
pub struct Gdb<'a> {
    /// Where they connect.
    pub server: &'a Server,
    /// On a recorded trace: which event they are at, and where they begin.
    pub cursor: Option<&'a Cursor>,
}

impl Gdb<'_> {
    /// Tells `app` of the debugger, and the debugger where `app` is. Returns whether there is something new.
    fn meet(self, app: &mut App) -> bool {
        let place = self.cursor.and_then(Cursor::place);
        let new = app.set_debugger(Debugger { place, ..self.server.debugger() });
        if let Some(cursor) = self.cursor {
            cursor.set_ui(app.cursor());
        }
        new
    }
}

impl Session<'_> {
    /// Runs until the user leaves or a signal comes. The guest is left as it is.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub fn run(mut self) -> anyhow::Result<()> {
        let mut screen =
            Screen::take(self.app.settings().look.mouse).context("cannot take over the terminal")?;
        self.app.resize(screen.size()?);
        let input = Input::start().context("cannot read the terminal")?;
        let mut stale = true;
        let mut played = Instant::now();
        while !self.signals.came() {
            if let Some(guest) = self.guest {
                stale |= self.app.set_machine(Some(guest.machine()));
            }
            let tick = self.app.tick();
            stale |= self.app.advance(std::mem::replace(&mut played, Instant::now()).elapsed());
            if let Some(gdb) = self.gdb {
                stale |= gdb.meet(self.app);
            }
            stale |= self.look_at_guest();
            self.keep_if_finished();
            if stale | tick.changed {
                screen.draw(self.app)?;
            }
            stale = false;
            let mut wait = match tick.behind {
                true => Duration::ZERO,
                false if self.guest.is_some_and(Guest::is_stepping_over) => STEPPING,
                false if tick.working || self.app.playback().is_on() => WORKING,
                false if self.app.reader().is_finished() && self.gdb.is_none() => IDLE,
                false => GROWING,
            };
            while !self.signals.came()
                && let Some(event) = input.next(wait)?
            {
                stale = true;
                wait = Duration::ZERO;
                let command = match event {
                    Event::Key(key) if key.kind != KeyEventKind::Release => self.app.key(key),
                    Event::Mouse(mouse) => self.app.mouse(mouse),
                    Event::Resize(columns, rows) => {
                        self.app.resize((columns, rows).into());
                        None
                    }
                    _ => None,
                };
                match command {
                    Some(Command::Quit) => return Ok(()),
                    Some(Command::Suspend) => self.suspend(&mut screen)?,
                    Some(Command::Copy(text)) => screen.copy(&text)?,
                    Some(command) => self.carry_out(command),
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, command: Command) {
        let result = match (command, self.guest) {
            (Command::Pause, Some(guest)) => guest.pause(),
            (Command::Resume, Some(guest)) => guest.resume(),
            (Command::Step { vcpu }, Some(guest)) => guest.step(vcpu).map(|rip| self.tell_where(vcpu, rip)),
            (Command::StepOver { vcpu }, Some(guest)) => guest.step_over(vcpu).map(|rip| {
                if let Some(rip) = rip {
                    self.tell_where(vcpu, rip);
                }
            }),
            (Command::RunTo(Wanted(filter)), Some(guest)) => guest.run_to(&filter),
            (Command::ToggleBreakpoint { vcpu, gva }, Some(guest)) => {
                guest.toggle_breakpoint(vcpu, gva).map(|toggled| self.tell_of_breakpoint(gva, toggled))
            }
            (Command::ClearBreakpoints, Some(guest)) => {
                guest.clear_breakpoints().map(|()| self.app.tell("there is no breakpoint any more"))
            }
            (Command::Reset, Some(guest)) => guest.reset().map(|()| self.app.tell("the guest begins anew")),
            (Command::Stop, Some(guest)) => {
                guest.stop();
                Ok(())
            }
            (Command::SaveCopy { path }, Some(guest)) => {
                self.save_copy(guest, path);
                Ok(())
            }
            (Command::Type(typed), Some(guest)) => {
                self.type_to(guest, &typed);
                Ok(())
            }
            (Command::Save { path }, _) => self.save(path),
            (
                Command::Quit
                | Command::Suspend
                | Command::Copy(_)
                | Command::Pause
                | Command::Resume
                | Command::Step { .. }
                | Command::StepOver { .. }
                | Command::RunTo(_)
                | Command::ToggleBreakpoint { .. }
                | Command::ClearBreakpoints
                | Command::Reset
                | Command::Stop
                | Command::SaveCopy { .. }
                | Command::Type(_),
                _,
            ) => Ok(()),
        };
        if let Err(error) = result {
            self.app.complain(error.as_ref());
        }
    }

    fn suspend(&mut self, screen: &mut Screen) -> std::io::Result<()> {
        if !screen.suspend()? {
            self.app.tell("there is no shell that could continue vmscope: it is not suspended");
        }
        Ok(())
    }

    /// Looks what the guest has been stopped for, and which breakpoints it has. Returns whether there is something new.
    fn look_at_guest(&mut self) -> bool {
        let Some(guest) = self.guest else { return false };
        let stopped = match guest.stopped() {
            Ok(None) => false,
            Ok(Some(why)) => {
                self.app.has_stopped(why);
                true
            }
            Err(error) => {
                self.app.complain(error.as_ref());
                true
            }
        };
        let code = match self.app.look_at_code_of(guest) {
            Ok(code) => code,
            Err(error) => {
                self.app.complain(error.as_ref());
                true
            }
        };
        let memory = match self.app.look_at_memory_of(guest) {
            Ok(memory) => memory,
            Err(error) => {
                self.app.complain(error.as_ref());
                true
            }
        };
        stopped | code | memory | self.app.set_breakpoints(guest.breakpoints())
    }

    fn tell_of_breakpoint(&mut self, gva: u64, toggled: Toggled) {
        let name = self.app.name_of(gva);
        self.app.tell(match toggled {
            Toggled::Set => format!("a breakpoint is at {name}"),
            Toggled::Waits => format!("a breakpoint will be at {name} when its page is mapped"),
            Toggled::Gone => format!("there is no breakpoint at {name} any more"),
        });
    }

    fn save_copy(&mut self, guest: &dyn Guest, path: PathBuf) {
        let Some(trace) = guest.trace().map(Path::to_owned) else { return };
        let length = std::fs::metadata(&trace).map_or(0, |metadata| metadata.len());
        self.app.begin("copy", length, move |watch| {
            let bytes = copy_so_far(&trace, &path, watch)?;
            Ok(format!("{} are in {}", text::bytes(bytes), path.display()))
        });
    }

    fn type_to(&mut self, guest: &dyn Guest, typed: &Typed) {
        match typed {
            Typed::Key(key) if !guest.type_key(*key) => {
                self.app.tell(
                    "the guest does not take this key: it has not read those before, or has its keyboard off",
                );
            }
            Typed::Serial(bytes) if guest.serial_input(bytes) < bytes.len() => {
                self.app.tell("the guest has not read what was typed before; this key is lost");
            }
            Typed::Key(_) | Typed::Serial(_) => {}
        }
    }

    fn tell_where(&mut self, vcpu: u8, rip: u64) {
        let symbol = match self.app.header().symbolize(rip) {
            Some((name, offset)) => format!(", {}+{offset:#x}", text::escape(name)),
            None => String::new(),
        };
        self.app.tell(format!("vCPU {vcpu} is at {rip:#x}{symbol}"));
    }

    fn save(&mut self, path: PathBuf) -> anyhow::Result<()> {
        let Some(temporary) = self.temporary.as_mut() else { return Ok(()) };
        temporary.keep_as(path.clone())?;
        self.app.set_saved(path.clone())?;
        if !self.ended() {
            self.app.tell(format!("the trace will be kept as {}", path.display()));
        }
        self.keep_if_finished();
        Ok(())
    }

    fn ended(&self) -> bool {
        self.guest.is_none_or(|guest| matches!(guest.machine(), Machine::Stopped { .. }))
            && self.app.reader().is_finished()
    }

    /// Writes the trace to where it is wanted as soon as it is complete.
    fn keep_if_finished(&mut self) {
        if !self.ended() || self.app.has_job() {
            return;
        }
        match self.temporary.as_mut().map(|temporary| temporary.begin()) {
            Some(Ok(Some(saving))) => self.app.begin(SAVE, saving.bytes(), move |watch| {
                saving.run(watch).map(|path| format!("saved as {}", path.display()))
            }),
            Some(Err(error)) => {
                self.app.set_not_saved();
                self.app.complain(error.as_ref());
            }
            Some(Ok(None)) | None => {}
        }
    }
}
