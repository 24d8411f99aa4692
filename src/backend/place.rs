//! Where a caller's text stands and how long it may be, for what is said when it is too long.

use crate::types::Context;

/// A field of the caller's request, with the room that its model has for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place<'a> {
    pub(super) pointer: &'a str,
    pub(super) context: Context,
    /// Whether its tokens include those of tools.
    pub(super) with_tools: bool,
    /// Whether the request has a schema for the answer or for a call's arguments.
    pub(super) with_schema: bool,
}

impl Place<'_> {
    /// The refusal's words for a text of so many tokens (`5000`, `more than 5000`); `most` is what the
    /// backend says that there is room for.
    pub(super) fn too_long(&self, tokens: &str, most: u64) -> String {
        let Context { chosen: _, trained } = self.context;
        let tools = if self.with_tools { " together with the tools" } else { "" };
        match trained.filter(|trained| *trained > most) {
            Some(trained) => format!(
                "is {tokens} tokens long{tools}, but ENGINE_CONTEXT limits it to {most}; the model supports up to {trained}"
            ),
            None => format!("is {tokens} tokens long{tools}, but the model accepts at most {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_says_whose_it_is_and_what_counts() {
        let of_engine = Place {
            pointer: "/messages",
            context: Context { chosen: None, trained: Some(32_768) },
            with_tools: true,
            with_schema: true,
        };
        assert_eq!(
            of_engine.too_long("6658", 4096),
            "is 6658 tokens long together with the tools, but ENGINE_CONTEXT limits it to 4096; \
             the model supports up to 32768"
        );
        let of_model = Place { context: Context::default(), with_tools: false, ..of_engine };
        assert_eq!(of_model.too_long("600", 512), "is 600 tokens long, but the model accepts at most 512");
    }
}
