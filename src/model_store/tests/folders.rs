//! Our own folder, and one of another program.

use std::{os::unix::fs::symlink, process::Command};

use super::*;

/// Our own folder beside a named one, both within the first.
fn beside(named: &Path) -> (TempDir, ModelStore) {
    let data = TempDir::new().expect("a folder");
    let settings = Settings { models_dir: Some(named.to_owned()) };
    let model_store = ModelStore::configured(&settings, data.path()).expect("a library");
    (data, model_store)
}

/// Every file and folder below, with its mode and time.
fn inventory(folder: &Path) -> Vec<(PathBuf, u32, SystemTime)> {
    use std::os::unix::fs::PermissionsExt;
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).expect("a file");
        found.push((path.clone(), metadata.permissions().mode(), metadata.modified().expect("a time")));
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        }
    }
    found.sort();
    found
}

#[test]
fn somebody_elses_folder_is_only_read() {
    let theirs = Setup::new();
    theirs.ollama(
        "llava",
        &[("model", &Writer::decoder().bytes()), ("projector", &Writer::projector().bytes())],
    );
    let before = inventory(theirs.models.path());
    let (data, model_store) = beside(theirs.models.path());
    let demo = model_store.install_demo().expect("the demo model");
    assert!(demo.weights.starts_with(data.path()), "{}", demo.weights.display());
    let entries = model_store.list().expect("a list");
    let names: Vec<&str> = entries.iter().map(|entry| entry.model.name.as_str()).collect();
    assert_eq!(names, ["llava", DEMO_MODEL]);
    for entry in &entries {
        model_store.verify(entry, &CancellationToken::new()).expect("it is whole");
        assert!(model_store.find(&entry.name).expect("a search").is_some());
    }
    assert_eq!(inventory(theirs.models.path()), before);
    // To import is to ask for it.
    let gguf = theirs.file("mine.gguf", &Writer::decoder().text("general.name", "mine").bytes());
    let mine = take(&model_store, &name("mine"), &gguf, None).expect("an import");
    assert!(mine.weights.starts_with(theirs.models.path()));
    model_store.remove(&name("mine")).expect("a removal");
    model_store.copy(&name(DEMO_MODEL), &name("copy")).expect("a copy in our own");
    model_store.remove(&name("copy")).expect("a removal from our own");
    assert_eq!(model_store.list().expect("a list").len(), 2);
}

#[test]
fn of_two_models_with_one_name_the_named_folder_has_the_one() {
    let theirs = Setup::new();
    let there = theirs.import("same");
    let (data, model_store) = beside(theirs.models.path());
    let own = ModelStore::open(data.path().join("models")).expect("a library");
    let gguf = theirs.file("own.gguf", &Writer::decoder().text("general.name", "own").bytes());
    take(&own, &name("same"), &gguf, None).expect("an import");
    assert_eq!(model_store.list().expect("a list").len(), 1);
    let found = model_store.find(&name("same")).expect("a search").expect("a model");
    assert_eq!(found.weights, there.weights);
}

#[test]
fn a_folder_that_cannot_be_read_is_named_and_one_to_come_is_not_made() {
    let setup = Setup::new();
    let data = TempDir::new().expect("a folder");
    let open =
        |dir: &Path| ModelStore::configured(&Settings { models_dir: Some(dir.to_owned()) }, data.path());
    let file = setup.file("file", b"x");
    let error = open(&file).expect_err("a file");
    assert!(error.kind() == Kind::Setup && error.message().contains(&*file.to_string_lossy()), "{error}");
    let missing = setup.files.path().join("missing");
    let model_store = open(&missing).expect("a library");
    model_store.install_demo().expect("the demo model");
    assert_eq!(model_store.list().expect("a list").len(), 1);
    assert!(!missing.exists());
    let gguf = setup.file("model.gguf", &Writer::decoder().bytes());
    take(&model_store, &name("mine"), &gguf, None).expect("an import makes it");
    assert!(missing.join("blobs").is_dir());
    let plain = ModelStore::configured(&Settings { models_dir: None }, data.path()).expect("a library");
    assert_eq!(plain.folders().collect::<Vec<_>>(), [data.path().join("models")]);
}

#[test]
fn pipes_are_not_waited_for_and_links_not_walked() {
    let setup = Setup::new();
    setup.import("good");
    let model_store = setup.models.path().join("manifests/registry.ollama.ai/library");
    let pipe = |path: &Path| {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
    };
    pipe(&model_store.join("piped/latest"));
    pipe(&model_store.join("behind/pipe"));
    symlink(model_store.join("behind/pipe"), model_store.join("behind/latest")).expect("a link");
    symlink("/dev/zero", model_store.join("behind/zero")).expect("a link");
    symlink("/", setup.models.path().join("manifests/root")).expect("a link");
    symlink("/", model_store.join("root")).expect("a link");
    // A model whose file is a pipe.
    let bytes = Writer::decoder().text("general.name", "blob").bytes();
    setup.ollama("blob", &[("model", &bytes)]);
    let blob = setup.blobs_folder().join(Digest::of(&bytes).blob_name());
    fs::remove_file(&blob).expect("a blob");
    pipe(&blob);

    assert_eq!(setup.listed(), ["good"]);
    let found = manifest::find_all(setup.models.path());
    assert!(found.unreadable.is_empty());
    let walked = found.manifests.iter().find(|(_, path)| path.starts_with(model_store.join("root")));
    assert!(walked.is_none() && found.manifests.len() < 6, "{found:?}");
    for model in ["piped", "behind", "behind:zero", "blob"] {
        setup.model_store.find(&name(model)).expect_err(model);
    }
    let gguf = setup.files.path().join("pipe.gguf");
    pipe(&gguf);
    take(&setup.model_store, &name("new"), &gguf, None).expect_err("a pipe");
    setup.import("other");
    setup.model_store.remove(&name("other")).expect("a removal, which reads all manifests");
    setup.model_store.remove(&name("good")).expect("a removal");

    let upwards = TempDir::new().expect("a folder");
    symlink("/", upwards.path().join("manifests")).expect("a link");
    assert!(manifest::find_all(upwards.path()).manifests.is_empty());
}
