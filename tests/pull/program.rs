//! `simpleton model pull`, as a person runs it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    eventually::eventually,
    harness::{DEADLINE, Model},
    registry::Registry,
    relay::Relay,
};

fn simpleton(folder: &TempDir, registry: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simpleton"));
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command.env("HOME", folder.path()).env("DATA_DIR", folder.path()).env("MODEL_REGISTRY", registry);
    command
}

fn run(command: &mut Command) -> (bool, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// Bytes of all records of finished ranges.
fn recorded(blobs: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(blobs) else { return 0 };
    let records = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "json"));
    let done = records.filter_map(|path| {
        let record: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        record["done"].as_array().unwrap().iter().map(serde_json::Value::as_u64).sum::<Option<u64>>()
    });
    done.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_goes_on_after_a_kill() {
    let model = Model::large();
    let registry = Registry::with(&model, "library/large", "latest").await;
    let relay = Relay::start(registry.port, model.size() * 2 / 5).await;
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("models/blobs");
    let mut child = simpleton(&folder, &relay.url())
        .args(["model", "pull", "large"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let before = model.size() / 4;
    eventually(DEADLINE, "a record of what is there", async || recorded(&blobs) >= before).await;
    child.kill().unwrap();
    child.wait().unwrap();
    relay.open();
    let (ok, said, error) =
        tokio::task::block_in_place(
            || run(simpleton(&folder, &relay.url()).args(["model", "pull", "large"])),
        );
    assert!(ok && said.ends_with("verifying sha256 digest\nwriting manifest\nsuccess\n"), "{said}{error}");
    assert!(relay.passed() <= model.size() - before + 100_000, "{} of {}", relay.passed(), model.size());
    let (_, listed, _) = run(simpleton(&folder, &relay.url()).args(["model", "list"]));
    assert!(listed.contains("large"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_is_named_and_the_pull_goes_on_later() {
    let model = Model::demo();
    let registry = Registry::with(&model, "library/demo", "latest").await;
    let folder = tempfile::tempdir().unwrap();
    let pull = |limit: &str| {
        let program = simpleton(&folder, &registry.url());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limit} exec \"$0\" model pull demo")]).arg(program.get_program());
        shell
            .env_clear()
            .current_dir(&folder)
            .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        tokio::task::block_in_place(|| run(&mut shell))
    };
    // In units of 512 bytes.
    let (ok, _, error) = pull("ulimit -f 6000;");
    assert!(
        !ok && error.starts_with("The disk of the models directory is full; free some space and try again."),
        "{error}"
    );
    let (ok, said, error) = pull("");
    assert!(ok && said.ends_with("success\n"), "{said}{error}");
}

#[test]
fn a_name_that_is_none_is_refused_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["../x", "a\\b", "a\tb", "a:..", "a/../b", &"x".repeat(10_000)] {
        let (ok, _, error) = run(simpleton(&folder, "http://127.0.0.1:1").args(["model", "pull", name]));
        assert!(!ok && error.contains("must be a model name like qwen2.5:7b"), "{error}");
    }
}
