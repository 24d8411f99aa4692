//! Chunks measured in tokens of the embedding model. The tokens of each word are counted by the model, chunks are made
//! by adding these up, and are then counted as a whole.

use super::{embedder::halves, ingest::with_headings};
use crate::{
    app::App,
    backend::TokenCounts,
    error::{Error, Kind, Result},
    text::{
        chunk::{ChunkSize, Chunking, Span, chunk_by},
        extract::Extracted,
        tokens,
    },
};

/// Texts to count in one call; other requests get their turn between calls.
const BATCH: usize = 1000;

impl App {
    /// Splits a text into chunks of at most this many tokens, and of no more than the model can read.
    ///
    /// # Errors
    /// `Invalid` when the backend of the model does not count tokens.
    pub(super) async fn split_by_tokens(
        &self,
        model: &str,
        content: Extracted,
        chunking: Chunking,
        size: ChunkSize,
    ) -> Result<(Extracted, Vec<Span>)> {
        let find = move || (tokens::words(&content.text), content);
        let (words, content) = super::ingest::off_thread(find).await?;
        let TokenCounts { counts, room } = self.count_tokens(model, words.clone()).await?;
        let size = within(size, room);
        let counts = tokens::TokenCounts::new(words.into_iter().zip(counts));
        let split = move || {
            let content = with_headings(content, chunking);
            let spans = chunk_by(&content.text, chunking, size, &counts);
            (content, spans)
        };
        let (content, spans) = super::ingest::off_thread(split).await?;
        let spans = self.checked(model, &content.text, spans, size.size).await?;
        Ok((content, spans))
    }

    /// Counts chunks as a whole, and divides those that have more tokens than the sum of their words.
    async fn checked(&self, model: &str, text: &str, spans: Vec<Span>, most: usize) -> Result<Vec<Span>> {
        let mut unchecked = spans;
        let mut checked = Vec::with_capacity(unchecked.len());
        while !unchecked.is_empty() {
            let texts = unchecked.iter().map(|span| text[span.bytes.clone()].to_owned()).collect();
            let counted = self.count_tokens(model, texts).await?;
            let mut divided = Vec::new();
            for (span, tokens) in unchecked.into_iter().zip(counted.counts) {
                match tokens > most && span.chars.len() > 1 {
                    true => divided.extend(halves(text, &span)),
                    false => checked.push(span),
                }
            }
            unchecked = divided;
        }
        checked.sort_by_key(|span| (span.bytes.start, span.bytes.end));
        Ok(checked)
    }

    async fn count_tokens(&self, model: &str, texts: Vec<String>) -> Result<TokenCounts> {
        let backend = self.catalog.route(model).await.backend;
        let mut all = TokenCounts { counts: Vec::with_capacity(texts.len()), room: usize::MAX };
        for batch in texts.chunks(BATCH) {
            let counted =
                backend.count_tokens(model, batch.to_vec()).await.map_err(|error| match error.kind() {
                    Kind::Unsupported => {
                        let title = backend.profile().title;
                        let detail = format!("must be characters, because {title} does not count tokens");
                        Error::field("/chunk_unit", detail)
                    }
                    _ => error,
                })?;
            all.counts.extend(counted.counts);
            all.room = all.room.min(counted.room);
        }
        Ok(all)
    }
}

/// The size, or the largest that fits the model, with an overlap in proportion.
fn within(size: ChunkSize, room: usize) -> ChunkSize {
    let fits = size.size.min(room.max(1));
    ChunkSize { size: fits, overlap: size.overlap * fits / size.size.max(1) }
}
