//! Files that the paths on the command line mean: files, folders and glob patterns.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fs::{self, Metadata},
    io::{self, Read},
    iter,
    path::{Component, Path, PathBuf},
};

use glob::Pattern;

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
    /// Files among these that have no text.
    pub(super) without_text: HashSet<PathBuf>,
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
        let is_fixed = |part: &Component| !part.as_os_str().to_string_lossy().contains(WILDCARDS);
        let mut parts = path.components().peekable();
        let fixed: PathBuf = iter::from_fn(|| parts.next_if(is_fixed)).collect();
        let parts: Result<Vec<Pattern>, _> =
            parts.map(|part| Pattern::new(&part.as_os_str().to_string_lossy())).collect();
        let parts = match Pattern::new(pattern).and(parts) {
            Ok(parts) => parts,
            Err(error) => {
                return self.failed.push((path.to_owned(), format!("is not a valid pattern: {error}")));
            }
        };
        self.roots.extend(folder(&fixed).canonicalize());
        let failures = self.failed.len();
        let mut matches = Vec::new();
        self.matches(&fixed, &parts, &mut matches);
        if matches.is_empty() && self.failed.len() == failures {
            self.failed.push((path.to_owned(), "matches no file".to_owned()));
        }
        for path in matches {
            match fs::metadata(&path) {
                Ok(metadata) => self.add(&path, metadata, false),
                Err(error) => self.fail(&path, &error),
            }
        }
    }

    /// Finds what these parts of a pattern match in a folder. Hidden names only match a part that begins with a dot.
    fn matches(&mut self, within: &Path, parts: &[Pattern], matches: &mut Vec<PathBuf>) {
        let Some((part, rest)) = parts.split_first() else {
            return matches.push(within.to_owned());
        };
        let is_any_depth = part.as_str() == "**";
        if is_any_depth {
            self.matches(within, rest, matches);
            if rest.is_empty() {
                return;
            }
        }
        if !part.as_str().contains(WILDCARDS) {
            let path = within.join(part.as_str());
            if path.symlink_metadata().is_ok() {
                self.matches(&path, rest, matches);
            }
            return;
        }
        for entry in self.entries(folder(within), within) {
            let (name, path) = (entry.file_name(), within.join(entry.file_name()));
            let shows = !is_hidden(&name) || part.as_str().starts_with('.');
            // Links to folders are not followed at any depth: they may lead back.
            let is_folder = || entry.file_type().is_ok_and(|kind| kind.is_dir());
            match is_any_depth {
                true if shows && is_folder() => self.matches(&path, parts, matches),
                false if shows && part.matches(&name.to_string_lossy()) => self.matches(&path, rest, matches),
                _ => {}
            }
        }
    }

    /// Entries of a folder by name; none if there is no such folder.
    fn entries(&mut self, real: &Path, shown: &Path) -> Vec<fs::DirEntry> {
        use io::ErrorKind::{NotADirectory, NotFound};
        let entries = fs::read_dir(real).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = entries.unwrap_or_else(|error| {
            if !matches!(error.kind(), NotFound | NotADirectory) {
                self.fail(shown, &error);
            }
            Vec::new()
        });
        entries.sort_by_key(fs::DirEntry::file_name);
        entries
    }

    /// Everything in a folder. Links to folders are not followed: they may lead back.
    fn walk(&mut self, shown: &Path, real: &Path) {
        for entry in self.entries(real, shown) {
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
            Ok(Some(reason)) => {
                self.skipped.push((shown, reason));
                self.without_text.insert(real);
            }
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
    fn a_pattern_matches_names_that_are_not_utf8() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tree();
        let name = OsStr::from_bytes(b"caf\xe9.md");
        fs::write(folder.path().join(name), "text").expect("a file");
        std::os::unix::fs::symlink(folder.path(), folder.path().join("deep/again")).expect("a link");
        assert_eq!(names(folder.path(), &["*.md"]).0, ["a.md", "caf\u{fffd}.md"]);
        assert_eq!(names(folder.path(), &["**/*.md"]).0, ["a.md", "caf\u{fffd}.md"]);
        assert_eq!(names(folder.path(), &["caf?.md"]).0, ["caf\u{fffd}.md"]);
        assert_eq!(names(folder.path(), &["**"]).0, ["a.md", "caf\u{fffd}.md", "deep/er/b.txt"]);
        assert_eq!(names(folder.path(), &["deep/.h*"]).0, ["deep/.hidden.md"]);
        for pattern in ["nowhere/*.md", "a.md/*"] {
            assert_eq!(names(folder.path(), &[pattern]).2, [format!("{pattern} matches no file")]);
        }
        let failed = &names(folder.path(), &["a**"]).2;
        assert!(failed[0].starts_with("a** is not a valid pattern"), "{failed:?}");
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
