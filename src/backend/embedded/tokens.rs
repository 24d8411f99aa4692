//! Counting of tokens, with the tokenizer of a child process.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Child, embed::tokenize, length::first_piece};
use crate::{
    backend::{LARGE_BYTES, TokenCounts, openai, plain_text, to_json, work},
    error::Result,
    types::{ChatRequest, Prompt},
    wire::{
        llama::{TemplateReply, TokenizeBody, TokenizeReply},
        openai::ChatBody,
    },
};

/// Texts that are counted at a time: enough to keep the child busy.
const AT_ONCE: usize = 4;

/// Counts texts as they would be embedded.
pub(super) async fn count(texts: Vec<String>, child: &Child) -> Result<TokenCounts> {
    // Tokens that the model adds to every text.
    let added =
        tokenize("a", true, child).await?.len().saturating_sub(tokenize("a", false, child).await?.len());
    let count = async |mut text: String| {
        child.entry.control_tokens.break_up_in(&mut text);
        let (mut tokens, mut counted) = (0, 0);
        while counted < text.len() {
            let piece = first_piece(&text[counted..]);
            tokens += tokenize(piece, false, child).await?.len();
            counted += piece.len();
        }
        Ok(tokens)
    };
    let counts = stream::iter(texts).map(count).buffered(AT_ONCE).try_collect().await?;
    Ok(TokenCounts { counts, room: (child.lease.context() as usize).saturating_sub(added) })
}

/// Counts the tokens of a chat's prompt, written by the model's chat template from the same body that asks for an
/// answer.
pub(super) async fn count_prompt(mut request: ChatRequest, child: &Child) -> Result<u64> {
    let (place, entry) = (child.place("/messages"), Arc::clone(&child.entry));
    let is_large = request.size() > LARGE_BYTES;
    let body = move || {
        plain_text::chat(&mut request, &entry.control_tokens);
        let messages = match std::mem::replace(&mut request.prompt, Prompt::Messages(Vec::new())) {
            Prompt::Messages(messages) => messages,
            Prompt::Completion(completion) => completion.into_messages(),
        };
        to_json(&ChatBody::new(&request, &messages, None))
    };
    let body = work(is_large, body).await?;
    let template: TemplateReply = openai::ask_json(child.client(), "/apply-template", body, place).await?;
    let body = TokenizeBody { content: &template.prompt, add_special: true, parse_special: true };
    let counted: TokenizeReply = openai::ask(child.client(), "/tokenize", &body, place).await?;
    Ok(counted.tokens.len() as u64)
}
