//! Checking the fields of a request, with the wrong ones reported together.

use crate::error::{Error, FieldError, MAX_FIELDS, Result};

#[derive(Default)]
pub(super) struct Fields(Vec<FieldError>);

impl Fields {
    pub(super) fn refuse(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if !self.is_full() {
            self.0.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        }
    }

    /// Whether what else is wrong would not be told.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_FIELDS
    }

    /// A number within `from..=to`.
    pub(super) fn between(&mut self, pointer: &str, value: Option<f64>, from: f64, to: f64) -> Option<f32> {
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
    pub(super) fn positive(&mut self, pointer: &str, value: Option<i64>) -> Option<u32> {
        let value = value?;
        match u32::try_from(value).ok().filter(|value| (1..=i32::MAX.unsigned_abs()).contains(value)) {
            Some(value) => Some(value),
            None => {
                self.refuse(pointer, format!("must be a whole number from 1 to {}", i32::MAX));
                None
            }
        }
    }

    pub(super) fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::fields(self.0)) }
    }
}
