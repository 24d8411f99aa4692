//! Checking the fields of a request, with the wrong ones reported together.

use std::str::FromStr;

use super::{texts::Texts, wrong_field::segment};
use crate::error::{Error, FieldError, MAX_FIELDS, Result};

/// How many texts a list may have, and how many bytes each of them.
#[derive(Clone, Copy)]
pub(in crate::http) struct TextLimits {
    pub(in crate::http) count: usize,
    pub(in crate::http) bytes: usize,
}

#[derive(Default)]
pub(in crate::http) struct Fields(Vec<FieldError>);

impl Fields {
    pub(in crate::http) fn refuse(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if !self.is_full() {
            self.0.push(FieldError::new(pointer, detail));
        }
    }

    /// Refuses a field that does not exist.
    pub(in crate::http) fn unknown(&mut self, name: &str, detail: impl Into<String>) {
        if !self.is_full() {
            self.0.push(FieldError::unknown(segment(name), detail));
        }
    }

    /// The value of an outcome; fields that it refuses are added, those below `at`.
    pub(in crate::http) fn accept<T>(&mut self, at: &str, outcome: Result<T>) -> Option<T> {
        let error = outcome.map_err(|error| error.at(|pointer| format!("{at}{pointer}")));
        let refused = error.as_ref().err().map(Error::field_errors).unwrap_or_default();
        let room = MAX_FIELDS.saturating_sub(self.0.len());
        self.0.extend(refused.iter().take(room).cloned());
        error.ok()
    }

    /// Whether what else is wrong would not be told.
    pub(in crate::http) fn is_full(&self) -> bool {
        self.0.len() >= MAX_FIELDS
    }

    /// A number within `from..=to`.
    pub(in crate::http) fn between(
        &mut self,
        pointer: &str,
        value: Option<f64>,
        from: f64,
        to: f64,
    ) -> Option<f32> {
        match value {
            Some(value) if !(from..=to).contains(&value) => {
                self.refuse(pointer, format!("must be between {from} and {to}"));
                None
            }
            #[expect(clippy::cast_possible_truncation, reason = "models sample in 32 bits")]
            value => value.map(|value| value as f32),
        }
    }

    /// A whole number above zero that fits 31 bits, as every backend takes it.
    pub(in crate::http) fn positive(&mut self, pointer: &str, value: Option<i64>) -> Option<u32> {
        let value = value?;
        match u32::try_from(value).ok().filter(|value| (1..=i32::MAX.unsigned_abs()).contains(value)) {
            Some(value) => Some(value),
            None => {
                self.refuse(pointer, format!("must be a whole number from 1 to {}", i32::MAX));
                None
            }
        }
    }

    /// A number that was sent as text.
    pub(in crate::http) fn number<T: FromStr>(
        &mut self,
        pointer: &str,
        text: Option<&str>,
        kind: &str,
    ) -> Option<T> {
        let text = text?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            self.refuse(pointer, format!("must be {kind}"));
        }
        number
    }

    /// A yes or no that was sent as text, in the words of browsers and programming languages.
    pub(in crate::http) fn truth(&mut self, pointer: &str, text: Option<&str>) -> Option<bool> {
        match text?.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => {
                self.refuse(pointer, "must be true or false");
                None
            }
        }
    }

    /// At most so many texts, none of them empty or too long. `pointer` is where they stand; of a single
    /// text that is its own place.
    pub(in crate::http) fn texts(
        &mut self,
        pointer: &str,
        texts: Option<Texts>,
        limits: TextLimits,
    ) -> Vec<String> {
        let TextLimits { count, bytes } = limits;
        let check = |fields: &mut Self, pointer: String, text: &str| match text.len() {
            0 => fields.refuse(pointer, "must not be empty"),
            length if length > bytes => fields.refuse(pointer, format!("may have at most {bytes} bytes")),
            _ => {}
        };
        match texts {
            None => Vec::new(),
            Some(Texts::One(text)) => {
                check(self, pointer.to_owned(), &text);
                vec![text]
            }
            Some(Texts::Many(texts)) => {
                if texts.len() > count {
                    self.refuse(pointer, format!("may have at most {count} strings"));
                }
                for (index, text) in texts.iter().take(count).enumerate() {
                    check(self, format!("{pointer}/{index}"), text);
                }
                texts
            }
        }
    }

    pub(in crate::http) fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::fields(self.0)) }
    }
}
