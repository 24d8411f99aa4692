//! `--watch`: documents follow their files. Files are polled every few seconds, which also works in containers and on
//! network file systems, where the kernel does not report changes.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::sleep;

use super::{
    Ingestion, LocalServer,
    form::document_id,
    paths::{File, Found, find},
};
use crate::{
    cli::{
        running_server::RunningServer,
        terminal::{printable, say},
    },
    config::Config,
    error::{Kind, Result},
};

/// Time between two scans of the files, unless scans take long.
const PACE: Duration = Duration::from_secs(2);
/// Wait at least this many times as long as a scan took.
const SHARE: u32 = 10;
/// Time before the next attempt when the server cannot be reached.
const RETRY: Duration = Duration::from_secs(10);
/// Documents in one page of the list.
const PAGE: usize = 1000;

/// Size of a file and time of its last change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, Option<SystemTime>);

impl Stamp {
    fn of(file: &File) -> Self {
        Self(file.metadata.len(), file.metadata.modified().ok())
    }
}

/// State of the files as known so far.
#[derive(Default)]
struct Seen {
    /// At the last scan.
    last: HashMap<PathBuf, Stamp>,
    /// When they were added, or refused.
    done: HashMap<PathBuf, Stamp>,
    /// Paths that were reported as skipped or unreadable, with the reason.
    said: HashSet<(PathBuf, String)>,
}

/// Keeps documents in step with files until it is dropped.
pub(super) async fn watch(
    ingestion: &mut Ingestion,
    paths: &[PathBuf],
    server: &mut LocalServer,
    config: &Config,
) -> Result<()> {
    let mut seen = Seen::default();
    let mut is_first = true;
    loop {
        let started = Instant::now();
        let found = find(paths);
        let looked = started.elapsed();
        seen.say_new(ingestion, &found);
        match step(ingestion, server.api(), &found, &mut seen, is_first).await {
            Ok(()) => {
                if is_first {
                    say(format_args!("{}; watching for changes, press Ctrl-C to stop", ingestion.summary()));
                }
                is_first = false;
            }
            Err(error) if error.kind() == Kind::Unavailable => {
                let seconds = RETRY.as_secs();
                eprintln!("{}", printable(&format!("{} Trying again in {seconds} s.", error.message())));
                sleep(RETRY).await;
                server.find_again(config)?;
            }
            Err(error) => return Err(error),
        }
        sleep(PACE.max(looked * SHARE)).await;
    }
}

/// Adds what has changed and removes what was deleted.
async fn step(
    ingestion: &mut Ingestion,
    server: &RunningServer,
    found: &Found,
    seen: &mut Seen,
    is_first: bool,
) -> Result<()> {
    if is_first {
        // Files of earlier runs.
        for path in documents(ingestion, server).await? {
            if found.folders.iter().any(|folder| path.starts_with(folder)) {
                seen.done.entry(path).or_insert(Stamp(u64::MAX, None));
            }
        }
    }
    let gone: Vec<PathBuf> = seen.done.keys().filter(|path| is_gone(path, found)).cloned().collect();
    for path in gone {
        remove(ingestion, server, &path).await?;
        seen.done.remove(&path);
    }
    for (path, file) in &found.files {
        let stamp = Stamp::of(file);
        // A file that was just written may be incomplete until the next scan.
        let is_settled = is_first || seen.last.insert(path.clone(), stamp) == Some(stamp);
        if is_settled && seen.done.get(path) != Some(&stamp) {
            ingestion.failed.retain(|(failed, _)| *failed != file.shown);
            for path in ingestion.add(server, [(path, file)].into_iter()).await? {
                remove(ingestion, server, &path).await?;
            }
            seen.done.insert(path.clone(), stamp);
        }
    }
    Ok(())
}

impl Seen {
    /// Reports each path that is skipped or unreadable, once.
    fn say_new(&mut self, ingestion: &mut Ingestion, found: &Found) {
        for (path, reason) in &found.skipped {
            if self.said.insert((path.clone(), (*reason).to_owned())) {
                ingestion.skip(path, reason);
            }
        }
        for failed in &found.failed {
            if self.said.insert(failed.clone()) {
                ingestion.fail(&failed.0, failed.1.clone());
            }
        }
    }
}

/// Whether a watched file was deleted, or has no text any more. A file whose folder cannot be read, for example because
/// a disk is not mounted, was not deleted.
fn is_gone(path: &Path, found: &Found) -> bool {
    let is_watched = found.missing.iter().any(|missing| missing == path)
        || found.roots.iter().any(|root| path.starts_with(root) && fs::read_dir(root).is_ok());
    let is_missing =
        || fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    found.without_text.contains(path) || is_watched && !found.files.contains_key(path) && is_missing()
}

async fn remove(ingestion: &mut Ingestion, server: &RunningServer, path: &Path) -> Result<()> {
    let id = document_id(&ingestion.collection, path);
    let id = utf8_percent_encode(id.as_str(), NON_ALPHANUMERIC);
    match server.delete(&format!("/rag/documents/{id}")).await {
        Ok(_) => {
            ingestion.counts.removed += 1;
            say(format_args!("{}: removed", path.display()));
            Ok(())
        }
        // The file was refused while it existed.
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Paths of the collection's documents that were added as files.
async fn documents(ingestion: &Ingestion, server: &RunningServer) -> Result<Vec<PathBuf>> {
    let collection = utf8_percent_encode(ingestion.collection.as_str(), NON_ALPHANUMERIC);
    let (mut paths, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/rag/documents?collection={collection}&limit={PAGE}{after}");
        let page = match server.get(&path).await {
            Err(error) if error.kind() == Kind::NotFound => return Ok(paths),
            page => page?,
        };
        for document in page["documents"].as_array().into_iter().flatten() {
            let path = document["metadata"]["path"].as_str().map(PathBuf::from);
            let is_ours = |path: &PathBuf| {
                document["document_id"].as_str() == Some(document_id(&ingestion.collection, path).as_str())
            };
            paths.extend(path.filter(is_ours));
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", utf8_percent_encode(next, NON_ALPHANUMERIC)),
            None => return Ok(paths),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_text_has_no_document() {
        let folder = tempfile::tempdir().expect("a folder");
        let watched = [folder.path().to_owned()];
        let file = folder.path().canonicalize().expect("a folder").join("a.md");
        for (content, gone) in [(b"Text.".as_slice(), false), (b"", true), (&[0, 1, 2, 255], true)] {
            fs::write(&file, content).expect("a file");
            assert_eq!(is_gone(&file, &find(&watched)), gone, "{content:?}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_deletion() {
        let folder = tempfile::tempdir().expect("a folder");
        let (docs, away) = (folder.path().join("docs"), folder.path().join("away"));
        fs::create_dir(&docs).expect("a folder");
        let write = || fs::write(docs.join("a.md"), "Text.").expect("a file");
        write();
        for watched in [docs.clone(), docs.join("a.md"), docs.join("*.md")] {
            let watched = [watched];
            let path = find(&watched).files.into_keys().next().expect("the file");
            assert!(!is_gone(&path, &find(&watched)));
            fs::rename(&docs, &away).expect("a new name");
            assert!(!is_gone(&path, &find(&watched)), "{watched:?}");
            fs::rename(&away, &docs).expect("the old name");
            fs::remove_file(&path).expect("no file");
            assert!(is_gone(&path, &find(&watched)), "{watched:?}");
            write();
        }
    }
}
