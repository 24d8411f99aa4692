//! Aggregates as bytes, as the history's file holds them: the form's number, then the fields. Every form
//! that has ever been written is read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::totals::{Aggregates, Endpoints, KeyAggregates, ModelAggregates, Name};
use crate::types::{EntryType, PerType};

/// Raised with every change of the fields; the older form is then read by a struct of its own.
const FORM: u8 = 2;

/// Bytes of version 0.1.0: the lookups of the cache by position.
#[derive(Deserialize)]
struct Form1 {
    endpoints: Endpoints,
    models: BTreeMap<Name, ModelAggregates>,
    keys: BTreeMap<[u8; 4], KeyAggregates>,
    cache_hits: [u64; 4],
    cache_misses: [u64; 4],
    unauthenticated: BTreeMap<u16, u64>,
}

impl From<Form1> for Aggregates {
    fn from(form: Form1) -> Self {
        let Form1 { endpoints, models, keys, cache_hits, cache_misses, unauthenticated } = form;
        let by_name = |[embedding, inference, chat, vision]: [u64; 4]| {
            PerType::from([
                (EntryType::Embedding, embedding),
                (EntryType::Inference, inference),
                (EntryType::Chat, chat),
                (EntryType::Vision, vision),
            ])
        };
        let (cache_hits, cache_misses) = (by_name(cache_hits), by_name(cache_misses));
        Self { endpoints, models, keys, cache_hits, cache_misses, unauthenticated, ..Self::default() }
    }
}

impl Aggregates {
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![FORM]).expect("figures are plain data, and a Vec takes them all")
    }

    /// None when these bytes are no figures.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (1, fields) => postcard::from_bytes::<Form1>(fields).ok().map(Self::from),
            (&FORM, fields) => postcard::from_bytes(fields).ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::aggregates::Tokens;

    #[test]
    fn sums_from_a_file_stop_at_the_largest_number() {
        let tokens = Tokens { prompt_tokens: u64::MAX, completion_tokens: 1 };
        let model = ModelAggregates { tokens, ..ModelAggregates::default() };
        let mut aggregates = Aggregates { models: [("m".into(), model)].into(), ..Aggregates::default() };
        aggregates.merge(&Aggregates::from_bytes(&aggregates.to_bytes()).expect("what was written"));
        assert_eq!(aggregates.tokens(), Tokens { prompt_tokens: u64::MAX, completion_tokens: 2 });
    }

    #[test]
    fn files_of_before_open() {
        let tokens = Tokens { prompt_tokens: 5, completion_tokens: 6 };
        let key = KeyAggregates { requests: 1, errors: 2, bytes_in: 3, bytes_out: 4, tokens };
        assert_eq!(postcard::to_allocvec(&key).expect("plain data"), [1, 2, 3, 4, 5, 6]);
        // No endpoints, models or keys; hits, misses; one refusal with status 401.
        let form_1 = [1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0x91, 3, 1];
        let read = Aggregates::from_bytes(&form_1).expect("the first form");
        assert_eq!((read.cache_hits[EntryType::Embedding], read.cache_hits[EntryType::Vision]), (1, 4));
        assert_eq!((read.cache_misses[EntryType::Inference], read.cache_misses[EntryType::Chat]), (6, 7));
        assert_eq!(read.unauthenticated, BTreeMap::from([(401, 1)]));
        assert_eq!(Aggregates::from_bytes(&read.to_bytes()), Some(read));
        assert_eq!(Aggregates::from_bytes(&[3, 0]), None);
    }
}
