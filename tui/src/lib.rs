//! vmscope: an interactive debugger for virtual machines. This crate is its command line and terminal UI.
//!
//! The UI reads a trace file, which may still be growing, and knows no other source of events; a live run adds a
//! [`guest::Guest`] to control. [`app`] is the state and how input changes it, [`model`] what is kept about the
//! events, [`work`] what is looked for on other threads, [`ui`] draws, [`session`] ties them to a terminal.
#![forbid(unsafe_code)]

pub mod app;
pub mod cli;
pub mod config;
pub mod debugger;
mod embedded;
mod export;
pub mod gdb;
pub mod guest;
mod input;
pub mod keep;
pub mod live;
pub mod marks;
pub mod model;
mod new_file;
pub mod session;
mod shell;
pub mod signals;
pub mod terminal;
pub mod ui;
pub mod work;
