//! Splitting of a text into chunks: parts that are small enough to embed, cut where their meaning changes least.
//!
//! Recursive and Markdown splitting are `text-splitter`'s; sentences and lines of code are packed here.

use std::ops::Range;

use text_splitter::{Characters, ChunkCharIndex, ChunkConfig, ChunkSizer, MarkdownSplitter, TextSplitter};
use unicode_segmentation::UnicodeSegmentation;

/// Where chunks may begin and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunking {
    /// At the largest division that fits: several blank lines, one, a line, a sentence, a word, a character.
    #[default]
    Recursive,
    /// At the ends of sentences.
    Sentence,
    /// At Markdown's headings, blocks and list items; else as `Recursive`.
    Markdown,
    /// At the ends of lines, best where a block begins.
    Code,
}

/// Bounds, in characters or another unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkSize {
    /// Maximum length of a chunk, at least 1.
    pub size: usize,
    /// Maximum length that a chunk repeats of the one before it, less than `size`.
    pub overlap: usize,
}

/// The place of a chunk in its text, without the white space around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub bytes: Range<usize>,
    /// In characters.
    pub chars: Range<usize>,
}

/// Unit in which the sizes of texts are measured.
pub trait Unit: ChunkSizer {
    /// Characters in a unit; few units have more.
    const CHARS: usize;
}

impl Unit for Characters {
    const CHARS: usize = 1;
}

/// Splits a text into chunks of at most this many characters, in order. None is empty, or the fence of a code block
/// alone; a text of white space has none.
pub fn chunk(text: &str, chunking: Chunking, size: ChunkSize) -> Vec<Span> {
    chunk_by(text, chunking, size, &Characters)
}

/// Splits a text as `chunk` does, with sizes in another unit.
pub fn chunk_by<U: Unit>(text: &str, chunking: Chunking, size: ChunkSize, unit: &U) -> Vec<Span> {
    match chunking {
        Chunking::Recursive => recursive(text, size, unit),
        Chunking::Markdown => {
            let splitter = MarkdownSplitter::new(config(size, unit));
            let window = 64 * size.size * U::CHARS;
            let mut spans =
                in_windows(text, window, |part| splitter.chunk_char_indices(part).map(span).collect());
            spans.retain(|span| !is_fence(&text[span.bytes.clone()]));
            spans
        }
        Chunking::Sentence => pack(text, &sentences(text, unit), size, unit),
        Chunking::Code => pack(text, &blocks(text, size, unit), size, unit),
    }
}

/// Whether a part is the fence of a code block alone, as before code that does not fit beside it: it says nothing.
fn is_fence(part: &str) -> bool {
    let info = part.trim_start_matches(['`', '~']);
    part.len() - info.len() >= 3 && !info.contains(|c: char| c.is_whitespace() || c == '`')
}

fn recursive<U: Unit>(text: &str, size: ChunkSize, unit: &U) -> Vec<Span> {
    let splitter = TextSplitter::new(config(size, unit));
    let window = 16 * size.size * U::CHARS;
    in_windows(text, window, |part| splitter.chunk_char_indices(part).map(span).collect())
}

/// Splits a text a window at a time, because the splitter measures all that follows for each chunk: a text of 1 MB
/// without a space would take half a minute. The next window begins where the last chunk of this one did, so that
/// the chunks are those of the whole text.
fn in_windows(text: &str, window: usize, split: impl Fn(&str) -> Vec<Span>) -> Vec<Span> {
    let mut chunks = Vec::new();
    let (mut bytes, mut chars) = (0, 0);
    loop {
        let rest = &text[bytes..];
        let end = rest.char_indices().nth(window).map(|(at, _)| at);
        let mut found = split(&rest[..end.unwrap_or(rest.len())]);
        // White space longer than a window has no chunk; a lone one cannot be where the next window begins.
        let next = match (end, found.len()) {
            (None, _) => None,
            (Some(end), 0) => Some((end, window)),
            (Some(_), 1) => found.last().map(|span| (span.bytes.end, span.chars.end)),
            (Some(_), _) => found.pop().map(|span| (span.bytes.start, span.chars.start)),
        };
        chunks.extend(found.into_iter().map(|span| Span {
            bytes: bytes + span.bytes.start..bytes + span.bytes.end,
            chars: chars + span.chars.start..chars + span.chars.end,
        }));
        let Some((more_bytes, more_chars)) = next else { return chunks };
        bytes += more_bytes;
        chars += more_chars;
    }
}

