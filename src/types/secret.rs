//! A text that never shows itself.

use std::fmt;

/// Redacted in `Debug` and without `Display`, so that it cannot reach a log by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A key or token as it can stand in a header.
    ///
    /// # Errors
    /// Parses a value; the error says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self::new(text)),
            false => Err("must be visible ASCII characters without spaces".to_owned()),
        }
    }

    /// The text itself; call this only where it goes onto the wire or is compared.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
