//! Adding models and removing them.

use super::*;

#[test]
fn only_models_are_imported() {
    let setup = Setup::new();
    let whole = Writer::decoder().bytes();
    let model = setup.file("model.gguf", &whole);
    for (file, projector, part) in [
        (setup.file("zip", b"PK\x03\x04"), None, "it is not a GGUF file"),
        (setup.file("cut", &whole[..whole.len() - 7]), None, "at least 7 bytes are missing"),
        (setup.file("clip", &Writer::projector().bytes()), None, "a part of a language model"),
        (setup.files.path().join("nowhere"), None, "does not exist"),
        (setup.files.path().to_owned(), None, "it is not a GGUF file"),
        (model.clone(), Some(model.clone()), "it is not a vision projector"),
    ] {
        let error = take(&setup.model_store, &name("mine"), &file, projector.as_deref()).expect_err(part);
        assert_eq!(error.kind(), Kind::Invalid, "{part}");
        assert!(error.message().contains(part), "{error}");
    }
    assert_eq!((setup.listed().len(), setup.blobs()), (0, 0), "nothing is left behind");
}

#[test]
fn importing_again_changes_nothing() {
    let setup = Setup::new();
    let gguf = setup.file("model.gguf", &Writer::decoder().bytes());
    let projector = setup.file("eye.gguf", &Writer::projector().bytes());
    let import = || take(&setup.model_store, &name("mine"), &gguf, Some(&projector)).expect("an import");
    let first = import();
    let second = import();
    assert_eq!(first.model.digest, second.model.digest);
    assert!(second.model.can(Capability::Vision));
    assert_eq!(setup.blobs(), 3, "weights, projector and config; no unfinished file");

    // A damaged blob is put right by the next import.
    fs::remove_file(&first.weights).expect("the link");
    fs::write(&first.weights, vec![0; gguf.metadata().expect("a size").len() as usize]).expect("a blob");
    setup.model_store.find(&name("mine")).expect_err("it is damaged");
    setup.verify(&import()).expect("it is whole again");
}

#[test]
fn a_replaced_model_leaves_nothing_behind() {
    let setup = Setup::new();
    setup.import("mine");
    let kept = setup.import("other");
    let gguf = setup.file("new.gguf", &Writer::decoder().text("general.name", "new").bytes());
    take(&setup.model_store, &name("mine"), &gguf, None).expect("an import");
    // Two models and the one config that they share.
    assert_eq!(setup.blobs(), 4);
    setup.verify(&kept).expect("the other one was left alone");
}

#[test]
fn a_file_that_two_models_use_stays() {
    let setup = Setup::new();
    let gguf = setup.file("model.gguf", &Writer::decoder().bytes());
    for model in ["one", "two"] {
        take(&setup.model_store, &name(model), &gguf, None).expect("an import");
    }
    // A broken manifest protects what it mentions as well.
    let digest = Digest::of(&Writer::decoder().bytes());
    setup.manifest("three", &format!("{{ {digest} "));
    for model in ["one", "two"] {
        setup.model_store.remove(&name(model)).expect("a removal");
        assert!(setup.blobs_folder().join(digest.blob_name()).exists(), "{model}");
    }
    setup.model_store.remove(&name("three")).expect("a removal");
    assert_eq!(setup.blobs(), 0);
}

#[test]
fn two_imports_at_once() {
    let setup = Setup::new();
    let gguf = setup.file("model.gguf", &Writer::decoder().bytes());
    std::thread::scope(|scope| {
        for round in 0..8 {
            let (model_store, gguf) = (setup.model_store.clone(), &gguf);
            scope.spawn(move || {
                let model = name(["one", "two"][round % 2]);
                take(&model_store, &model, gguf, None).expect("an import");
                model_store.list().expect("a list");
            });
        }
    });
    assert_eq!(setup.listed(), ["one", "two"]);
    assert_eq!(setup.blobs(), 2);
    for entry in setup.model_store.list().expect("a list") {
        setup.verify(&entry).expect("it is whole");
    }
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_imported_as_the_file_behind_it() {
    let setup = Setup::new();
    let gguf = setup.file("model.gguf", &Writer::decoder().bytes());
    let link = setup.files.path().join("link.gguf");
    std::os::unix::fs::symlink(&gguf, &link).expect("a link");
    let entry = take(&setup.model_store, &name("mine"), &link, None).expect("an import");
    fs::remove_file(gguf).expect("a file");
    setup.verify(&entry).expect("it does not need the source any more");
}

#[test]
fn an_abandoned_copy_is_removed_by_the_next_import() {
    let setup = Setup::new();
    setup.import("mine");
    let age = |file_name: &str, hours: u64| {
        let path = setup.blobs_folder().join(file_name);
        let file = fs::File::create(&path).expect("a file");
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 60 * 60)).expect("an age");
        path
    };
    let (abandoned, running) = (age(".unfinished-a", 30), age(".unfinished-b", 1));
    setup.import("other");
    assert!(!abandoned.exists() && running.exists());
}

/// An imported file is linked where possible, so that this is the price of not copying gigabytes.
#[test]
fn a_source_that_is_written_over_is_refused() {
    let setup = Setup::new();
    let gguf = setup.file("model.gguf", &Writer::decoder().bytes());
    let entry = take(&setup.model_store, &name("mine"), &gguf, None).expect("an import");
    setup.verify(&entry).expect("it is whole");
    let mut bytes = Writer::decoder().bytes();
    bytes.reverse();
    fs::write(&gguf, bytes).expect("a file");
    touch(&gguf);
    setup.verify(&entry).expect_err("it is another file now");
}

#[test]
fn a_name_that_is_taken_is_refused_and_the_demos_always() {
    let setup = Setup::new();
    let first = setup.import("mine");
    let gguf = setup.file("new.gguf", &Writer::decoder().text("general.name", "new").bytes());
    let mine = name("mine");
    let import = Import { name: &mine, gguf: &gguf, projector: None, replace: false };
    let error = setup.model_store.import(import, |_, _| {}).expect_err("it is there");
    assert_eq!(error.message(), "The model mine already exists; use --force to replace it.");
    // So is one that cannot be used: its files may be under repair.
    fs::remove_file(&first.weights).expect("a blob");
    setup.model_store.import(import, |_, _| {}).expect_err("it is there");
    setup.model_store.import(Import { replace: true, ..import }, |_, _| {}).expect("an import");
    let demo = name(&DEMO_MODEL.to_uppercase());
    let error = take(&setup.model_store, &demo, &gguf, None).expect_err("the next start would replace it");
    assert!(error.message().contains("choose another name"), "{error}");
}

#[test]
fn an_import_tells_how_far_it_is() {
    let setup = Setup::new();
    let gguf = setup.file("model.gguf", &Writer::decoder().bytes());
    let projector = setup.file("eye.gguf", &Writer::projector().bytes());
    let size = |path: &Path| path.metadata().expect("a file").len();
    let (mut told, mine) = (Vec::new(), name("mine"));
    let import = Import { name: &mine, gguf: &gguf, projector: Some(&projector), replace: false };
    setup.model_store.import(import, |done, all| told.push((done, all))).expect("an import");
    let all = size(&gguf) + size(&projector);
    assert_eq!(told.last(), Some(&(all, all)));
    assert!(told.contains(&(size(&gguf), all)) && told.is_sorted(), "{told:?}");
}
