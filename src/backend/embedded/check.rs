//! Requests refused before they reach a child, because this model cannot serve them.

use crate::{
    error::{Error, Result},
    model_store::Entry,
    types::{Capability, ChatRequest, EmbedRequest, Format, Prompt, PromptTemplate, Think},
};

pub(super) fn chat(request: &ChatRequest, entry: &Entry) -> Result<()> {
    if entry.architecture.embedding_only {
        return Err(Error::field("/model", "only supports embeddings; choose a model that generates text"));
    }
    if request.think.is_some_and(Think::is_on) && !entry.model.can(Capability::Thinking) {
        return Err(Error::field(
            "/think",
            format!("is not supported: {} is not a thinking model", entry.name),
        ));
    }
    let biased = request.sampling.logit_bias.iter().map(|(token, _)| *token);
    tokens(biased, "/logit_bias", entry)?;
    match &request.prompt {
        Prompt::Messages(messages) => {
            for (n, message) in messages.iter().enumerate() {
                check_images(&format!("/messages/{n}/images"), message.images().count(), entry)?;
            }
        }
        Prompt::Completion(completion) => {
            check_images("/images", completion.images.len(), entry)?;
            tokens(completion.context.iter().flatten().copied(), "/context", entry)?;
            let as_it_is = completion.is_raw() || completion.context.is_some();
            if as_it_is && !completion.images.is_empty() {
                return Err(Error::field("/images", "cannot be combined with raw, suffix or context"));
            }
            if completion.is_raw() && request.think.is_some() {
                return Err(Error::field(
                    "/think",
                    "cannot be combined with raw or suffix, which have no chat template",
                ));
            }
            if completion.is_raw() && completion.system.is_some() {
                return Err(Error::field(
                    "/system",
                    "cannot be combined with raw or suffix, which send the prompt as it is",
                ));
            }
            if let Some(template) = &completion.template {
                PromptTemplate::parse(template).map_err(|detail| Error::field("/template", detail))?;
                if !completion.images.is_empty() || request.think.is_some() {
                    return Err(Error::field("/template", "cannot be combined with images or think"));
                }
                return Ok(());
            }
            let alone = completion.context.is_none() && request.format == Format::Text;
            if completion.suffix.is_some() && !alone {
                return Err(Error::field("/suffix", "cannot be combined with context or a format"));
            }
        }
    }
    Ok(())
}

/// Checks that the model has all these tokens.
pub(super) fn tokens(mut ids: impl Iterator<Item = u32>, pointer: &str, entry: &Entry) -> Result<()> {
    let Some(known) = entry.architecture.tokens else { return Ok(()) };
    match ids.find(|id| u64::from(*id) >= known) {
        Some(id) => {
            let last = known.saturating_sub(1);
            let detail = format!("has the token id {id}, but those of {} are 0 to {last}", entry.name);
            Err(Error::field(pointer, detail))
        }
        None => Ok(()),
    }
}

/// Checks a prompt whose tokens are to be counted: how many an image takes is known only when it is encoded.
pub(super) fn count(request: &ChatRequest) -> Result<()> {
    let Prompt::Messages(messages) = &request.prompt else { return Ok(()) };
    match messages.iter().position(|message| message.images().next().is_some()) {
        Some(n) => {
            let pointer = format!("/messages/{n}/images");
            Err(Error::field(
                pointer,
                "are not supported here: only the tokens of texts and tools can be counted",
            ))
        }
        None => Ok(()),
    }
}

/// Checks a context that a model is to be loaded with.
pub(super) fn context(context: u32, entry: &Entry) -> Result<()> {
    let trained = entry.architecture.context_length;
    if trained > 0 && u64::from(context) > trained {
        let detail = format!("must be at most {trained}, the context that {} was trained for", entry.name);
        return Err(Error::field("/context", detail));
    }
    Ok(())
}

pub(super) fn embed(request: &EmbedRequest) -> Result<()> {
    match request.input.iter().position(String::is_empty) {
        Some(n) => Err(Error::field(format!("/input/{n}"), "must not be empty")),
        None => Ok(()),
    }
}

fn check_images(pointer: &str, images: usize, entry: &Entry) -> Result<()> {
    if images == 0 || entry.projector.is_some() {
        return Ok(());
    }
    Err(Error::field(pointer, format!("are not supported: {} cannot see images", entry.name)))
}
