//! Checks of tools, whichever API they come by.

use super::fields::Fields;

/// More than any model can choose from.
const MAX_TOOLS: usize = 128;
/// Bytes of a tool's name; OpenAI takes 64.
const MAX_NAME: usize = 128;

/// Checks how many tools there are, and their names; `place` returns the pointer to a tool's name.
pub(in crate::http) fn check_tools<'a>(
    names: impl ExactSizeIterator<Item = &'a str>,
    place: impl Fn(usize) -> String,
    fields: &mut Fields,
) {
    if names.len() > MAX_TOOLS {
        fields.refuse("/tools", format!("may have at most {MAX_TOOLS} tools"));
    }
    for (index, name) in names.enumerate() {
        if !(1..=MAX_NAME).contains(&name.len()) {
            fields.refuse(place(index), format!("must have 1 to {MAX_NAME} bytes"));
        }
    }
}