fn config<U: Unit>(ChunkSize { size, overlap }: ChunkSize, unit: &U) -> ChunkConfig<&U> {
    let size = size.max(1);
    let config = || ChunkConfig::new(size).with_sizer(unit);
    // Fails only for an overlap that is not less than the size.
    config().with_overlap(overlap.min(size - 1)).unwrap_or_else(|_| config())
}

fn span(index: ChunkCharIndex<'_>) -> Span {
    let ChunkCharIndex { chunk, byte_offset, char_offset } = index;
    Span {
        bytes: byte_offset..byte_offset + chunk.len(),
        chars: char_offset..char_offset + chunk.chars().count(),
    }
}

/// A part of a text that is not divided if it fits into a chunk.
struct Part {
    bytes: Range<usize>,
    size: usize,
}

impl Part {
    fn new(text: &str, bytes: Range<usize>, unit: &impl Unit) -> Self {
        Self { size: unit.size(&text[bytes.clone()]), bytes }
    }
}

fn sentences(text: &str, unit: &impl Unit) -> Vec<Part> {
    let part = |(at, sentence): (usize, &str)| Part::new(text, at..at + sentence.len(), unit);
    text.split_sentence_bound_indices().map(part).collect()
}

/// Groups of lines that begin with one of the least indentation after a blank line, and their lines where a group
/// does not fit into a chunk.
fn blocks(text: &str, size: ChunkSize, unit: &impl Unit) -> Vec<Part> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let (mut at, mut after_blank) = (0, true);
    for line in text.split_inclusive('\n') {
        let is_blank = line.trim().is_empty();
        let begins = after_blank && !is_blank && !line.starts_with([' ', '\t']);
        match groups.last_mut() {
            Some(group) if !begins => group.end += line.len(),
            _ => groups.push(at..at + line.len()),
        }
        at += line.len();
        after_blank = is_blank;
    }
    let lines = |group: Range<usize>| {
        let mut at = group.start;
        text[group].split_inclusive('\n').map(move |line| {
            at += line.len();
            Part::new(text, at - line.len()..at, unit)
        })
    };
    groups
        .into_iter()
        .flat_map(|group| {
            let whole = Part::new(text, group.clone(), unit);
            if whole.size > size.size { lines(group).collect() } else { vec![whole] }
        })
        .collect()
}

/// Joins parts into chunks as long as they fit. A part that is too long by itself is split recursively.
fn pack(text: &str, parts: &[Part], size: ChunkSize, unit: &impl Unit) -> Vec<Span> {
    let mut chunks = Vec::new();
    let mut counted = Counted::default();
    let mut first = 0;
    while first < parts.len() {
        let mut end = first;
        let mut used = 0;
        while end < parts.len() && used + parts[end].size <= size.size {
            used += parts[end].size;
            end += 1;
        }
        if end == first {
            let bytes = parts[first].bytes.clone();
            for part in recursive(&text[bytes.clone()], size, unit) {
                chunks.extend(
                    counted.trimmed(text, bytes.start + part.bytes.start..bytes.start + part.bytes.end),
                );
            }
            first += 1;
            continue;
        }
        chunks.extend(counted.trimmed(text, parts[first].bytes.start..parts[end - 1].bytes.end));
        if end == parts.len() {
            break;
        }
        // Back over what is repeated, but always past the first part.
        let mut repeated = 0;
        let mut next = end;
        while next > first + 1 && repeated + parts[next - 1].size <= size.overlap {
            repeated += parts[next - 1].size;
            next -= 1;
        }
        first = next;
    }
    chunks
}

/// Characters up to a position, so that a text is counted once and not once for each chunk.
#[derive(Default)]
struct Counted {
    bytes: usize,
    chars: usize,
}

impl Counted {
    fn up_to(&mut self, text: &str, bytes: usize) -> usize {
        if bytes < self.bytes {
            self.chars -= text[bytes..self.bytes].chars().count();
        } else {
            self.chars += text[self.bytes..bytes].chars().count();
        }
        self.bytes = bytes;
        self.chars
    }

    /// The span without the white space around it; `None` if nothing is left.
    fn trimmed(&mut self, text: &str, bytes: Range<usize>) -> Option<Span> {
        let part = &text[bytes.clone()];
        let start = bytes.start + part.len() - part.trim_start().len();
        let end = bytes.start + part.trim_end().len();
        if start >= end {
            return None;
        }
        let chars = self.up_to(text, start)..self.up_to(text, end);
        Some(Span { bytes: start..end, chars })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Chunking; 4] = [Chunking::Recursive, Chunking::Sentence, Chunking::Markdown, Chunking::Code];

