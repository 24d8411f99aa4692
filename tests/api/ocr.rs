//! Tesseract in place of a model: a script plays its part, so that it can also fail. The real one is
//! asked in `tests/engine/vision.rs`.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, eventually, json as body, problem, start_with},
    ollama::{
        lines::tags,
        scripted::{Script, Step},
    },
    vision::png,
};

/// Answers what is asked at the start, and then does `reading` with the image on its input.
const PROGRAM: &str = r#"#!/bin/sh
case "$1" in
  --version) echo "tesseract 5.9.9"; echo " leptonica-1.82" ;;
  --list-langs) echo "List of available languages:"; echo deu; echo eng ;;
  *) READING ;;
esac
"#;

fn program(folder: &Path, reading: &str) -> String {
    let path = folder.join("tesseract");
    fs::write(&path, PROGRAM.replace("READING", reading)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn start(program: &str, languages: &str) -> TestServer {
    let settings = [("OCR_ENGINE", "tesseract"), ("TESSERACT", program), ("OCR_LANGUAGES", languages)];
    start_with(&settings).await
}

fn request() -> Value {
    json!({"image": STANDARD.encode(png())})
}

#[tokio::test]
async fn tesseract_gets_the_image_and_its_answer_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let reading = format!(
        "echo \"$* $OMP_THREAD_LIMIT\" >> {0}/asked; cat > {0}/image; printf ' one\\ntwo \\n\\f'",
        folder.path().display()
    );
    let server = start(&program(folder.path(), &reading), "eng+deu").await;
    for status in ["simpleton; fwd=miss; stored", "simpleton; hit"] {
        let response = server.post("/vision/ocr", &request()).send().await.unwrap();
        assert!(response.headers()["cache-status"].to_str().unwrap().starts_with(status), "{response:?}");
        assert_eq!(body(response).await, json!({"text": "one\ntwo", "model": "tesseract 5.9.9"}));
    }
    assert_eq!(fs::read_to_string(folder.path().join("asked")).unwrap(), "stdin stdout -l eng+deu 1\n");
    let read = fs::read(folder.path().join("image")).unwrap();
    assert_eq!(image::load_from_memory(&read).unwrap().width(), 32);
    // A request that names a model is that one's.
    let named = json!({"image": STANDARD.encode(png()), "model": "llava"});
    let reply = body(server.post("/vision/ocr", &named).send().await.unwrap()).await;
    assert_eq!(reply, json!({"text": "Hello wörld", "model": "llava"}));
}

#[tokio::test]
async fn an_installed_vision_model_reads_before_tesseract() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path(), "cat > /dev/null; echo read");
    let fake = [("TESSERACT", &*program)];
    let reader = async |server: &TestServer| {
        body(server.post("/vision/ocr", &request()).send().await.unwrap()).await["model"].clone()
    };
    let server = start_with(&fake).await;
    assert_eq!(reader(&server).await, "llava");
    let none = Step::Send(tags(&[("qwen2.5:7b", "aa")]).to_string());
    server.ollama.on("/api/tags", Script::ok(vec![none]));
    server.get("/models").header("x-api-key", KEY).send().await.unwrap();
    assert_eq!(reader(&server).await, "tesseract 5.9.9", "llava is not installed any more");
    // A model of the settings is meant, and a program that is not there cannot read.
    let absent = [("TESSERACT", "/nowhere/tesseract")];
    let chosen = [fake[0], ("DEFAULT_VISION_MODEL", "simpleton-demo")];
    for (settings, model) in [(&absent[..], "llava"), (&chosen, "simpleton-demo")] {
        assert_eq!(reader(&start_with(settings).await).await, model);
    }
    // A language that is missing is said, and the demo does not take its place.
    let server = start_with(&[fake[0], ("OCR_LANGUAGES", "fra")]).await;
    server.ollama.on("/api/tags", Script::ok(vec![Step::Send(tags(&[]).to_string())]));
    server.get("/models").header("x-api-key", KEY).send().await.unwrap();
    let (status, told) = problem(server.post("/vision/ocr", &request())).await;
    assert_eq!(status, 503);
    assert!(told["detail"].as_str().unwrap().contains("tesseract-ocr-fra"), "{told}");
}

#[tokio::test]
async fn what_is_wrong_with_tesseract_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let works = program(folder.path(), "cat > /dev/null; echo read");
    let broken = folder.path().join("broken");
    fs::copy("/bin/false", &broken).unwrap();
    for (program, languages, status, detail) in [
        ("/nowhere/tesseract", "eng", 503, "apt-get install tesseract-ocr"),
        (&works, "eng+fra", 503, "tesseract-ocr-fra"),
        (broken.to_str().unwrap(), "eng", 503, "The tesseract program does not work"),
    ] {
        let server = start(program, languages).await;
        let health = body(server.get("/health").send().await.unwrap()).await;
        let ocr = &health["components"]["ocr"];
        assert_eq!((&health["status"], &ocr["status"]), (&json!("degraded"), &json!("degraded")));
        assert!(ocr["detail"].as_str().unwrap().contains(detail), "{ocr}");
        let (got, problem) = problem(server.post("/vision/ocr", &request())).await;
        assert_eq!(got, status, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    }
    // It reads nothing of its input, and fails.
    let fails = program(folder.path(), "echo 'Error in pixReadMemPng' >&2; exit 1");
    let server = start(&fails, "eng").await;
    let (status, failed) = problem(server.post("/vision/ocr", &request())).await;
    assert_eq!((status, failed["detail"].as_str().unwrap()), (502, "Tesseract could not read the image."));
    // And the next one is read: a failure is not kept.
    program(folder.path(), "cat > /dev/null; echo read");
    let reply = body(server.post("/vision/ocr", &request()).send().await.unwrap()).await;
    assert_eq!(reply["text"], "read");
}

#[tokio::test]
async fn who_leaves_stops_tesseract() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let hangs = format!("echo $$ > {}; exec sleep 1000", pid.display());
    let server = start(&program(folder.path(), &hangs), "eng").await;
    let waiting = tokio::spawn(server.post("/vision/ocr", &request()).send());
    eventually("it runs", async || fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n'))).await;
    let process = format!("/proc/{}/comm", fs::read_to_string(&pid).unwrap().trim());
    eventually("it sleeps", async || fs::read_to_string(&process).is_ok_and(|name| name == "sleep\n")).await;
    waiting.abort();
    eventually("it is gone", async || !Path::new(&process).exists()).await;
}
