//! The demo model, which is compiled into the program (see `models/README.md`). A separate module for its 10 MB of
//! constants.

use std::{fs, io::Cursor, path::Path, sync::Arc};

use super::{
    DEMO_MODEL, ModelStore,
    blobs::{Staged, lock_for_writing, writable_blobs},
    blobs_of,
    digest::Digest,
    entry::Entry,
    gguf, import,
    manifest::{self, Layer},
};
use crate::{
    error::{Error, Kind, Result},
    types::ModelName,
};

static WEIGHTS: Part = Part {
    media_type: manifest::MODEL,
    bytes: include_bytes!("../../models/demo/simpleton-demo.gguf"),
    digest: "sha256:5838c06c15cde7062e073bc65255111a6c1b91a618b5b5c44ffbfe863a534aac",
};

static PROJECTOR: Part = Part {
    media_type: manifest::PROJECTOR,
    bytes: include_bytes!("../../models/demo/simpleton-demo-mmproj.gguf"),
    digest: "sha256:6ad5f31610347ed3f5dec9ad0526f55581a3678a983bef4adbe02eafbe3f2319",
};

struct Part {
    media_type: &'static str,
    bytes: &'static [u8],
    /// A constant, to save hashing 10 MB at every start. A test checks it.
    digest: &'static str,
}

impl ModelStore {
    /// Installs the demo model as `simpleton-demo:latest` in our own folder. Writes only files that are
    /// missing or from another version of this program, and does not hash existing ones.
    ///
    /// # Errors
    /// `Setup` when the models folder cannot be written to or the disk is full.
    pub fn install_demo(&self) -> Result<Arc<Entry>> {
        let broken = |what: String| {
            Error::new(Kind::Internal, "The built-in demo model is damaged.").with_source(what)
        };
        let name: ModelName = DEMO_MODEL.parse().map_err(broken)?;
        let header = gguf::read_from(Cursor::new(WEIGHTS.bytes), WEIGHTS.bytes.len() as u64)
            .map_err(|fault| broken(fault.to_string()))?;
        let layers = vec![WEIGHTS.layer().map_err(broken)?, PROJECTOR.layer().map_err(broken)?];
        let manifest = import::manifest(&import::config(&header, &layers), layers);
        let own = &self.0.own;
        let is_current = manifest::read(&manifest::path(own, &name)).is_ok_and(|bytes| bytes == manifest);
        if !is_current || !has_blob(own, &WEIGHTS) || !has_blob(own, &PROJECTOR) {
            let blobs = writable_blobs(own)?;
            let stage = |part: &Part| Ok((part.media_type, Staged::copy(&blobs, &mut { part.bytes })?));
            let files = vec![stage(&WEIGHTS)?, stage(&PROJECTOR)?];
            let _writing = lock_for_writing(own)?;
            self.publish(own, &name, &header, files)?;
        }
        self.find(&name)?.ok_or_else(|| broken("it was removed".to_owned()))
    }
}

fn has_blob(folder: &Path, part: &Part) -> bool {
    part.layer().is_ok_and(|layer| {
        fs::metadata(blobs_of(folder).join(layer.digest.blob_name()))
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == layer.size)
    })
}

impl Part {
    fn layer(&self) -> Result<Layer, String> {
        Ok(Layer {
            media_type: self.media_type.to_owned(),
            digest: Digest::try_from(self.digest.to_owned())?,
            size: self.bytes.len() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_that_are_written_down_are_right() {
        for part in [&WEIGHTS, &PROJECTOR] {
            assert_eq!(Digest::of(part.bytes).to_string(), part.digest);
        }
    }
}
