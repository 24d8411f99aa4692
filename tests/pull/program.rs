//! `simpleton model pull`, as a person runs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::SystemTime,
};

use tempfile::TempDir;

use crate::{
    eventually::eventually,
    harness::{DEADLINE, Model, digest},
    registry::Registry,
    relay::Relay,
    scripted::{Reply, Scripted},
};

pub fn simpleton(folder: &TempDir, registry: &str) -> Command {
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
pub fn recorded(blobs: &Path) -> u64 {
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
    let relay = Relay::start(registry.port, 0).await;
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("models/blobs");
    let mut before = 0;
    for _ in 0..2 {
        relay.allow(model.size() * 2 / 5);
        let mut child = simpleton(&folder, &relay.url())
            .args(["model", "pull", "large"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        before += model.size() / 4;
        eventually(DEADLINE, "a record of what is there", async || recorded(&blobs) >= before).await;
        child.kill().unwrap();
        child.wait().unwrap();
        relay.cut();
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_used_unless_the_registry_is_excepted() {
    let model = Model::demo();
    let proxy = Scripted::start(move |request| match request.path.rsplit_once("/blobs/") {
        _ if request.path.ends_with("/manifests/evil") => Reply::redirect("https://169.254.169.254/"),
        Some((_, digest)) => Reply::file(request, model.blob(digest).unwrap()),
        None => Reply::json(&model.manifest()),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let pull = |name: &str, excepted: &str| {
        let mut program = simpleton(&folder, "http://registry.test");
        program.env("HTTP_PROXY", proxy.url()).env("HTTPS_PROXY", proxy.url()).env("NO_PROXY", excepted);
        tokio::task::block_in_place(|| run(program.args(["model", "pull", name])))
    };
    let (ok, _, error) = pull("demo", "registry.test");
    assert!(!ok && error.starts_with("registry.test cannot be reached."), "{error}");
    assert!(proxy.requests().is_empty());
    let (ok, said, error) = pull("demo", "example.org");
    assert!(ok && said.ends_with("success\n"), "{said}{error}");
    assert!(
        proxy
            .requests()
            .iter()
            .all(|request| request.path.starts_with("http://registry.test/v2/library/demo/"))
    );
    let (ok, _, error) = pull("demo:evil", "");
    assert!(!ok && error.contains("has a private address, and is refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_a_certificate_of_its_own_is_trusted_when_that_is_named() {
    let registry = Registry::with_tls(&Model::demo(), "library/demo", "latest").await;
    let folder = tempfile::tempdir().unwrap();
    let url = registry.url();
    let pull =
        |program: &mut Command| tokio::task::block_in_place(|| run(program.args(["model", "pull", "demo"])));
    let (ok, _, error) = pull(&mut simpleton(&folder, &url));
    assert!(!ok && error.contains("certificate"), "{error}");
    let (ok, said, error) = pull(simpleton(&folder, &url).env("SSL_CERT_FILE", registry.certificate()));
    assert!(ok && said.ends_with("success\n"), "{said}{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_folder_of_ollamas_is_changed_by_a_pull() {
    let (theirs, ours) = (Model::large(), Model::demo());
    let registry = Registry::with(&ours, "library/demo", "latest").await;
    let (folder, ollama) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let blobs = ollama.path().join("blobs");
    let manifests = ollama.path().join("manifests/registry.ollama.ai/library/theirs");
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&manifests).unwrap();
    for (_, bytes) in &theirs.blobs {
        fs::write(blobs.join(digest(bytes).replace(':', "-")), bytes).unwrap();
    }
    let unfinished = blobs.join(digest(&ours.blobs[0].1).replace(':', "-") + "-partial");
    fs::write(&unfinished, "theirs").unwrap();
    fs::write(blobs.join(format!("{}-0", unfinished.display())), r#"{"N":0,"Completed":6}"#).unwrap();
    fs::write(manifests.join("latest"), theirs.manifest().to_string()).unwrap();
    let contents = || -> Vec<(PathBuf, SystemTime, u64)> {
        let files = [&blobs, &manifests].into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let mut files: Vec<_> = files
            .map(|file| (file.as_ref().unwrap().path(), file.unwrap().metadata().unwrap()))
            .map(|(path, metadata)| (path, metadata.modified().unwrap(), metadata.len()))
            .collect();
        files.sort();
        files
    };
    let before = contents();
    let model = |arguments: &[&str]| {
        let mut program = simpleton(&folder, &registry.url());
        tokio::task::block_in_place(|| {
            run(program.env("MODELS_DIR", ollama.path()).arg("model").args(arguments))
        })
    };
    let (ok, said, error) = model(&["pull", "demo"]);
    assert!(ok, "{said}{error}");
    let listed = model(&["list"]).1;
    assert!(listed.contains("theirs") && listed.contains("\ndemo "), "{listed}");
    let after = contents();
    assert!(after.len() == before.len() + ours.blobs.len() && before.iter().all(|file| after.contains(file)));
    assert!(model(&["remove", "demo"]).0);
    assert_eq!(contents(), before);
}

/// Ctrl-C, as a terminal sends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_goes_on_after_an_interrupt() {
    let model = Model::large();
    let registry = Registry::with(&model, "library/large", "latest").await;
    let relay = Relay::start(registry.port, 0).await;
    let folder = tempfile::tempdir().unwrap();
    relay.allow(model.size() * 2 / 5);
    let child = simpleton(&folder, &relay.url())
        .args(["model", "pull", "large"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let blobs = folder.path().join("models/blobs");
    eventually(DEADLINE, "a record of what is there", async || recorded(&blobs) >= model.size() / 4).await;
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = tokio::task::block_in_place(|| child.wait_with_output()).unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.ends_with("Interrupted. `simpleton model pull large` continues the download.\n"), "{told}");
    let before = recorded(&blobs);
    relay.cut();
    relay.open();
    let (ok, said, told) =
        tokio::task::block_in_place(
            || run(simpleton(&folder, &relay.url()).args(["model", "pull", "large"])),
        );
    assert!(ok && said.ends_with("success\n") && told.contains(" continues at "), "{said}{told}");
    assert!(relay.passed() <= model.size() - before + 100_000, "{} of {}", relay.passed(), model.size());
}

#[test]
fn a_name_that_is_none_is_refused_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["../x", "a\\b", "a\tb", "a:..", "a/../b", &"x".repeat(10_000)] {
        let (ok, _, error) = run(simpleton(&folder, "http://127.0.0.1:1").args(["model", "pull", name]));
        assert!(!ok && error.contains("must be a model name like qwen2.5:7b"), "{error}");
    }
}
