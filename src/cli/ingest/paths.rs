//! Files that the paths on the command line mean: files, folders and glob patterns.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, Metadata},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use glob::{MatchOptions, glob_with};

use crate::text::extract::may_be_document;

/// Bytes to read from a file to tell a document from an image or a program.
const HEAD: u64 = 8192;
const WILDCARDS: [char; 3] = ['*', '?', '['];

#[derive(Default)]
pub(super) struct Found {
    /// By their paths, which are absolute.
    pub(super) files: BTreeMap<PathBuf, File>,
    /// Paths left out of folders, with the reason.
    pub(super) skipped: Vec<(PathBuf, &'static str)>,
    /// Paths that cannot be read, with the reason.
    pub(super) failed: Vec<(PathBuf, String)>,
    /// Folders that were named, or that match a pattern: everything in them is meant.
    pub(super) folders: Vec<PathBuf>,
    /// Paths that were named and do not exist.
    pub(super) missing: Vec<PathBuf>,
    /// Folders that must be readable before a file that is missing from them counts as deleted.
    pub(super) roots: Vec<PathBuf>,
}

pub(super) struct File {
    /// The path as it is shown: relative, where it was given like that.
    pub(super) shown: PathBuf,
    pub(super) metadata: Metadata,
    /// Whether it was named itself, and not found in a folder or by a pattern.
    pub(super) is_named: bool,
}

/// Finds the files that these paths mean.
pub(super) fn find(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        match (fs::metadata(path), path.to_str().filter(|text| text.contains(WILDCARDS))) {
            (Ok(metadata), _) => found.add(path, metadata, true),
            (Err(_), Some(pattern)) => found.expand(path, pattern),
            (Err(error), None) => {
                found.missing.extend(real_path(path).ok());
                found.fail(path, &error);
            }
        }
    }
    found
}

impl Found {
    /// A path that was named, or that matches a pattern.
    fn add(&mut self, path: &Path, metadata: Metadata, is_named: bool) {
        let real = if metadata.is_dir() { path.canonicalize() } else { real_path(path) };
        match real {
            Err(error) => self.fail(path, &error),
            Ok(real) if metadata.is_dir() => {
                self.folders.push(real.clone());
                self.roots.push(real.clone());
                self.walk(path, &real);
            }
            Ok(real) if metadata.is_file() => {
                self.roots.extend(real.parent().map(Path::to_owned));
                let shown = path.to_owned();
                if is_named {
                    self.files.insert(real, File { shown, metadata, is_named });
                } else {
                    self.add_found(shown, real, metadata);
                }
            }
            Ok(_) => self.failed.push((path.to_owned(), "is neither a file nor a folder".to_owned())),
        }
    }

    fn expand(&mut self, path: &Path, pattern: &str) {
        let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
        let matches = match glob_with(pattern, options) {
            Ok(matches) => matches,
            Err(error) => {
                return self.failed.push((path.to_owned(), format!("is not a valid pattern: {error}")));
            }
        };
        let is_fixed = |part: &Component| !part.as_os_str().to_string_lossy().contains(WILDCARDS);
        let fixed: PathBuf = path.components().take_while(is_fixed).collect();
        self.roots.extend(folder(&fixed).canonicalize());
        let mut matched = false;
        for entry in matches {
            matched = true;
            match entry {
                Ok(path) => match fs::metadata(&path) {
                    Ok(metadata) => self.add(&path, metadata, false),
                    Err(error) => self.fail(&path, &error),
                },
                Err(error) => self.fail(error.path(), error.error()),
            }
        }
        if !matched {
            self.failed.push((path.to_owned(), "matches no file".to_owned()));
        }
    }

