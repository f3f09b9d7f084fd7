//! Playing a recorded run: the cursor goes on as time did, or faster or slower.

use std::time::Duration;

use super::App;

/// The slowest and the fastest, as powers of two.
const SPEEDS: std::ops::RangeInclusive<i8> = -20..=10;

/// How the run is played.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Playback {
    /// The speed is two to the power of this.
    power: i8,
    /// The time that the cursor stands for, ns, while it is played.
    now: Option<u64>,
}

impl Playback {
    /// Whether it goes on.
    #[must_use]
    pub const fn is_on(self) -> bool {
        self.now.is_some()
    }

    /// How fast: `1x`, `1/1024x`.
    #[must_use]
    pub fn speed(self) -> String {
        let factor = 1_u64 << self.power.unsigned_abs();
        if self.power < 0 { format!("1/{factor}x") } else { format!("{factor}x") }
    }
}

impl App {
    /// How the run is played.
    #[must_use]
    pub const fn playback(&self) -> Playback {
        self.playback
    }

    /// Begins to play, or stops.
    pub(super) fn toggle_play(&mut self) {
        if self.machine.is_some() {
            return self.tell("nothing to play: the guest runs; Space pauses it");
        }
        if self.playback.is_on() {
            self.playback.now = None;
            return;
        }
        if self.cursor + 1 >= self.known {
            self.select(0);
        }
        self.playback.now = self.selected.as_ref().map(|event| event.time);
    }

    /// Plays twice as fast, or half as fast.
    pub(super) fn change_speed(&mut self, faster: bool) {
        let power = if faster { self.playback.power + 1 } else { self.playback.power - 1 };
        self.playback.power = power.clamp(*SPEEDS.start(), *SPEEDS.end());
        self.tell(format!("plays at {}", self.playback.speed()));
    }

    /// So much time has passed for the user. Returns whether the cursor has moved.
    pub fn advance(&mut self, elapsed: Duration) -> bool {
        let Some(now) = self.playback.now else { return false };
        let ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let by = match self.playback.power {
            power @ 0.. => ns.saturating_mul(1 << power),
            power => ns >> power.unsigned_abs(),
        };
        let to = now.saturating_add(by.max(1));
        self.playback.now = Some(to);
        let place = match self.reader.seek_time(to.saturating_add(1)) {
            Ok(after) => after.saturating_sub(1),
            Err(error) => {
                self.complain(&error);
                self.playback.now = None;
                return true;
            }
        };
        if place + 1 >= self.known {
            self.playback.now = None;
        }
        let moved = place > self.cursor;
        if moved {
            // It goes on from where the user has moved the cursor to.
            self.select(place);
            self.refresh();
        }
        moved || !self.playback.is_on()
    }

    /// The user has moved the cursor: it is played from there.
    pub(super) fn play_from_here(&mut self) {
        if self.playback.is_on() {
            self.playback.now = self.selected.as_ref().map(|event| event.time);
        }
    }
}
