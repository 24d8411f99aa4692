//! Chunks of a text with their vectors, made batch by batch.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Instant,
};

use crate::{
    app::{App, Caller},
    error::{Error, Result},
    text::chunk::{ChunkSize, Chunking, Span, chunk},
    types::EmbedRequest,
    vectors::{Chunk, Metadata},
};

/// Texts in one call of the embedding model: many enough to keep it busy, few enough to show progress.
const BATCH: usize = 64;

/// A chunk, or a part of one that is longer than the model reads.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) span: Span,
    /// Place of the chunk among those given.
    pub(super) of: usize,
}

/// A part with its vector.
pub(super) struct Piece {
    pub(super) part: Part,
    vector: Vec<f32>,
    /// Whether the vector is from the previous version.
    pub(super) is_known: bool,
}

impl Piece {
    /// Numbers in its vector.
    pub(super) fn dimension(&self) -> usize {
        self.vector.len()
    }

    pub(super) fn into_chunk(self, text: &str, metadata: Metadata) -> Chunk {
        let Span { bytes, chars } = self.part.span;
        Chunk {
            char_start: chars.start as u64,
            char_end: chars.end as u64,
            metadata,
            content: text[bytes].to_owned(),
            vector: self.vector,
        }
    }
}

pub(super) struct Embedder<'a> {
    pub(super) app: &'a App,
    pub(super) caller: &'a Caller,
    pub(super) model: &'a str,
    pub(super) text: &'a str,
    /// Vectors by the text of their chunks.
    pub(super) known: HashMap<String, Vec<f32>>,
}

impl Embedder<'_> {
    /// Embeds all chunks, batch by batch. A chunk that is too long for the model is divided until its parts fit.
    /// `progress` gets the number of chunks embedded so far, and of all.
    pub(super) async fn embed(
        &self,
        chunks: Vec<Span>,
        progress: &(impl Fn(usize, usize) + Sync),
    ) -> Result<Vec<Piece>> {
        progress(0, chunks.len());
        let mut pieces = Vec::with_capacity(chunks.len());
        let mut waiting: VecDeque<Part> = (0..).zip(chunks).map(|(of, span)| Part { span, of }).collect();
        while !waiting.is_empty() {
            let batch: Vec<Part> = waiting.drain(..BATCH.min(waiting.len())).collect();
            match self.embed_batch(&batch).await {
                Ok(done) => pieces.extend(done),
                Err(error) => {
                    let parts = self.divide(batch, &error).ok_or(error)?;
                    parts.into_iter().rev().for_each(|part| waiting.push_front(part));
                }
            }
            progress(pieces.len(), pieces.len() + waiting.len());
        }
        Ok(pieces)
    }

    async fn embed_batch(&self, batch: &[Part]) -> Result<Vec<Piece>> {
        let known: Vec<_> = batch.iter().map(|part| self.known.get(self.content(part))).collect();
        let input = self.unknown(batch).map(|(_, part)| self.content(part).to_owned()).collect::<Vec<_>>();
        let mut vectors = Vec::new().into_iter();
        if !input.is_empty() {
            let model = self.model.to_owned();
            let request = EmbedRequest { model, input, truncate: false, keep_alive: None };
            let begun = Instant::now();
            vectors = self.app.embed(self.caller, request).await?.vectors.into_iter();
            self.app.monitoring.metrics.documents.embedded(begun.elapsed());
        }
        let piece = |(part, known): (&Part, Option<&Vec<f32>>)| {
            let vector = known.cloned().or_else(|| vectors.next().map(|vector| vector.to_vec()))?;
            Some(Piece { part: part.clone(), vector, is_known: known.is_some() })
        };
        Ok(batch.iter().zip(known).filter_map(piece).collect())
    }

    /// Parts of a batch without a known vector, with their places in it.
    fn unknown<'b>(&self, batch: &'b [Part]) -> impl Iterator<Item = (usize, &'b Part)> {
        batch.iter().enumerate().filter(|(_, part)| !self.known.contains_key(self.content(part)))
    }

    fn content(&self, part: &Part) -> &str {
        &self.text[part.span.bytes.clone()]
    }

    /// Divides the parts of a batch that the model has refused as too long; `None` if the batch failed for another
    /// reason.
    fn divide(&self, batch: Vec<Part>, error: &Error) -> Option<Vec<Part>> {
        let refused = error.field_errors().iter().filter_map(|field| field.pointer.strip_prefix("/input/"));
        let refused: HashSet<usize> = refused.filter_map(|index| index.parse().ok()).collect();
        let too_long: HashSet<usize> = self
            .unknown(&batch)
            .enumerate()
            .filter(|(input, (_, part))| refused.contains(input) && part.span.chars.len() > 1)
            .map(|(_, (place, _))| place)
            .collect();
        if too_long.is_empty() {
            return None;
        }
        let parts = |(place, part): (usize, Part)| match too_long.contains(&place) {
            true => halves(self.text, &part.span).into_iter().map(|span| Part { span, ..part }).collect(),
            false => vec![part],
        };
        Some(batch.into_iter().enumerate().flat_map(parts).collect())
    }
}

/// Divides a chunk of a text into parts of at most half its length.
pub(super) fn halves(text: &str, span: &Span) -> Vec<Span> {
    let size = ChunkSize { size: span.chars.len().div_ceil(2), overlap: 0 };
    let within = |half: Span| Span {
        bytes: span.bytes.start + half.bytes.start..span.bytes.start + half.bytes.end,
        chars: span.chars.start + half.chars.start..span.chars.start + half.chars.end,
    };
    chunk(&text[span.bytes.clone()], Chunking::Recursive, size).into_iter().map(within).collect()
}
