//! Names of models, which Ollama always writes with their tags.

use crate::{
    app::App,
    error::{Error, Kind, Result},
    types::{Capability, ModelName},
};

/// The name with its tag: `llama3:latest`.
pub(super) fn tagged(name: &str) -> String {
    match name.parse::<ModelName>() {
        Ok(parsed) if parsed.tag.eq_ignore_ascii_case(ModelName::DEFAULT_TAG) => {
            format!("{parsed}:{}", ModelName::DEFAULT_TAG)
        }
        Ok(parsed) => parsed.to_string(),
        Err(_) => name.to_owned(),
    }
}

/// The name in a body: of its newer field, or its older one. Clients send an empty text for none.
pub(super) fn named<'a>(model: Option<&'a str>, older: Option<&'a str>) -> Option<&'a str> {
    model.filter(|name| !name.is_empty()).or(older.filter(|name| !name.is_empty()))
}

/// A name that must be there.
///
/// # Errors
/// `Invalid` without one, or when it is none.
pub(super) fn required(model: Option<&str>, older: Option<&str>) -> Result<ModelName> {
    let name = named(model, older).ok_or_else(|| Error::new(Kind::Invalid, "model is required"))?;
    parsed(name, "/model")
}

/// # Errors
/// `Invalid` for what is no name.
pub(super) fn parsed(name: &str, pointer: &str) -> Result<ModelName> {
    name.parse().map_err(|accepted: String| Error::field(pointer, accepted))
}

/// The model to ask, which can do what is needed. `task` is Ollama's word for what a completion is for.
///
/// # Errors
/// Those of `App::resolve`; of a model that lacks something, in the words that Ollama's clients recognize.
pub(super) async fn resolve(
    app: &App,
    model: Option<&str>,
    needed: &[Capability],
    task: &str,
) -> Result<String> {
    let mut resolved = None;
    if let Some(name) = model {
        parsed(name, "/model")?;
    }
    for needed in needed {
        let name = resolved.as_deref().or(model);
        let found = app.resolve(name, *needed).await.map_err(|error| match (error.kind(), name) {
            (Kind::Invalid, Some(name)) => {
                let lacking =
                    format!("\"{name}\" does not support {}: {}", noun(*needed, task), error.message());
                Error::new(Kind::Invalid, lacking)
            }
            _ => error,
        })?;
        resolved = Some(found);
    }
    resolved.ok_or_else(|| Error::new(Kind::Internal, "No capability of the model is asked for."))
}

fn noun(needed: Capability, task: &str) -> &str {
    match needed {
        Capability::Completion => task,
        Capability::Embedding => "embeddings",
        Capability::Vision => "images",
        Capability::Tools => "tools",
        Capability::Thinking => "thinking",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_tags() {
        for (name, shown) in [
            ("llama3", "llama3:latest"),
            ("llama3:LATEST", "llama3:latest"),
            ("qwen2.5:7b", "qwen2.5:7b"),
            ("hf.co/a/b", "hf.co/a/b:latest"),
        ] {
            assert_eq!(tagged(name), shown);
        }
        assert_eq!((named(Some(""), Some("a")), named(Some("b"), Some("a"))), (Some("a"), Some("b")));
        assert_eq!(named(Some(""), None), None);
    }
}
