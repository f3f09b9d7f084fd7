//! For whom a breakpoint stops the guest, and where.

use trace_format::event::Actor;

/// The bits of CR3 that say where the tables are (SDM vol. 3, 4.5): the others are flags, or a process-context identifier.
const TABLES: u64 = 0x000f_ffff_ffff_f000;

/// In which address spaces a breakpoint counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Everywhere,
    /// Where CR3 points to these tables.
    Tables(u64),
}

/// Everybody whom a breakpoint stops the guest for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stops {
    user: Option<Scope>,
    gdb: Option<Scope>,
}

impl Scope {
    /// The address space of `cr3`.
    pub(crate) const fn of(cr3: u64) -> Self {
        Self::Tables(cr3 & TABLES)
    }

    const fn contains(self, cr3: u64) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Tables(tables) => tables == cr3 & TABLES,
        }
    }
}

impl Stops {
    /// For GDB, or for somebody else.
    pub(crate) const fn of(by: Actor, scope: Scope) -> Self {
        match by {
            Actor::Gdb => Self { user: None, gdb: Some(scope) },
            _ => Self { user: Some(scope), gdb: None },
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.user = either(self.user, other.user);
        self.gdb = either(self.gdb, other.gdb);
    }

    pub(super) const fn is_none(self) -> bool {
        self.user.is_none() && self.gdb.is_none()
    }

    /// Whom it stops the guest for that is in the address space of `cr3`. GDB goes first: it must not miss what it waits
    /// for.
    pub(super) fn at(self, cr3: u64) -> Option<Actor> {
        let counts = |scope: Option<Scope>| scope.is_some_and(|scope| scope.contains(cr3));
        if counts(self.gdb) { Some(Actor::Gdb) } else { counts(self.user).then_some(Actor::User) }
    }

    /// The tables that lead to where the breakpoint is, if only one address space is meant.
    pub(super) fn tables(self) -> Option<u64> {
        match (self.user, self.gdb) {
            (Some(Scope::Tables(tables)), None) | (None, Some(Scope::Tables(tables))) => Some(tables),
            _ => None,
        }
    }
}

/// Where one of two breakpoints counts at least.
fn either(one: Option<Scope>, other: Option<Scope>) -> Option<Scope> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Some(Scope::Everywhere),
        _ => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breakpoint_counts_in_its_address_space() {
        let mut stops = Stops::of(Actor::Gdb, Scope::of(0x8000_0000_0000_5001));
        assert_eq!(
            (stops.at(0x5fff), stops.at(0x6000)),
            (Some(Actor::Gdb), None),
            "flags and PCIDs are none"
        );
        assert_eq!(stops.tables(), Some(0x5000));
        stops.merge(Stops::of(Actor::User, Scope::Everywhere));
        assert_eq!((stops.at(0x5000), stops.at(0x6000)), (Some(Actor::Gdb), Some(Actor::User)));
        assert_eq!(stops.tables(), None);
        assert!(Stops::default().is_none() && !stops.is_none());
    }

    #[test]
    fn two_breakpoints_of_one_at_an_address_both_count() {
        let [first, second] = [0x5000, 0x6000].map(|cr3| Stops::of(Actor::Gdb, Scope::of(cr3)));
        for (mut stops, other) in [(first, second), (second, Stops::of(Actor::Gdb, Scope::Everywhere))] {
            stops.merge(other);
            assert_eq!((stops.at(0x5000), stops.at(0x6000)), (Some(Actor::Gdb), Some(Actor::Gdb)));
        }
    }
}
