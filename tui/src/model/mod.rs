//! What the UI knows about a trace: totals that grow with it and never with its length, and the events in view.

pub mod activity;
pub mod bracket;
pub mod class;
pub mod code;
pub mod console;
pub mod entry;
pub mod find;
pub mod flow;
pub mod histogram;
pub mod output;
pub mod rip;
pub mod screen;
pub mod search;
pub mod sources;
pub mod space;
pub mod statistics;
pub mod strip;
pub mod summary;

pub use summary::Summary;
