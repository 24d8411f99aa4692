//! Files of the dashboard: in the program, or in a folder. Texts are kept compressed, under their name and `.gz`.

use std::{fs, path::PathBuf};

use axum::body::Bytes;

/// Names and contents, sorted by name.
const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// Source of the files.
pub enum Files {
    Embedded,
    Folder(PathBuf),
}

pub(super) struct File {
    pub(super) bytes: Bytes,
    pub(super) is_gzip: bool,
}

impl Files {
    /// Those of this folder. By default those in the program or, in debug builds, those that were built last: these
    /// builds need not be compiled anew when the dashboard changes.
    pub fn new(folder: Option<PathBuf>) -> Self {
        match folder {
            Some(folder) => Self::Folder(folder),
            None if cfg!(debug_assertions) => {
                Self::Folder(concat!(env!("CARGO_MANIFEST_DIR"), "/dashboard/dist").into())
            }
            None => Self::Embedded,
        }
    }

    /// Finds a file by its name. Hidden files, and those outside the folder, are never found.
    pub(super) fn find(&self, name: &str) -> Option<File> {
        if name.split(['/', '\\']).any(|part| part.is_empty() || part.starts_with('.')) {
            return None;
        }
        let compressed = self.read(&format!("{name}.gz")).map(|bytes| File { bytes, is_gzip: true });
        compressed.or_else(|| Some(File { bytes: self.read(name)?, is_gzip: false }))
    }

    fn read(&self, name: &str) -> Option<Bytes> {
        match self {
            Self::Embedded => {
                let at = EMBEDDED.binary_search_by_key(&name, |(name, _)| name).ok()?;
                Some(Bytes::from_static(EMBEDDED[at].1))
            }
            // For development and tests.
            Self::Folder(folder) => fs::read(folder.join(name)).ok().map(Bytes::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_dashboard_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let dist = folder.path().join("dist");
        fs::create_dir_all(dist.join("assets")).expect("folders");
        for name in ["secret.txt", "dist/.stamp", "dist/index.html", "dist/assets/a.js.gz"] {
            fs::write(folder.path().join(name), name).expect("a file");
        }
        let files = Files::new(Some(dist));
        let found = |name: &str| files.find(name).map(|file| (file.bytes, file.is_gzip));
        assert_eq!(found("index.html"), Some((Bytes::from("dist/index.html"), false)));
        assert_eq!(found("assets/a.js"), Some((Bytes::from("dist/assets/a.js.gz"), true)));
        for name in
            ["", "/", "a.js", "assets", ".stamp", "../secret.txt", "assets/../../secret.txt", "/etc/passwd"]
        {
            assert_eq!(found(name), None, "{name}");
        }
    }

    #[test]
    fn files_in_the_program_are_sorted_by_their_names() {
        assert!(EMBEDDED.is_sorted_by_key(|(name, _)| name));
        assert!(Files::Embedded.find("no-such-file.js").is_none());
    }
}
