//! `simpleton ingest`, with a running server and without one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    eventually::eventually,
    harness::{Running, answer, run, simpleton},
    llama_server::llama_server,
    terminal::Terminal,
};

const DEADLINE: std::time::Duration = std::time::Duration::from_secs(50);

/// The command with the server's data directory, if there is a server on it.
fn ingest(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = simpleton(folder);
    command.env("DATA_DIR", folder.path().join("data")).env("LLAMA_SERVER", llama_server());
    command.arg("ingest").args(arguments);
    command
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

/// Documents of a collection, by their paths.
async fn documents(server: &Running, collection: &str) -> Vec<(String, Value)> {
    let path = format!("/rag/documents?collection={collection}");
    let reply = answer(server.request(reqwest::Method::GET, &path)).await;
    let documents = reply["documents"].as_array().cloned().unwrap_or_default();
    let root = server.folder.path().canonicalize().unwrap();
    let mut documents: Vec<(String, Value)> = documents
        .into_iter()
        .map(|document| {
            let path = Path::new(document["metadata"]["path"].as_str().unwrap());
            (path.strip_prefix(&root).unwrap().display().to_string(), document)
        })
        .collect();
    documents.sort_by(|(a, _), (b, _)| a.cmp(b));
    documents
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_added_and_later_only_what_has_changed() {
    let server = Running::start();
    let folder = server.folder.path();
    write(folder, "docs/a.md", "# Tides\n\nThe tide rises.");
    write(folder, "docs/deep/b.txt", "Boats leave at noon.");
    write(folder, "docs/logo.png", b"\x89PNG\r\n\x1a\n\0\0");
    write(folder, "docs/archive.zip", b"PK\x03\x04 nothing");
    write(folder, "docs/.git/config", "secret");
    write(folder, "docs/empty.txt", "");
    let add = || run(&mut ingest(&server.folder, &["docs"]));
    let (ok, said, told) = add();
    let lines: Vec<&str> = said.lines().collect();
    for line in [
        "docs/a.md: 1 chunk, 1 new",
        "docs/deep/b.txt: 1 chunk, 1 new",
        "docs/logo.png: skipped, because it is not a document with text",
        "docs/.git: skipped, because it is hidden",
        "docs/empty.txt: skipped, because it is empty",
    ] {
        assert!(lines.contains(&line), "{line}: {said}{told}");
    }
    assert!(!ok, "{said}{told}");
    assert!(told.contains("could not be added:\n") && told.contains("  docs/archive.zip: "), "{told}");
    let found = documents(&server, "documents").await;
    let names: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["docs/a.md", "docs/deep/b.txt"]);
    assert_eq!(found[0].1["title"], "Tides");

    fs::remove_file(folder.join("docs/archive.zip")).unwrap();
    write(folder, "docs/deep/b.txt", "Boats leave at six.");
    let (ok, said, told) = add();
    assert!(ok && told.is_empty(), "{said}{told}");
    for line in [
        "docs/a.md: 1 chunk unchanged",
        "docs/deep/b.txt: 1 chunk, 1 new",
        "Collection documents: 1 added or updated, 1 unchanged, 3 skipped",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_patterns_go_to_a_collection() {
    let server = Running::start();
    let folder = server.folder.path();
    for name in ["docs/a.md", "docs/deep/b.md", "docs/c.txt"] {
        write(folder, name, format!("The text of {name}."));
    }
    let (ok, said, told) =
        run(&mut ingest(&server.folder, &["docs/**/*.md", "docs/c.txt", "--collection", "mine"]));
    assert!(ok, "{said}{told}");
    let names: Vec<String> = documents(&server, "mine").await.into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, ["docs/a.md", "docs/c.txt", "docs/deep/b.md"]);
    // The same file may be in several collections.
    assert!(run(&mut ingest(&server.folder, &["docs/a.md"])).0);
    for (arguments, reason) in [
        (["docs/*.pdf"].as_slice(), "  docs/*.pdf: matches no file\n"),
        (&["docs/none.md"], "  docs/none.md: does not exist\n"),
        (&["docs/a.md", "--collection", "a/b"], "collection must have 1 to 128 characters"),
        (&[], "required"),
    ] {
        let (ok, said, told) = run(&mut ingest(&server.folder, arguments));
        assert!(!ok && told.contains(reason), "{arguments:?}: {said}{told}");
    }
    let (ok, said, told) = run(ingest(&server.folder, &["docs"]).env("API_KEYS", "another-key"));
    assert!(!ok && told.contains("does not accept this API key"), "{said}{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_it_works_alone() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.md", "The tide rises twice a day.");
    let (ok, said, told) = run(&mut ingest(&folder, &["a.md"]));
    assert!(ok && said.contains("a.md: 1 chunk, 1 new"), "{said}{told}");
    let mut command = simpleton(&folder);
    command.arg("serve");
    let server = Running::of(command, folder);
    let found = documents(&server, "documents").await;
    assert_eq!(found[0].0, "a.md");
    let root = server.folder.path().canonicalize().unwrap();
    let id = format!("documents:{}", root.join("a.md").display());
    assert_eq!(found[0].1["document_id"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_is_kept_in_step() {
    let server = Running::start();
    let folder = server.folder.path();
    write(folder, "docs/a.md", "The first text.");
    let old = write(folder, "docs/old.md", "A text that goes before the watch begins.");
    assert!(run(&mut ingest(&server.folder, &["docs"])).0);
    fs::remove_file(old).unwrap();
    let mut watch = ingest(&server.folder, &["docs", "--watch"]);
    let watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let names = async || -> Vec<String> {
        documents(&server, "documents").await.into_iter().map(|(path, _)| path).collect()
    };
    eventually(DEADLINE, "the old one is gone", async || names().await == ["docs/a.md"]).await;
    write(folder, "docs/new/b.md", "A second text.");
    eventually(DEADLINE, "the new one is there", async || names().await.len() == 2).await;
    let hash = async || documents(&server, "documents").await[0].1["content_hash"].clone();
    let before = hash().await;
    write(folder, "docs/a.md", "The first text, changed.");
    eventually(DEADLINE, "the changed one is new", async || hash().await != before).await;
    write(folder, "docs/new/c.md", "A third text.");
    eventually(DEADLINE, "the third one is there", async || names().await.len() == 3).await;
    // Only its front matter is left.
    write(folder, "docs/new/c.md", "---\ntitle: C\n---\n");
    eventually(DEADLINE, "the one without text is gone", async || names().await.len() == 2).await;
    fs::remove_file(folder.join("docs/a.md")).unwrap();
    eventually(DEADLINE, "the deleted one is gone", async || names().await == ["docs/new/b.md"]).await;
    assert!(Command::new("kill").args(["-INT", &watch.id().to_string()]).status().unwrap().success());
    let output = tokio::task::block_in_place(|| watch.wait_with_output()).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("watching for changes"), "{said}");
    assert_eq!(names().await, ["docs/new/b.md"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_it_and_leaves_the_old_version() {
    let server = Running::start();
    let folder = server.folder.path();
    write(folder, "a.md", "The first text.");
    assert!(run(&mut ingest(&server.folder, &["a.md"])).0);
    let long: String = (0..200_000).map(|number| format!("Sentence {number} is new. ")).collect();
    write(folder, "a.md", long);
    let before = documents(&server, "documents").await;
    let mut terminal = Terminal::open(ingest(&server.folder, &["a.md"]));
    terminal.wait_for("ingesting a.md").await;
    terminal.press("\u{3}");
    terminal.wait_for("Interrupted. Run the same command again to add the rest.").await;
    assert_eq!(terminal.ends().await, Some(130));
    assert_eq!(documents(&server, "documents").await, before);
}
