//! Embedding through a child. llama-server gives up the whole batch for one text that is too long,
//! so that the lengths are known before it is asked.

use std::time::Instant;

use crate::{
    backend::openai,
    engine::Lease,
    error::{Error, FieldError, MAX_FIELDS, Result},
    types::{EmbedReply, EmbedRequest},
    wire::llama::{TokenizeBody, TokenizeReply},
};

/// A tokenizer makes at most one token of each byte, and adds few of its own at the ends.
const ADDED_TOKENS: usize = 8;
/// 1 MB: of a longer text no more is counted at a time, so that the answer has a bound.
const COUNTED_AT_ONCE: usize = 1_000_000;

pub(super) async fn embed(request: EmbedRequest, lease: Lease, since: Instant) -> Result<EmbedReply> {
    let reply = match check_lengths(&request.input, &lease).await {
        Ok(()) => openai::embed(lease.client(), None, &request.input).await,
        Err(error) => Err(error),
    };
    match reply {
        Ok(mut reply) => {
            (reply.timings.queue, reply.timings.load) = (Some(lease.waited()), lease.load());
            reply.timings.total = since.elapsed();
            Ok(reply)
        }
        Err(error) => Err(super::exchange::explain(&lease, error).await),
    }
}

/// One after the other: to measure a text takes a fraction of the time to embed it.
///
/// # Errors
/// `Invalid` for each text that is longer than the model's context, naming both numbers.
async fn check_lengths(input: &[String], lease: &Lease) -> Result<()> {
    let context = lease.context() as usize;
    let mut too_long = Vec::new();
    for (n, text) in input.iter().enumerate() {
        if text.len() + ADDED_TOKENS <= context {
            continue;
        }
        let (tokens, counted) = count(text, context, lease).await?;
        if tokens > context {
            let more = if counted < text.len() { "more than " } else { "" };
            too_long.push(FieldError {
                pointer: format!("/input/{n}"),
                detail: format!("is {more}{tokens} tokens long and the model takes at most {context}"),
            });
        }
        if too_long.len() == MAX_FIELDS {
            break;
        }
    }
    if too_long.is_empty() { Ok(()) } else { Err(Error::fields(too_long)) }
}

/// The tokens of a text, counted until there are more than `enough`, and how many of its bytes those are.
/// A word that is cut in two counts for a token more.
async fn count(text: &str, enough: usize, lease: &Lease) -> Result<(usize, usize)> {
    let (mut tokens, mut counted) = (0, 0);
    while counted < text.len() && tokens <= enough {
        let mut end = text.len().min(counted + COUNTED_AT_ONCE);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        tokens += token_count(&text[counted..end], lease).await?;
        counted = end;
    }
    Ok((tokens, counted))
}

async fn token_count(text: &str, lease: &Lease) -> Result<usize> {
    // As /v1/embeddings itself reads a text.
    let body = TokenizeBody { content: text, add_special: true, parse_special: true };
    let reply: TokenizeReply = openai::ask(lease.client(), "/tokenize", &body, "/input").await?;
    Ok(reply.tokens.len())
}
