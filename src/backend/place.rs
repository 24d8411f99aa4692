//! Where a caller's text stands and how long it may be, for what is said when it is too long.

use crate::types::Context;

/// A field of the caller's request, with the room that its model has for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place<'a> {
    pub(super) pointer: &'a str,
    pub(super) context: Context,
}

impl Place<'_> {
    /// The refusal's words for a text of so many tokens (`5000`, `more than 5000`); `most` is what the
    /// backend says that there is room for.
    pub(super) fn too_long(&self, tokens: &str, most: u64) -> String {
        let Context { chosen: _, trained } = self.context;
        match trained.filter(|trained| *trained > most) {
            Some(trained) => format!(
                "is {tokens} tokens long, but ENGINE_CONTEXT limits it to {most}; the model supports up to {trained}"
            ),
            None => format!("is {tokens} tokens long, but the model accepts at most {most}"),
        }
    }
}
