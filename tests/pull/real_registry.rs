//! Pulls from a real registry.

use std::fs;

use simpleton::{error::Kind, types::Capability};

use crate::{
    harness::{Model, Rig, digest, finish},
    registry::Registry,
    relay::Relay,
};

#[tokio::test]
async fn a_model_is_pulled_and_verified() {
    let model = Model::demo();
    let registry = Registry::with(&model, "library/demo", "v1").await;
    let rig = Rig::new(&registry.url());
    let steps = rig.pull("Demo:v1").await.expect_err("the registry has lower case");
    assert_eq!(steps.kind(), Kind::NotFound);
    let steps = rig.pull("demo:v1").await.unwrap();
    rig.check_installed("DEMO:V1");
    let entry = rig.store.find(&"demo:v1".parse().unwrap()).unwrap().unwrap();
    assert!(entry.model.can(Capability::Vision) && entry.model.size == model.size());
    assert_eq!(rig.blob_names().len(), model.blobs.len());

    let mut statuses: Vec<&str> = steps.iter().map(|step| step.status.as_str()).collect();
    statuses.dedup();
    let short = |at: usize| format!("pulling {}", &digest(&model.blobs[at].1)["sha256:".len()..][..12]);
    let pulling: Vec<String> = (0..model.blobs.len()).map(short).collect();
    let expected = [
        vec!["pulling manifest"],
        pulling.iter().map(String::as_str).collect(),
        vec!["verifying sha256 digest", "writing manifest", "success"],
    ];
    assert_eq!(statuses, expected.concat());
    let last = steps.iter().rev().find_map(|step| step.file.clone()).unwrap();
    assert_eq!((last.completed, last.resumed), (last.total, 0));

    // A second pull downloads nothing, and repairs what is damaged.
    let steps = rig.pull("demo:v1").await.unwrap();
    let files = || steps.iter().filter_map(|step| step.file.as_ref());
    assert!(files().count() == model.blobs.len() && files().all(|file| file.resumed == file.total));
    let path = rig.blobs().join(digest(&model.blobs[0].1).replace(':', "-"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[5_000_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    rig.pull("demo:v1").await.unwrap();
    rig.check_installed("demo:v1");
}

#[tokio::test]
async fn a_host_in_a_name_is_one_of_the_registries() {
    let registry = Registry::with(&Model::demo(), "team/demo", "latest").await;
    let rig = Rig::new(&format!("https://registry.example.org,{}", registry.url()));
    let name = format!("127.0.0.1:{}/team/demo", registry.port);
    rig.pull(&name).await.unwrap();
    rig.check_installed(&name);
    // A mirror comes first.
    let mirror = Rig::new(&format!("{},https://registry.ollama.ai", registry.url()));
    mirror.pull("team/demo").await.unwrap();
    mirror.check_installed("registry.ollama.ai/team/demo:latest");
    let error = rig.failure("elsewhere.example.org/team/demo").await;
    assert_eq!(
        error.message(),
        "elsewhere.example.org is not among the registries; add https://elsewhere.example.org to MODEL_REGISTRY."
    );
    let error = rig.failure(&format!("127.0.0.1:{}/team/other", registry.port)).await;
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.message().contains("check its name and tag"), "{error}");
}

#[tokio::test]
async fn a_download_goes_on_where_a_killed_registry_left_it() {
    let model = Model::large();
    let mut registry = Registry::with(&model, "library/large", "latest").await;
    let relay = Relay::start(registry.port, model.size() * 2 / 5).await;
    let rig = Rig::new(&relay.url());
    let pull = rig.puller.pull(&"large".parse().unwrap());
    relay.is_full().await;
    registry.kill();
    relay.cut();
    let error = finish(pull).await.expect_err("the registry is gone");
    assert!(matches!(error.kind(), Kind::BadGateway | Kind::Unavailable | Kind::GatewayTimeout), "{error:?}");
    let names = rig.blob_names();
    assert!(names.iter().all(|name| name.starts_with(".partial-")), "{names:?}");

    registry.restart().await;
    relay.open();
    let steps = rig.pull("large").await.unwrap();
    rig.check_installed("large");
    let resumed = steps.iter().filter_map(|step| step.file.as_ref()).map(|file| file.resumed).max().unwrap();
    assert!(resumed >= model.size() / 4, "resumed at {resumed} of {}", model.size());
    assert!(relay.passed() <= model.size() - resumed + 100_000, "{} of {}", relay.passed(), model.size());
}

#[tokio::test]
async fn a_blob_that_is_corrupted_is_not_installed() {
    let model = Model::demo();
    let registry = Registry::with(&model, "library/demo", "latest").await;
    let (weights, path) = (&model.blobs[0].1, registry.blob_path(&digest(&model.blobs[0].1)));
    let mut corrupted = weights.clone();
    corrupted[1_000_000] ^= 1;
    fs::write(&path, corrupted).unwrap();
    let rig = Rig::new(&registry.url());
    let error = rig.failure("demo").await;
    assert!(error.message().ends_with("sent a file that does not match its checksum."), "{error}");
    assert_eq!(rig.blob_names(), [""; 0]);
    fs::write(&path, weights).unwrap();
    rig.pull("demo").await.unwrap();
    rig.check_installed("demo");
}

#[tokio::test]
async fn two_pulls_at_once_are_one_download() {
    let model = Model::large();
    let registry = Registry::with(&model, "library/large", "latest").await;
    let relay = Relay::start(registry.port, model.size() / 2).await;
    let rig = Rig::new(&relay.url());
    let first = rig.puller.pull(&"large".parse().unwrap());
    let second = rig.puller.pull(&"LARGE:latest".parse().unwrap());
    // Another process waits for it.
    let other = rig.other_puller().pull(&"large".parse().unwrap());
    relay.is_full().await;
    // One who leaves does not end it for the others.
    drop(first);
    let (second, other) = tokio::join!(finish(second), async {
        relay.open();
        finish(other).await
    });
    let steps = [second.unwrap(), other.unwrap()];
    assert!(steps.iter().all(|steps| steps.last().unwrap().status == "success"));
    let waits = steps.iter().flatten().any(|step| step.status == "waiting for another download");
    assert!(waits, "{steps:?}");
    rig.check_installed("large");
    assert!(relay.passed() <= model.size() * 3 / 4, "{} of {}", relay.passed(), model.size());
}

#[tokio::test]
async fn a_download_stops_when_everybody_has_left_and_goes_on_later() {
    let model = Model::large();
    let registry = Registry::with(&model, "library/large", "latest").await;
    let relay = Relay::start(registry.port, model.size() / 2).await;
    let rig = Rig::new(&relay.url());
    let pull = rig.puller.pull(&"large".parse().unwrap());
    relay.is_full().await;
    drop(pull);
    relay.open();
    rig.pull("large").await.unwrap();
    rig.check_installed("large");
}

#[tokio::test]
async fn a_newer_version_replaces_the_files_of_the_older_one() {
    let (old, mut new) = (Model::demo(), Model::demo());
    let registry = Registry::with(&old, "library/demo", "latest").await;
    let rig = Rig::new(&registry.url());
    rig.pull("demo").await.unwrap();
    new.blobs[4].1 = b"You are a newer demo.".to_vec();
    registry.push(&new, "library/demo", "latest").await;
    rig.pull("demo").await.unwrap();
    rig.check_installed("demo");
    let names = rig.blob_names();
    assert!(names.len() == new.blobs.len() && names.contains(&digest(&new.blobs[4].1).replace(':', "-")));
}
