//! The files of a model that is to be pulled, and where they are.

use std::collections::HashSet;

use super::session::Session;
use crate::{http_client::Url, model_store::manifest::Layer};

pub(super) struct Plan {
    pub(super) session: Session,
    /// In the order of the manifest.
    pub(super) files: Vec<RemoteFile>,
    /// The manifest as it was sent; without one it is made from the files.
    pub(super) manifest: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub(super) struct RemoteFile {
    pub(super) layer: Layer,
    pub(super) url: Url,
}

impl Plan {
    /// Files with different contents.
    pub(super) fn distinct(&self) -> impl Iterator<Item = &RemoteFile> {
        let mut seen = HashSet::new();
        self.files.iter().filter(move |file| seen.insert(file.layer.digest.hex()))
    }
}
