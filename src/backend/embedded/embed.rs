//! Embedding through a child. llama-server gives up the whole batch for one text that is too long,
//! so that the lengths are known before it is asked, and what is to be cut is cut here.

use super::{Child, length::first_piece};
use crate::{
    backend::openai,
    error::{CONTEXT_LENGTH_EXCEEDED, Error, FieldError, MAX_FIELDS, Result},
    types::{EmbedReply, EmbedRequest},
    wire::{
        llama::{TokenizeBody, TokenizeReply},
        openai::EmbedInput,
    },
};

/// A tokenizer makes at most one token of each byte, and adds few of its own at the ends.
const ADDED_TOKENS: usize = 8;

pub(super) async fn ask(request: EmbedRequest, child: Child) -> Result<EmbedReply> {
    let EmbedRequest { model: _, mut input, truncate, keep_alive: _ } = request;
    input.iter_mut().for_each(|text| child.entry.control_tokens.break_up_in(text));
    let (input, truncated) = fitted(input, truncate, &child).await?;
    let reply = openai::embed(child.client(), &input, child.place("/input")).await?;
    Ok(EmbedReply { truncated, ..reply })
}

/// The texts as they are sent, and which of them are cut. One after the other: to measure a text takes a
/// fraction of the time to embed it.
///
/// # Errors
/// `Invalid` for each text that is longer than the model's context, naming both numbers, unless it may
/// be cut.
async fn fitted(input: Vec<String>, truncate: bool, child: &Child) -> Result<(Vec<EmbedInput>, Vec<usize>)> {
    let context = child.lease.context() as usize;
    let (mut fitted, mut truncated, mut too_long) = (Vec::with_capacity(input.len()), Vec::new(), Vec::new());
    for (n, text) in input.into_iter().enumerate() {
        if text.len() + ADDED_TOKENS <= context {
            fitted.push(EmbedInput::Text(text));
            continue;
        }
        let Measured { tokens, counted } = measure(&text, context, child).await?;
        if tokens.len() <= context {
            fitted.push(EmbedInput::Text(text));
        } else if truncate {
            fitted.push(EmbedInput::Tokens(cut(tokens, context, child).await?));
            truncated.push(n);
        } else {
            let more = if counted < text.len() { "more than " } else { "" };
            let detail = child.place("/input").too_long(&format!("{more}{}", tokens.len()), context as u64);
            too_long.push(FieldError::new(format!("/input/{n}"), detail));
        }
        if too_long.len() == MAX_FIELDS {
            break;
        }
    }
    if too_long.is_empty() {
        return Ok((fitted, truncated));
    }
    Err(Error::fields(too_long).with_code(CONTEXT_LENGTH_EXCEEDED))
}

/// A text's tokens, with those that every text of this model begins and ends with.
struct Measured {
    tokens: Vec<u32>,
    /// How many of the text's bytes they are.
    counted: usize,
}

/// The tokens of a text, until there are more than `enough`. A word that is cut in two counts for a
/// token more.
async fn measure(text: &str, enough: usize, child: &Child) -> Result<Measured> {
    let (mut tokens, mut counted) = (Vec::new(), 0);
    while counted < text.len() && tokens.len() <= enough {
        let piece = first_piece(&text[counted..]);
        tokens.extend(tokenize(piece, true, child).await?);
        counted += piece.len();
    }
    Ok(Measured { tokens, counted })
}

/// As many tokens as there is room for, with those at the end that every text of this model ends with.
async fn cut(mut tokens: Vec<u32>, context: usize, child: &Child) -> Result<Vec<u32>> {
    let (whole, bare) = (tokenize("a", true, child).await?, tokenize("a", false, child).await?);
    let begins = whole.windows(bare.len().max(1)).position(|part| part == bare).unwrap_or(whole.len());
    let end = whole.get(begins + bare.len()..).unwrap_or_default();
    tokens.truncate(context.saturating_sub(end.len()));
    tokens.extend_from_slice(end);
    Ok(tokens)
}

pub(super) async fn tokenize(text: &str, add_special: bool, child: &Child) -> Result<Vec<u32>> {
    // As /v1/embeddings itself reads a text.
    let body = TokenizeBody { content: text, add_special, parse_special: true };
    let reply: TokenizeReply = openai::ask(child.client(), "/tokenize", &body, child.place("/input")).await?;
    Ok(reply.tokens)
}