    fn texts(text: &str, chunking: Chunking, size: usize, overlap: usize) -> Vec<&str> {
        chunk(text, chunking, ChunkSize { size, overlap }).into_iter().map(|span| &text[span.bytes]).collect()
    }

    #[test]
    fn sentences_stay_whole() {
        let text = "One is short. Two is short. Three is a bit longer than two.\nFour ends it.";
        assert_eq!(
            texts(text, Chunking::Sentence, 30, 0),
            ["One is short. Two is short.", "Three is a bit longer than two", ".", "Four ends it."]
        );
        let repeated = texts("Aa bb. Cc dd. Ee ff. Gg hh.", Chunking::Sentence, 21, 7);
        assert_eq!(repeated, ["Aa bb. Cc dd. Ee ff.", "Ee ff. Gg hh."]);
    }

    #[test]
    fn code_is_split_where_a_block_begins() {
        let text = "fn a() {\n    one();\n\n    two();\n}\n\nfn b() {\n    three();\n}\n";
        assert_eq!(
            texts(text, Chunking::Code, 40, 0),
            ["fn a() {\n    one();\n\n    two();\n}", "fn b() {\n    three();\n}"]
        );
        assert_eq!(
            texts(text, Chunking::Code, 20, 0),
            ["fn a() {\n    one();", "two();\n}", "fn b() {", "three();\n}"]
        );
    }

    #[test]
    fn markdown_is_split_at_headings() {
        let text = "# A\n\nFirst text.\n\n## B\n\nSecond text.\n";
        assert_eq!(texts(text, Chunking::Markdown, 25, 0), ["# A\n\nFirst text.", "## B\n\nSecond text."]);
    }

    #[test]
    fn no_chunk_is_a_fence_alone() {
        let text = "# A\n\n```console\n$ first command here\n\n$ second command here\n```\n\nEnd of it.\n";
        let chunks = texts(text, Chunking::Markdown, 24, 0);
        assert_eq!(chunks, ["# A", "$ first command here", "$ second command here", "```\n\nEnd of it."]);
        assert_eq!(texts("```code``` in a line", Chunking::Markdown, 10, 0).concat(), "```code```in a line");
    }

    #[test]
    fn a_long_text_is_split_as_a_short_one() {
        let paragraph = "Some words that follow each other. And a second sentence of them.\n\n";
        let text = paragraph.repeat(500);
        for overlap in [0, 20] {
            let spans = chunk(&text, Chunking::Recursive, ChunkSize { size: 70, overlap });
            assert_eq!(spans.len(), 500);
            assert!(spans.iter().all(|span| text[span.bytes.clone()] == *paragraph.trim_end()));
        }
        // Neither takes long nor leaves anything out.
        let unbroken = "a".repeat(100_000);
        assert_eq!(texts(&unbroken, Chunking::Recursive, 1000, 0).concat(), unbroken);
    }

    #[test]
    fn white_space_has_no_chunks() {
        for chunking in ALL {
            assert_eq!(texts(" \n\n\t \u{a0}\n", chunking, 10, 3), [""; 0]);
            assert_eq!(texts("", chunking, 10, 3), [""; 0]);
        }
    }

    proptest! {
        #[test]
        fn chunks_are_true_and_small_and_leave_nothing_out(
            text in "([a-zä€😀.#`*\\- \n]|\n\n){0,400}", size in 1..60usize, share in 0.0..1.0,
        ) {
            let overlap = (size as f64 * share) as usize;
            for chunking in ALL {
                let spans = chunk(&text, chunking, ChunkSize { size, overlap });
                let mut covered = vec![false; text.len()];
                for Span { bytes, chars } in spans {
                    let part = &text[bytes.clone()];
                    let by_chars: String = text.chars().skip(chars.start).take(chars.len()).collect();
                    prop_assert_eq!(part, &by_chars);
                    prop_assert!(!part.trim().is_empty());
                    prop_assert!(chars.len() <= size, "{} of {size} characters", chars.len());
                    covered[bytes].fill(true);
                }
                let mut from = 0;
                for line in text.split_inclusive('\n') {
                    let may_be_fence = chunking == Chunking::Markdown && line.contains("```");
                    for (at, char) in line.char_indices() {
                        let is_there = char.is_whitespace() || covered[from + at];
                        prop_assert!(is_there || may_be_fence, "{char:?} at {} by {chunking:?}", from + at);
                    }
                    from += line.len();
                }
            }
        }
    }
}
