//! vmscope.
fn main() {}
