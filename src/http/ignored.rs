//! Parameters that are accepted although they have no effect, and that a header of the reply names.

use std::borrow::Cow;

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

const IGNORED: HeaderName = HeaderName::from_static("x-simpleton-ignored");

/// Whether a parameter that has no effect was sent; null counts as absent.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::http) struct Ignored(bool);

impl Ignored {
    pub(in crate::http) fn is_sent(self) -> bool {
        self.0
    }
}

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<IgnoredAny>::deserialize(deserializer)?.is_some()))
    }
}

/// Names of the parameters that have no effect.
#[derive(Default)]
pub(in crate::http) struct IgnoredNames(Vec<Cow<'static, str>>);

impl IgnoredNames {
    pub(in crate::http) fn note(&mut self, name: &'static str, Ignored(is_sent): Ignored) {
        self.note_if(name, is_sent);
    }

    pub(in crate::http) fn note_if(&mut self, name: &'static str, is_sent: bool) {
        if is_sent {
            self.add(name);
        }
    }

    pub(in crate::http) fn add(&mut self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        if !self.0.contains(&name) {
            self.0.push(name);
        }
    }

    /// Adds the header that names them.
    pub(in crate::http) fn mark(&self, mut response: Response) -> Response {
        if !self.0.is_empty()
            && let Ok(names) = HeaderValue::try_from(self.0.join(", "))
        {
            response.headers_mut().insert(IGNORED, names);
        }
        response
    }
}
