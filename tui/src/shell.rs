//! The shell whose job this is.

use std::{fs, io};

/// Where a process stands among the others of its terminal.
///
/// Numbers as Linux has them and not as a `Pid`, which cannot be 0: in a container a session, group or parent that is not
/// of it has the number 0 (pid_namespaces(7)). Three fields are all that is needed of `/proc`, no library for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    parent: u32,
    group: u32,
    session: u32,
}

/// Whether a shell with job control has started this: a process of the same session and another group (POSIX, "orphaned
/// process group"). In a terminal that runs nothing else, nobody could continue what was stopped.
///
/// # Errors
/// If this process's own place cannot be read.
pub(crate) fn waits() -> io::Result<bool> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let own = Place::parse(&stat).ok_or_else(|| io::Error::other(format!("/proc/self/stat has {stat:?}")))?;
    Ok(is_above(own, |process| Place::parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)))
}

fn is_above(own: Place, place_of: impl Fn(u32) -> Option<Place>) -> bool {
    let mut parent = own.parent;
    // Through those that are of the same job: a script, `sudo`. Above a container is nothing that is seen from here.
    while let Some(place) = (parent != 0).then(|| place_of(parent)).flatten() {
        if place.session != own.session {
            return false;
        }
        if place.group != own.group {
            return true;
        }
        parent = place.parent;
    }
    false
}

impl Place {
    /// Of a line of `/proc/PID/stat` (proc_pid_stat(5)): the fourth field and the two after it. The second is a name in
    /// parentheses, which may have any characters.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
        let mut number = || fields.next()?.parse().ok();
        Some(Self { parent: number()?, group: number()?, session: number()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a shell waits for process 9 among `others`: process, parent, group, session.
    fn waits_for(own: [u32; 3], others: &[[u32; 4]]) -> bool {
        let place = |[parent, group, session]: [u32; 3]| Place { parent, group, session };
        is_above(place(own), |process| {
            others.iter().find(|other| other[0] == process).map(|&[_, a, b, c]| place([a, b, c]))
        })
    }

    #[test]
    fn a_shell_is_of_the_same_session_and_another_group() {
        assert!(waits_for([5, 9, 5], &[[5, 1, 5, 5]]));
        assert!(waits_for([8, 8, 5], &[[8, 5, 8, 5], [5, 1, 5, 5]]), "a script is of the same job");
        assert!(!waits_for([5, 9, 9], &[[5, 1, 5, 5]]), "the program of its terminal");
        assert!(!waits_for([1, 5, 5], &[[1, 0, 1, 1]]), "as `exec` in a shell leaves it");
        assert!(!waits_for([1, 9, 5], &[]), "its shell has ended");
    }

    #[test]
    fn what_is_not_of_the_container_is_0() {
        assert!(!waits_for([5, 9, 9], &[[5, 0, 0, 0]]), "started by a program of a session from outside");
        assert!(!waits_for([0, 9, 9], &[]), "`docker exec`");
        assert!(!waits_for([1, 0, 0], &[[1, 0, 0, 0]]), "of a job from outside");
        assert!(waits_for([5, 9, 0], &[[5, 1, 5, 0]]), "a shell in a terminal from outside");
    }

    #[test]
    fn the_place_is_read_behind_the_name() {
        let place = Place::parse("12 (a) (b 1 2 3) S 5 9 0 34816 9 4194304");
        assert_eq!(place, Some(Place { parent: 5, group: 9, session: 0 }));
        for bad in ["", "12 (a", "12 (a) S 5 9", "12 (a) S 5 -1 4"] {
            assert_eq!(Place::parse(bad), None, "{bad:?}");
        }
        assert!(waits().is_ok());
    }
}
