//! Words of chunks and queries as sparse vectors, which Qdrant ranks by BM25: we send how often a word occurs, Qdrant
//! weighs it by how rare it is (its modifier "idf"). Words are divided and compared as by FTS5's tokenizer in the
//! embedded store: letters and digits, without case and diacritics.

use std::collections::BTreeMap;

use qdrant_client::qdrant::SparseVector;
use unicode_normalization::char::decompose_canonical;

use super::{super::MAX_QUERY_WORDS, points::hash};

/// The usual constants of BM25.
const K1: f32 = 1.2;
const B: f32 = 0.75;

/// Words of an average chunk. The true average changes with every document; it only matters how long chunks are
/// compared to each other.
const AVERAGE_WORDS: f32 = 160.0;

/// The words of a chunk by their weights.
pub(super) fn of_chunk(text: &str) -> SparseVector {
    let mut counts: BTreeMap<u32, f32> = BTreeMap::new();
    let mut length = 0.0;
    for word in words(text) {
        *counts.entry(dimension(&word)).or_default() += 1.0;
        length += 1.0;
    }
    let weight = |count: f32| count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / AVERAGE_WORDS));
    let (indices, values) = counts.into_iter().map(|(word, count)| (word, weight(count))).unzip();
    SparseVector { values, indices }
}

/// The words of a query, each once.
pub(super) fn of_query(text: &str) -> SparseVector {
    let mut indices: Vec<u32> = Vec::new();
    for word in words(text) {
        let dimension = dimension(&word);
        if !indices.contains(&dimension) {
            indices.push(dimension);
        }
        if indices.len() == MAX_QUERY_WORDS {
            break;
        }
    }
    indices.sort_unstable();
    SparseVector { values: vec![1.0; indices.len()], indices }
}

/// The dimension that stands for a word. Two words share one only by a rare accident.
fn dimension(word: &str) -> u32 {
    u32::try_from(hash(&[word.as_bytes()]) >> 32).unwrap_or_default()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_alphanumeric() && !is_diacritic(c));
    parts
        .map(|part| {
            part.chars().filter_map(without_diacritics).flat_map(char::to_lowercase).collect::<String>()
        })
        .filter(|word| !word.is_empty())
}

fn is_diacritic(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// The letter itself where diacritics make a letter of another one; other scripts' marks are letters' parts.
fn without_diacritics(c: char) -> Option<char> {
    if is_diacritic(c) {
        return None;
    }
    let (mut base, mut is_marked) = (c, true);
    let mut first = true;
    decompose_canonical(c, |part| {
        if std::mem::take(&mut first) {
            base = part;
        } else {
            is_marked &= is_diacritic(part);
        }
    });
    Some(if is_marked { base } else { c })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_neither_case_nor_diacritics() {
        for (text, expected) in [
            ("Crème BRÛLÉE, café", vec!["creme", "brulee", "cafe"]),
            ("cafe\u{301} o'clock", vec!["cafe", "o", "clock"]),
            ("GRÖSSE größe", vec!["grosse", "große"]),
            ("2024-05-01\0x_y", vec!["2024", "05", "01", "x", "y"]),
            ("東京 ガス", vec!["東京", "ガス"]),
            ("\"*-()^: — \u{301}", vec![]),
        ] {
            assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_word_weighs_more_the_more_often_it_occurs_and_less_in_a_longer_chunk() {
        let weight = |text: &str| {
            let chunk = of_chunk(text);
            let at = chunk.indices.iter().position(|word| *word == dimension("gate")).expect("the word");
            chunk.values[at]
        };
        assert!(weight("gate gate") > weight("gate"));
        assert!(weight("gate") > weight(&format!("gate {}", "x ".repeat(500))));
        let query = of_query("gate gate Gate");
        assert_eq!((query.indices, query.values), (vec![dimension("gate")], vec![1.0]));
        let many: String = (0..500).map(|at| format!("w{at} ")).collect();
        assert_eq!(of_query(&many).indices.len(), MAX_QUERY_WORDS);
    }
}
