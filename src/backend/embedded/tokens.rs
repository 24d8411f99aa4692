//! Counting of tokens, with the tokenizer of a child process.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Child, embed::tokenize, length::first_piece};
use crate::{backend::TokenCounts, error::Result};

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
