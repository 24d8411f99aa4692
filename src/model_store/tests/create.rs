//! Models made from others and from uploaded files.

use serde_json::json;

use super::*;
use crate::types::{BaseModel, CreateModel};

fn create(model: &str, base: BaseModel) -> CreateModel {
    let (system, license, messages) = (None, None, Vec::new());
    CreateModel { name: name(model), base, system, license, parameters: serde_json::Map::new(), messages }
}

fn upload(setup: &Setup, bytes: &[u8]) -> String {
    let digest = Digest::of(bytes).to_string();
    let mut upload = setup.model_store.begin_upload(&digest).expect("an upload");
    bytes.chunks(1000).for_each(|piece| upload.write(piece).expect("a write"));
    upload.finish().expect("the announced digest");
    digest
}

fn found(setup: &Setup, model: &str) -> Arc<Entry> {
    setup.model_store.find(&name(model)).expect("no fault").expect("a model")
}

#[test]
fn a_model_made_from_another_has_its_files_and_texts_of_its_own() {
    let setup = Setup::new();
    let base = setup.import("base");
    let from = |model: &str| BaseModel::Model(name(model));
    let parameters = json!({"num_ctx": 512, "temperature": 0.5});
    let first = CreateModel {
        system: Some("Be brief.".to_owned()),
        license: Some("MIT".to_owned()),
        parameters: parameters.as_object().expect("an object").clone(),
        messages: vec![(Role::User, "Hi".to_owned())],
        ..create("mine", from("base"))
    };
    setup.model_store.create(&first).expect("a model");
    let mine = found(&setup, "mine");
    assert_eq!(mine.weights_digest, base.weights_digest);
    assert_eq!((mine.modelfile.context, mine.modelfile.license.as_deref()), (Some(512), Some("MIT")));
    assert_eq!(mine.modelfile.defaults.messages, [(Role::User, "Hi".to_owned())]);

    // What is not given stays as it is in the base, parameter by parameter.
    let parameters = json!({"temperature": 1});
    let second = CreateModel {
        parameters: parameters.as_object().expect("an object").clone(),
        ..create("mine", from("mine"))
    };
    setup.model_store.create(&second).expect("a model");
    let again = found(&setup, "mine");
    assert_eq!(
        again.modelfile.parameters,
        *json!({"num_ctx": 512, "temperature": 1}).as_object().expect("an object")
    );
    assert_eq!(again.modelfile.defaults.system.as_deref(), Some("Be brief."));

    setup.model_store.remove(&name("mine")).expect("removed");
    assert_eq!((setup.listed(), setup.blobs()), (vec!["base".to_owned()], 2));
    let missing = setup.model_store.create(&create("other", from("nothing"))).expect_err("it is missing");
    assert_eq!(missing.kind(), Kind::NotFound);
    let demo =
        setup.model_store.create(&create(DEMO_MODEL, from("base"))).expect_err("it is the demo's name");
    assert_eq!(demo.kind(), Kind::Invalid);
}

#[test]
fn a_model_is_made_from_uploaded_files() {
    let setup = Setup::new();
    let (weights, eye) = (Writer::decoder().bytes(), Writer::projector().bytes());
    let digests = vec![upload(&setup, &eye), upload(&setup, &weights)];
    assert!(digests.iter().all(|digest| setup.model_store.has_blob(digest).expect("a digest")));
    assert!(setup.listed().is_empty());
    setup.model_store.create(&create("seen", BaseModel::Files(digests.clone()))).expect("a model");
    let seen = found(&setup, "seen");
    assert!(seen.model.can(Capability::Vision));
    setup.verify(&seen).expect("whole files");
    // From the same files, which are now those of a model.
    setup.model_store.create(&create("again", BaseModel::Files(digests.clone()))).expect("a model");
    assert_eq!(setup.blobs(), 3, "weights, projector and the config of both");
    setup.model_store.remove(&name("seen")).expect("removed");
    setup.verify(&found(&setup, "again")).expect("its files are still there");
}

#[test]
fn files_that_are_no_model_are_refused_and_names_of_files_are_no_digests() {
    let setup = Setup::new();
    let zip = upload(&setup, b"PK\x03\x04");
    let eye = upload(&setup, &Writer::projector().bytes());
    let absent = Digest::of(b"absent").to_string();
    for (digests, kind) in [
        (vec![zip], Kind::Invalid),
        (vec![eye], Kind::Invalid),
        (vec![absent.clone()], Kind::NotFound),
        (vec!["../../etc/passwd".to_owned()], Kind::Invalid),
        (vec!["/etc/passwd".to_owned()], Kind::Invalid),
        (Vec::new(), Kind::Invalid),
    ] {
        let error = setup
            .model_store
            .create(&create("bad", BaseModel::Files(digests.clone())))
            .expect_err("no model");
        assert_eq!(error.kind(), kind, "{digests:?}: {error}");
    }
    assert!(setup.listed().is_empty());
    assert!(!setup.model_store.has_blob(&absent).expect("a digest"));
    setup.model_store.has_blob("sha256:../x").expect_err("no digest");
    let mut wrong = setup.model_store.begin_upload(&absent).expect("an upload");
    wrong.write(b"something else").expect("a write");
    assert_eq!(wrong.finish().expect_err("another digest").kind(), Kind::Invalid);
    assert!(!setup.model_store.has_blob(&absent).expect("a digest"));
}
