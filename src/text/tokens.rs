//! Sizes of texts in tokens of a model, added up from the counts of their words. Few tokenizers merge words, so the sum
//! is usually exact, or slightly too high.

use std::collections::{HashMap, HashSet};

use text_splitter::ChunkSizer;
use unicode_segmentation::UnicodeSegmentation;

use super::chunk::Unit;

/// Maximum number of different words to count; the size of others is estimated.
const MAX_WORDS: usize = 20_000;
/// Maximum bytes of a word; longer ones are counted in pieces.
const MAX_WORD: usize = 48;
/// Bytes per token of a word that is not counted: a cautious estimate.
const BYTES_PER_TOKEN: usize = 2;

/// Counts of the tokens of words.
pub struct TokenCounts(HashMap<String, usize>);

impl TokenCounts {
    pub fn new(counts: impl IntoIterator<Item = (String, usize)>) -> Self {
        Self(counts.into_iter().collect())
    }

    /// Returns the count of a word. A word that begins a chunk has lost its space, with which it was counted.
    fn count(&self, word: &str) -> Option<usize> {
        self.0.get(word).or_else(|| self.0.get(&format!(" {word}"))).copied()
    }
}

impl ChunkSizer for TokenCounts {
    fn size(&self, text: &str) -> usize {
        let mut size = 0;
        each_word(text, |word| {
            size += self.count(word).unwrap_or_else(|| word.len().div_ceil(BYTES_PER_TOKEN));
        });
        size
    }
}

impl Unit for TokenCounts {
    const CHARS: usize = 8;
}

/// Returns the different words of a text, which are to be counted.
pub fn words(text: &str) -> Vec<String> {
    let mut words = HashSet::new();
    each_word(text, |word| {
        if words.len() < MAX_WORDS {
            words.insert(word);
        }
    });
    words.into_iter().map(str::to_owned).collect()
}

/// Passes on all of a text in its order, in words and what is between them.
fn each_word<'a>(text: &'a str, mut each: impl FnMut(&'a str)) {
    let mut start = 0;
    for (at, part) in text.split_word_bound_indices() {
        let end = at + part.len();
        // A space belongs to the word after it, as most tokenizers have it.
        let is_before_word = part.ends_with(' ') && part.trim().is_empty() && end < text.len();
        let end = if is_before_word { end - 1 } else { end };
        let mut rest = &text[start..end];
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.floor_char_boundary(MAX_WORD));
            each(piece);
            rest = more;
        }
        start = end;
    }
    if start < text.len() {
        each(&text[start..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::chunk::{ChunkSize, Chunking, chunk_by};

    fn parts(text: &str) -> Vec<&str> {
        let mut parts = Vec::new();
        each_word(text, |part| parts.push(part));
        parts
    }

    #[test]
    fn a_space_belongs_to_the_word_after_it() {
        assert_eq!(
            parts("One  two, three.\n Four "),
            ["One", " ", " two", ",", " three", ".", "\n", " Four", " "]
        );
        assert_eq!(parts(&"a".repeat(100)), ["a".repeat(48), "a".repeat(48), "aaaa".to_owned()]);
        assert_eq!(parts("文档"), ["文", "档"]);
        assert_eq!(parts(""), [""; 0]);
    }

    #[test]
    fn chunks_are_as_long_in_tokens_as_they_may_be() {
        let counts = TokenCounts::new(words("one two three four").into_iter().map(|word| (word, 2)));
        let size = ChunkSize { size: 4, overlap: 0 };
        let spans = chunk_by("one two three four", Chunking::Recursive, size, &counts);
        let found: Vec<&str> = spans.iter().map(|span| &"one two three four"[span.bytes.clone()]).collect();
        assert_eq!(found, ["one two", "three four"]);
    }

    proptest! {
        #[test]
        fn nothing_of_a_text_is_left_out(text in "([a-zä€😀.\\- \n文]|  ){0,200}") {
            prop_assert_eq!(parts(&text).concat(), text);
        }
    }
}
