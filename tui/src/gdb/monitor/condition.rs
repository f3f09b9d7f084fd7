//! What `break-on` takes: a filter, or a name alone.

use trace_format::filter::{Filter, FilterError, fields};

/// The fields whose names are tried first.
const OBVIOUS: [&str; 4] = ["kind", "exit.reason", "trap.vector", "state"];

/// The filter that `text` is, or that the name alone stands for: `shutdown` for `exit.reason == shutdown`.
///
/// # Errors
/// If it is neither: what is wrong with the filter.
pub(super) fn parse(text: &str) -> Result<Filter, FilterError> {
    let error = match Filter::parse(text) {
        Ok(filter) => return Ok(filter),
        Err(error) => error,
    };
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let obvious = OBVIOUS.into_iter().filter(|_| is_name);
    let named =
        |name: &&str| fields().iter().any(|field| field.name == *name && field.names().contains(&text));
    obvious.into_iter().find(named).map_or(Err(error), |name| Filter::parse(&format!("{name} == {text}")))
}
