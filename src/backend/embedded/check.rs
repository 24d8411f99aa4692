//! What is refused before it reaches a child: llama.cpp's grammars are compiled by recursion and
//! cost time at every token, so that what a caller may ask of them is bounded.

use crate::{
    error::{Error, Result},
    library::Entry,
    types::{Capability, ChatRequest, EmbedRequest, Format, Image, JsonText, Prompt, Think},
};

/// Lists and objects inside one another.
const MAX_SCHEMA_DEPTH: usize = 64;
/// 64 kB of JSON. 2000 alternatives, 40 kB, cost 75 ms for each token on a small machine.
const MAX_SCHEMA_BYTES: usize = 64_000;
const MAX_TOOLS: usize = 128;

pub(super) fn chat(request: &ChatRequest, entry: &Entry) -> Result<()> {
    if entry.architecture.embedding_only {
        return Err(Error::field("/model", "can only embed; choose a model that generates text"));
    }
    if request.think.is_some_and(Think::is_on) && !entry.model.can(Capability::Thinking) {
        return Err(Error::field("/think", format!("cannot be used: {} does not think", entry.name)));
    }
    if let Format::Schema(value) = &request.format {
        schema("/format", value)?;
    }
    if request.tools.len() > MAX_TOOLS {
        return Err(Error::field("/tools", format!("may be at most {MAX_TOOLS}")));
    }
    for (n, tool) in request.tools.iter().enumerate() {
        schema(&format!("/tools/{n}/function/parameters"), &tool.parameters)?;
    }
    match &request.prompt {
        Prompt::Messages(messages) => {
            for (n, message) in messages.iter().enumerate() {
                pictures(&format!("/messages/{n}/images"), &message.images, entry)?;
            }
        }
        Prompt::Completion(completion) => {
            pictures("/images", &completion.images, entry)?;
            let as_it_is = completion.raw || completion.context.is_some();
            if as_it_is && !completion.images.is_empty() {
                return Err(Error::field("/images", "cannot be combined with raw or context"));
            }
            if completion.raw && request.think.is_some() {
                return Err(Error::field(
                    "/think",
                    "cannot be combined with raw, which has no chat template",
                ));
            }
            if completion.raw && completion.system.is_some() {
                return Err(Error::field(
                    "/system",
                    "cannot be combined with raw, which sends the prompt as it is",
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn embed(request: &EmbedRequest) -> Result<()> {
    match request.input.iter().position(String::is_empty) {
        Some(n) => Err(Error::field(format!("/input/{n}"), "must not be empty")),
        None => Ok(()),
    }
}

fn pictures(pointer: &str, images: &[Image], entry: &Entry) -> Result<()> {
    if images.is_empty() || entry.projector.is_some() {
        return Ok(());
    }
    Err(Error::field(pointer, format!("cannot be used: {} does not see images", entry.name)))
}

fn schema(pointer: &str, schema: &JsonText) -> Result<()> {
    if schema.depth() > MAX_SCHEMA_DEPTH {
        return Err(Error::field(
            pointer,
            format!("must not be nested more than {MAX_SCHEMA_DEPTH} levels deep"),
        ));
    }
    if schema.get().len() > MAX_SCHEMA_BYTES {
        return Err(Error::field(pointer, format!("must be at most {} kB of JSON", MAX_SCHEMA_BYTES / 1000)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_are_bounded_in_depth_and_size() {
        let nested =
            |levels: usize| JsonText::from((0..levels).fold(json!(1), |inner, _| json!({"a": inner})));
        schema("/format", &nested(MAX_SCHEMA_DEPTH)).expect("deep enough for anybody");
        let error = schema("/format", &nested(MAX_SCHEMA_DEPTH + 1)).expect_err("too deep");
        assert_eq!(error.field_errors()[0].pointer, "/format");
        let long = JsonText::from(json!("x".repeat(MAX_SCHEMA_BYTES)));
        schema("/format", &long).expect_err("too long");
    }
}
