//! `/analytics/*`: statistics of the service. One file for each endpoint; this one has what they share: the
//! periods that can be requested, and the period that a reply covers.

pub(super) mod alerts;
pub(super) mod cache;
pub(super) mod errors;
pub(super) mod health;
pub(super) mod live;
pub(super) mod series;
pub(super) mod stats;
pub(super) mod usage;

use std::{ops::RangeInclusive, time::SystemTime};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    error::{Error, Result},
    store::Covered,
};

/// Period that all figures in the response cover.
#[derive(Serialize, ToSchema)]
pub(super) struct PeriodBody {
    /// As requested.
    since_minutes: u64,
    /// RFC 3339. Later than requested if there is no older data. For periods of more than a day, the start
    /// of an hour.
    from: String,
    to: String,
}

impl PeriodBody {
    fn new<T>(since_minutes: u64, covered: &Covered<T>) -> Self {
        let from = Timestamp::from_second(covered.from.saturating_mul(60)).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { since_minutes, from: from.to_string(), to: rfc3339(covered.to) }
    }
}

/// Status of a reply that is no error.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Succeeded {
    Success,
}

/// `since_minutes`, within what is kept.
fn since_minutes(app: &App, given: Option<&str>, default: u64) -> Result<u64> {
    let longest = app.retention_hours() * 60;
    within("since_minutes", given, 1..=longest, default.min(longest))
}

/// A whole number of the query within a range; the default when it is left empty. Read from text, so that
/// whatever is wrong with it is answered with the range.
fn within(name: &str, given: Option<&str>, range: RangeInclusive<u64>, default: u64) -> Result<u64> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(default) };
    given.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let (first, last) = (range.start(), range.end());
        Error::field(format!("/{name}"), format!("must be a whole number from {first} to {last}"))
    })
}

/// One of a closed set of words.
fn one_of<'a>(name: &str, given: &str, words: impl IntoIterator<Item = &'a str>) -> Result<&'a str> {
    let words: Vec<&str> = words.into_iter().collect();
    words
        .iter()
        .copied()
        .find(|word| *word == given)
        .ok_or_else(|| Error::field(format!("/{name}"), format!("must be one of {}", words.join(", "))))
}

fn rfc3339(at: SystemTime) -> String {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
