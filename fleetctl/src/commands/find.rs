//! Finds the one thing that the user means: by id, or by a name that nothing else has.

use crate::exit::Stop;

/// The item whose id or name is `wanted`.
///
/// `what` says what is looked for, e.g. `team`; `describe` gives an item's id and its names.
pub(crate) fn only<T>(
    what: &str,
    wanted: &str,
    items: Vec<T>,
    describe: impl Fn(&T) -> (String, Vec<&str>),
) -> Result<T, Stop> {
    let mut found: Vec<(String, T)> = Vec::new();
    for item in items {
        let (id, names) = describe(&item);
        if id == wanted || names.contains(&wanted) {
            found.push((id, item));
        }
    }
    if found.len() > 1 {
        let ids: Vec<_> = found.iter().map(|(id, _)| id.as_str()).collect();
        let message = format!("{} {what}s are called `{wanted}`: {}", ids.len(), ids.join(", "));
        return Err(Stop::failed(message, "give the id"));
    }
    let (_, item) = found.pop().ok_or_else(|| Stop::Failed {
        message: format!("there is no {what} `{wanted}`"),
        help: None,
    })?;
    Ok(item)
}
