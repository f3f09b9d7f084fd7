//! Names that are written once and referred to by numbers.

use std::collections::HashMap;

use super::schema::{InternedData, InternedName};

/// When there are so many names, they are forgotten and begin anew.
const MOST: usize = 1 << 14;

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Category,
    Event,
    Annotation,
    Value,
}

/// How many names of the program's own are found by where they are in it. There are fewer, so that most have a place.
const PLACES: usize = 512;

/// The names so far, and those that no packet has told yet.
#[derive(Debug)]
pub(super) struct Names {
    known: [HashMap<String, u64>; 4],
    /// The last name of the program's own for each place, of what it is, and its number.
    places: Vec<Option<(Of, &'static str, u64)>>,
    new: InternedData,
    has_new: bool,
    /// Room for texts that are made.
    made: String,
}

impl Default for Names {
    fn default() -> Self {
        let places = vec![None; PLACES];
        Self {
            known: Default::default(),
            places,
            new: InternedData::default(),
            has_new: false,
            made: String::new(),
        }
    }
}

impl Names {
    /// The number of a name, from 1.
    pub(super) fn number(&mut self, of: Of, name: &str) -> u64 {
        let known = &mut self.known[of as usize];
        if let Some(number) = known.get(name) {
            return *number;
        }
        let number = known.len() as u64 + 1;
        known.insert(name.to_owned(), number);
        self.has_new = true;
        let new = match of {
            Of::Category => &mut self.new.event_categories,
            Of::Event => &mut self.new.event_names,
            Of::Annotation => &mut self.new.debug_annotation_names,
            Of::Value => &mut self.new.debug_annotation_string_values,
        };
        new.push(InternedName { iid: Some(number), name: Some(name.to_owned()) });
        number
    }

    /// The number of a name that the program itself has. It is found by its address, without being read.
    pub(super) fn of_program(&mut self, of: Of, name: &'static str) -> u64 {
        // Neighbours are some bytes apart, and the same name can be of several things.
        let place = (name.as_ptr().addr().wrapping_mul(5) + of as usize) % PLACES;
        if let Some(Some((known_of, known, number))) = self.places.get(place)
            && *known_of == of
            && std::ptr::eq(*known, name)
        {
            return *number;
        }
        let number = self.number(of, name);
        if let Some(place) = self.places.get_mut(place) {
            *place = Some((of, name, number));
        }
        number
    }

    /// The number of the text that `make` appends.
    pub(super) fn made(&mut self, of: Of, make: impl FnOnce(&mut String)) -> u64 {
        let mut text = std::mem::take(&mut self.made);
        text.clear();
        make(&mut text);
        let number = self.number(of, &text);
        self.made = text;
        number
    }

    /// What the next packet has to tell.
    pub(super) fn take_new(&mut self) -> Option<InternedData> {
        std::mem::take(&mut self.has_new).then(|| std::mem::take(&mut self.new))
    }

    /// Forgets the names if there are too many, before a packet: it then has to say so.
    pub(super) fn forget_if_many(&mut self) -> bool {
        let many = self.known.iter().map(HashMap::len).sum::<usize>() > MOST;
        if many {
            *self = Self::default();
        }
        many
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_once() {
        let mut names = Names::default();
        assert_eq!([Of::Event, Of::Event, Of::Value].map(|of| names.number(of, "hlt")), [1, 1, 1]);
        assert_eq!(names.number(Of::Event, "probe"), 2);
        let new = names.take_new().unwrap();
        let told: Vec<_> = new.event_names.iter().map(|name| (name.iid, name.name.as_deref())).collect();
        assert_eq!(told, [(Some(1), Some("hlt")), (Some(2), Some("probe"))]);
        assert_eq!(new.debug_annotation_string_values.len(), 1);
        assert_eq!((names.number(Of::Event, "hlt"), names.take_new()), (1, None));
    }

    #[test]
    fn names_made_up_do_not_fill_the_memory() {
        let mut names = Names::default();
        let mut forgotten = 0;
        for n in 0..100_000 {
            forgotten += usize::from(names.forget_if_many());
            names.number(Of::Value, &n.to_string());
            assert!(names.known[Of::Value as usize].len() <= MOST + 1);
        }
        assert_eq!(forgotten, 100_000 / (MOST + 1));
    }
}
