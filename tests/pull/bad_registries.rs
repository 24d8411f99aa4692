//! Registries that misbehave.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};
use simpleton::error::Kind;

use crate::{
    harness::{Model, Rig, WEIGHTS},
    scripted::{Reply, Scripted},
};

/// A registry with a manifest that is changed.
async fn lying(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Rig {
    let model = Model::demo();
    let mut manifest = model.manifest();
    change(&mut manifest);
    let server = Scripted::start(move |request| match request.path.rsplit_once("/blobs/") {
        Some((_, digest)) => {
            model.blob(digest).map_or(Reply::status(404), |bytes| Reply::file(request, bytes))
        }
        None => Reply::json(&manifest),
    });
    Rig::new(&server.await.url())
}

#[tokio::test]
async fn a_web_page_is_no_model() {
    let page = || Reply::Whole(200, "content-type: text/html".to_owned(), b"<html>Log in".to_vec());
    let server = Scripted::start(move |_| page()).await;
    let error = Rig::new(&server.url()).failure("demo").await;
    assert!(error.message().ends_with("sent something that is not a manifest of demo."), "{error}");
    let server = Scripted::registry(Model::demo(), move |_, _| page()).await;
    let rig = Rig::new(&server.url());
    let error = rig.failure("demo").await;
    assert!(error.message().ends_with("sent a web page instead of a file (status 200)."), "{error}");
    let server = Scripted::start(|_| Reply::json(&json!({ "models": [] }))).await;
    let error = Rig::new(&server.url()).failure("demo").await;
    assert!(error.message().ends_with("sent something that is not a manifest of demo."), "{error}");
}

#[tokio::test]
async fn a_registry_that_hangs_or_drips_is_given_up() {
    let server = Scripted::start(|_| Reply::Hang("")).await;
    let error = Rig::impatient(&server.url()).failure("demo").await;
    assert!(error.message().ends_with("did not respond within 1 s."), "{error}");
    let server = Scripted::start(|_| Reply::Hang("HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n")).await;
    let error = Rig::impatient(&server.url()).failure("demo").await;
    assert!(error.message().contains("paused for more than 1 s"), "{error}");
    for blob in [(|_, _| Reply::Drip(4 << 20)) as fn(&_, &_) -> Reply, |_, _| {
        Reply::Hang("HTTP/1.1 206 X\r\ncontent-length: 4194304\r\n\r\n")
    }] {
        let server = Scripted::registry(Model::demo(), blob).await;
        let error = Rig::impatient(&server.url()).failure("demo").await;
        assert!(error.message().contains("bytes of a file in 0.3 s"), "{error}");
        assert!(server.requests().len() >= 3, "it was not tried again");
    }
}

#[tokio::test]
async fn only_the_registries_and_public_servers_are_asked() {
    let victim = Scripted::start(|_| Reply::status(200)).await;
    let port = victim.url().rsplit_once(':').unwrap().1.to_owned();
    for (target, why) in [
        (victim.url(), "is not an https:// URL"),
        (format!("https://127.0.0.1:{port}/latest"), "has a private address"),
        (format!("https://localhost:{port}/"), "has a private address"),
        (format!("https://[::ffff:127.0.0.1]:{port}/"), "has a private address"),
        ("https://169.254.169.254/latest/meta-data".to_owned(), "has a private address"),
        ("https://10.0.0.1/".to_owned(), "has a private address"),
        ("file:///etc/passwd".to_owned(), "is not an https:// URL"),
        ("ftp://example.org/".to_owned(), "is not an https:// URL"),
    ] {
        let told = target.clone();
        let server = Scripted::registry(Model::demo(), move |_, _| Reply::redirect(&told)).await;
        let rig = Rig::new(&server.url());
        let error = rig.failure("demo").await;
        assert!(
            error.message().contains(why) && error.message().contains("MODEL_REGISTRY"),
            "{target}: {error}"
        );
        assert_eq!(error.kind(), Kind::Setup);
        let told = target.clone();
        let server = Scripted::start(move |_| Reply::redirect(&told)).await;
        assert!(Rig::new(&server.url()).failure("demo").await.message().contains(why), "{target}");
        let realm = format!("www-authenticate: Bearer realm=\"{target}\"");
        let server = Scripted::start(move |_| Reply::Whole(401, realm.clone(), Vec::new())).await;
        assert!(Rig::new(&server.url()).failure("demo").await.message().contains(why), "{target}");
    }
    assert!(victim.requests().is_empty());
    let server = Scripted::start(|request| Reply::redirect(&format!("{}x", request.path))).await;
    let error = Rig::new(&server.url()).failure("demo").await;
    assert!(error.message().contains("redirects more than 5 times"), "{error}");
}

#[tokio::test]
async fn a_file_has_the_announced_size_or_none() {
    let longer = |bytes: &[u8]| [bytes, b"more"].concat();
    let server =
        Scripted::registry(Model::demo(), move |request, bytes| Reply::file(request, &longer(bytes))).await;
    let error = Rig::new(&server.url()).failure("demo").await;
    assert!(error.message().contains("longer than the 5283584 bytes that it announced"), "{error}");
    // Without a word about its length.
    let server = Scripted::registry(Model::demo(), |request, bytes| {
        let end = request.range().unwrap().1;
        Reply::Raw([b"HTTP/1.1 206 X\r\n\r\n", &bytes[..=end], &[0; 100_000]].concat())
    });
    let rig = Rig::new(&server.await.url());
    let error = rig.failure("demo").await;
    assert!(error.message().contains("longer than the 5283584 bytes that it announced"), "{error}");
    let largest =
        std::fs::read_dir(rig.blobs()).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).max();
    assert!(largest.unwrap() <= 5_283_584, "{largest:?}");
    let server = Scripted::registry(Model::demo(), |request, bytes| {
        let all = bytes.len();
        Reply::Whole(
            206,
            format!("content-range: bytes 0-9/{}", all - 1),
            bytes[..request.range().unwrap().1].to_vec(),
        )
    });
    let error = Rig::new(&server.await.url()).failure("demo").await;
    assert!(error.message().contains("shorter than the 5283584 bytes"), "{error}");
}

