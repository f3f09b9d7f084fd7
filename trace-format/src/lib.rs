//! The vmscope event model and its trace file.
//!
//! What the hypervisor saw of a guest is a sequence of [`event::Event`]s in time order. This crate defines them and
//! how they are stored; it knows neither KVM nor a terminal and builds on any platform.
#![forbid(unsafe_code)]

pub mod event;
pub mod header;