    /// Everything in a folder. Links to folders are not followed: they may lead back.
    fn walk(&mut self, shown: &Path, real: &Path) {
        let entries = fs::read_dir(real).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.fail(shown, &error),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (name, real) = (entry.file_name(), entry.path());
            let shown = shown.join(&name);
            if is_hidden(&name) {
                self.skipped.push((shown, "is hidden"));
                continue;
            }
            match (entry.file_type(), fs::metadata(&real)) {
                (Ok(kind), Ok(metadata)) if metadata.is_dir() => match kind.is_symlink() {
                    true => self.skipped.push((shown, "is a link to a folder")),
                    false => self.walk(&shown, &real),
                },
                (_, Ok(metadata)) => self.add_found(shown, real, metadata),
                (_, Err(error)) => self.fail(&shown, &error),
            }
        }
    }

    /// A file that was only found.
    fn add_found(&mut self, shown: PathBuf, real: PathBuf, metadata: Metadata) {
        if !metadata.is_file() {
            return self.skipped.push((shown, "is not a file"));
        }
        match reason_to_skip(&real, &metadata) {
            Ok(None) => {
                self.files.entry(real).or_insert(File { shown, metadata, is_named: false });
            }
            Ok(Some(reason)) => self.skipped.push((shown, reason)),
            Err(error) => self.fail(&shown, &error),
        }
    }

    fn fail(&mut self, path: &Path, error: &io::Error) {
        self.failed.push((path.to_owned(), reason(error)));
    }
}

fn reason_to_skip(path: &Path, metadata: &Metadata) -> io::Result<Option<&'static str>> {
    if metadata.len() == 0 {
        return Ok(Some("is empty"));
    }
    let mut head = Vec::new();
    fs::File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok((!may_be_document(&head)).then_some("is not a document with text"))
}

/// Path of a file without links in its folders. The file keeps its own name, even if it is a link.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(folder(parent).canonicalize()?.join(name)),
        _ => path.canonicalize(),
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// A folder in a path: one of no name is the current one.
fn folder(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Predicate about a file that cannot be read.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "cannot be read: permission denied".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(path, content).expect("a file");
        };
        write("a.md", b"# A");
        write("deep/er/b.txt", b"B");
        write("deep/c.png", b"\x89PNG\r\n\x1a\n\0\0");
        write("deep/d.bin", &[0, 1, 2, 255]);
        write("deep/empty.txt", b"");
        write(".git/config", b"text");
        write("deep/.hidden.md", b"text");
        folder
    }

    fn names(folder: &Path, paths: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let paths: Vec<PathBuf> = paths.iter().map(|path| folder.join(path)).collect();
        let found = find(&paths);
        let name = |path: &Path| path.strip_prefix(folder).unwrap_or(path).display().to_string();
        let reasons = |path: &Path, reason: &str| format!("{} {reason}", name(path));
        (
            found.files.values().map(|file| name(&file.shown)).collect(),
            found.skipped.iter().map(|(path, reason)| reasons(path, reason)).collect(),
            found.failed.iter().map(|(path, reason)| reasons(path, reason)).collect(),
        )
    }

    #[test]
    fn a_folder_is_its_documents() {
        let folder = tree();
        let (files, skipped, failed) = names(folder.path(), &[""]);
        assert_eq!(files, ["a.md", "deep/er/b.txt"]);
        assert_eq!(
            skipped,
            [
                ".git is hidden",
                "deep/.hidden.md is hidden",
                "deep/c.png is not a document with text",
                "deep/d.bin is not a document with text",
                "deep/empty.txt is empty"
            ]
        );
        assert!(failed.is_empty(), "{failed:?}");
    }

    #[test]
    fn a_pattern_is_the_files_and_folders_that_match() {
        let folder = tree();
        let (files, skipped, failed) = names(folder.path(), &["**/*.*"]);
        assert_eq!(files, ["a.md", "deep/er/b.txt"]);
        assert_eq!((skipped.len(), failed.len()), (3, 0), "{skipped:?} {failed:?}");
        assert_eq!(names(folder.path(), &["d*/er", "a.md", "./a.md"]).0, ["a.md", "deep/er/b.txt"]);
        assert_eq!(names(folder.path(), &["*.pdf"]).2, ["*.pdf matches no file"]);
        assert_eq!(names(folder.path(), &["x.md"]).2, ["x.md does not exist"]);
        // What is named is not skipped.
        assert_eq!(names(folder.path(), &["deep/.hidden.md"]).0, ["deep/.hidden.md"]);
    }

    #[test]
    fn links_do_not_lead_round_in_circles() {
        let folder = tree();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("deep/again")).expect("a link");
        let (files, skipped, _) = names(folder.path(), &["deep"]);
        assert_eq!(files, ["deep/er/b.txt"]);
        assert!(skipped.contains(&"deep/again is a link to a folder".to_owned()), "{skipped:?}");
    }
}
