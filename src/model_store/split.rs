//! Models whose weights are split over several GGUF files. llama.cpp is given the first part and finds the others
//! by their names, which blobs do not have: links in `split/` in our own folder have them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    ModelStore,
    blobs::write_error,
    digest::Digest,
    entry::{Entry, WeightsFile},
};
use crate::{error::Result, files};

/// Identity of weights: the digest of their file, or of the list of the digests of their parts.
pub(super) fn identity(parts: &[WeightsFile]) -> String {
    match parts {
        [whole] => whole.digest.clone(),
        parts => {
            let digests: Vec<&str> = parts.iter().map(|part| part.digest.as_str()).collect();
            Digest::of(digests.join("\n").as_bytes()).hex().to_owned()
        }
    }
}

/// Path that llama.cpp opens.
pub(super) fn weights_path(own: &Path, parts: &[WeightsFile]) -> PathBuf {
    match parts {
        [whole] => whole.path.clone(),
        parts => link(own, &identity(parts), 0, parts.len()),
    }
}

/// Path of the link to a part, named as llama.cpp expects it: `llama_split_path` in `llama.h`.
fn link(own: &Path, identity: &str, index: usize, count: usize) -> PathBuf {
    folder(own).join(identity).join(format!("model-{:05}-of-{count:05}.gguf", index + 1))
}

fn folder(own: &Path) -> PathBuf {
    own.join("split")
}

impl ModelStore {
    /// Makes the links to the parts of a split model.
    pub(super) fn link_parts(&self, entry: &Entry) -> Result<()> {
        let (own, count) = (&self.0.own, entry.parts.len());
        if count == 1 {
            return Ok(());
        }
        let make = |(index, part): (usize, &WeightsFile)| {
            let link = link(own, &entry.weights_digest, index, count);
            let target = std::path::absolute(&part.path)?;
            if fs::read_link(&link).is_ok_and(|found| found == target) {
                return Ok(());
            }
            files::private_folder(link.parent().unwrap_or(own))?;
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::os::unix::fs::symlink(target, link)
        };
        entry.parts.iter().enumerate().try_for_each(make).map_err(|error| write_error(own, error))
    }

    /// Removes the links to parts that are gone.
    pub(super) fn remove_dangling_links(&self) -> io::Result<()> {
        let folders = match fs::read_dir(folder(&self.0.own)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            folders => folders?,
        };
        for folder in folders {
            let folder = folder?.path();
            let mut links = fs::read_dir(&folder)?;
            if links.any(|link| link.is_ok_and(|link| !link.path().exists())) {
                fs::remove_dir_all(&folder)?;
            }
        }
        Ok(())
    }
}