#[tokio::test]
async fn a_manifest_that_lies_is_refused() {
    let rig = lying(|manifest| manifest["layers"][0]["size"] = json!(1_u64 << 60)).await;
    let error = rig.failure("demo").await;
    assert!(error.message().starts_with("demo needs 1152921504.6 GB more, and the disk"), "{error}");
    assert!(
        error.message().contains(" GB free; free some space") || error.message().contains(" MB free"),
        "{error}"
    );
    for (size, how) in [(5_000_000, "longer"), (6_000_000, "shorter")] {
        let rig = lying(move |manifest| manifest["layers"][0]["size"] = json!(size)).await;
        let error = rig.failure("demo").await;
        assert!(error.message().contains(how), "{error}");
    }
    let rig = lying(|manifest| {
        manifest["layers"][1] = manifest["layers"][0].clone();
        manifest["layers"][1]["size"] = json!(1);
    });
    assert!(rig.await.failure("demo").await.message().contains("two sizes of one file"));
    for digest in ["sha256:../../../../etc/passwd", "sha256:", "md5:abc", "../x"] {
        let rig = lying(move |manifest| manifest["layers"][0]["digest"] = json!(digest)).await;
        let error = rig.failure("demo").await;
        assert!(
            error.message().ends_with("sent something that is not a manifest of demo."),
            "{digest}: {error}"
        );
        assert!(rig.blob_names().is_empty());
    }
    for (media_type, told) in [
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "demo is not a model"),
        ("application/vnd.ollama.image.adapter", "it needs a LoRA adapter"),
        ("application/vnd.ollama.image.license", "it has no GGUF file"),
    ] {
        let rig = lying(move |manifest| manifest["layers"][0]["mediaType"] = json!(media_type)).await;
        let error = rig.failure("demo").await;
        assert!(error.message().contains(told) && rig.blob_names().is_empty(), "{error}");
    }
}

#[tokio::test]
async fn files_that_no_engine_can_use_are_not_kept() {
    let mut model = Model::demo();
    model.blobs[0] = (WEIGHTS, b"this is no GGUF file".to_vec());
    let server = Scripted::registry(model, Reply::file).await;
    let rig = Rig::new(&server.url());
    let error = rig.failure("demo").await;
    assert!(error.message().starts_with("The model demo is damaged"), "{error}");
    assert!(rig.blob_names().is_empty());
}

#[tokio::test]
async fn a_server_without_ranges_and_one_that_is_busy_are_good_enough() {
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    let server = Scripted::registry(Model::large(), |_, bytes| {
        Reply::Whole(200, "accept-ranges: none".to_owned(), bytes.to_vec())
    });
    let rig = Rig::new(&server.await.url());
    rig.pull("large").await.unwrap();
    rig.check_installed("large");
    let server = Scripted::registry(Model::demo(), |request, bytes| match REQUESTS.fetch_add(1, SeqCst) {
        0 => Reply::Whole(429, "retry-after: 0".to_owned(), Vec::new()),
        1 => Reply::status(503),
        3 => {
            let start = request.range().unwrap().0;
            Reply::Raw([b"HTTP/1.1 206 X\r\ncontent-length: 100\r\n\r\n", &bytes[start..start + 5]].concat())
        }
        _ => Reply::file(request, bytes),
    });
    let rig = Rig::new(&server.await.url());
    rig.pull("demo").await.unwrap();
    rig.check_installed("demo");
}

#[tokio::test]
async fn a_registry_gets_the_token_and_the_password_that_it_asks_for() {
    let model = Model::demo();
    let server = Scripted::start(move |request| {
        let host = request.header("host").unwrap();
        if request.path.starts_with("/token") {
            assert_eq!(request.path, "/token?service=models&scope=repository%3Alibrary%2Fdemo%3Apull");
            // user:päss
            assert_eq!(request.header("authorization"), Some("Basic dXNlcjpww6Rzcw=="));
            return Reply::json(&json!({ "token": "once" }));
        }
        if request.header("authorization") != Some("Bearer once") {
            let challenge = format!("www-authenticate: Bearer realm=\"http://{host}/token\",service=\"models\",scope=\"repository:library/demo:pull\"");
            return Reply::Whole(401, challenge, Vec::new());
        }
        match request.path.rsplit_once("/blobs/") {
            Some((_, digest)) => Reply::file(request, model.blob(digest).unwrap()),
            None => Reply::json(&model.manifest()),
        }
    })
    .await;
    let rig = Rig::new(&server.url().replace("http://", "http://user:p%C3%A4ss@"));
    rig.pull("demo").await.unwrap();
    rig.check_installed("demo");
}
