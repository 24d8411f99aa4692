//! Checks, one for each fuzz target. A check panics when what it asserts does not hold for an input.

mod documents;
mod framing;
mod gguf;
mod http1;
mod images;

pub use self::{documents::documents, framing::framing, gguf::gguf, http1::http1, images::images};
pub use crate::http::multipart;
