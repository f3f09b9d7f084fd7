//! Guests that mean harm: the monitor stays up, answers whatever is asked of it, and ends them when told to.
//!
//! `guests/hostile/main.c` does one hostile thing for ever; [`exercise`] pauses, looks, steps and resumes meanwhile.

mod child;
mod exercise;
mod guests;
mod image;
mod soup;
