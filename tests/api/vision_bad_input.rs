//! Tests of invalid images, one row each. Refusals of the decoder itself are tested
//! beside it, in `src/images/tests.rs`.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use image::ImageFormat;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    harness::{KEY, TestServer, pointers_of, problem, start, start_with},
    vision::{file, pixels, png, upload, with_file},
};

#[tokio::test]
async fn texts_that_are_no_images() {
    let server = start().await;
    let png = png();
    let cut = STANDARD.encode(&png[..png.len() / 2]);
    for (image, status, detail) in [
        ("", 400, "is empty"),
        ("data:image/png;base64,", 400, "is empty"),
        ("not base64!", 400, "not valid base64"),
        ("iVBORw0KG...", 400, "not valid base64"),
        ("aGVsbG8=", 400, "send a PNG, JPEG, GIF, WebP or BMP"),
        ("data:image/png;base64,aGVsbG8=", 400, "send a PNG, JPEG, GIF, WebP or BMP"),
        (&cut, 400, "its PNG data is damaged or cut off"),
        ("http://example.com/a.png", 422, "URLs are not fetched"),
        ("http://169.254.169.254/latest/meta-data", 422, "URLs are not fetched"),
        ("https://example.com/a.png", 422, "unless IMAGE_URL_HOSTS allows their host"),
        ("file:///etc/passwd", 422, "URLs are not fetched"),
    ] {
        for (path, request, pointer) in [
            ("/vision/analyze", json!({"image": image, "prompt": "What?"}), "/image"),
            ("/vision/caption", json!({"image": image}), "/image"),
            ("/vision/ocr", json!({"image": image}), "/image"),
            ("/inference/generate", json!({"prompt": "x", "images": [image]}), "/images/0"),
            (
                "/inference/chat",
                json!({"messages": [{"role": "user", "content": "x", "images": [image]}]}),
                "/messages/0/images/0",
            ),
        ] {
            let (got, problem) = problem(server.post(path, &request)).await;
            assert_eq!(got, status, "{path}, {image}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains(detail), "{path}, {image}: {problem}");
            assert_eq!(pointers_of(&problem), [pointer], "{path}, {image}: {problem}");
        }
    }
    let (good, bad) = (STANDARD.encode(&png), "aGk=");
    let several = json!({"prompt": "x", "images": [good, bad, good]});
    let (_, problem) = problem(server.post("/inference/generate", &several)).await;
    assert_eq!(pointers_of(&problem), ["/images/1"], "the bad one is named: {problem}");
    nothing_was_asked(&server);
}

fn nothing_was_asked(server: &TestServer) {
    assert!(server.ollama.requests("/api/chat").is_empty());
    assert!(server.ollama.requests("/api/generate").is_empty());
}

#[tokio::test]
async fn fields_that_are_wrong() {
    let server = start().await;
    let image = STANDARD.encode(png());
    let many: Vec<&str> = vec![&image; 65];
    for (path, request, pointers) in [
        ("/vision/analyze", json!({"prompt": "What?"}), vec!["/image"]),
        ("/vision/analyze", json!({"image": image}), vec!["/prompt"]),
        ("/vision/analyze", json!({"image": null, "prompt": "What?"}), vec!["/image"]),
        ("/vision/analyze", json!({"image": 5, "prompt": 5}), vec!["/image"]),
        ("/vision/analyze", json!({"image": [image], "prompt": "What?"}), vec!["/image"]),
        ("/vision/analyze", json!({"image": image, "prompt": ""}), vec!["/prompt"]),
        ("/vision/analyze", json!({"image": image, "prompt": " \n"}), vec!["/prompt"]),
        (
            "/vision/analyze",
            json!({"image": image, "prompt": "", "temperature": 3, "max_tokens": 0}),
            vec!["/prompt", "/temperature", "/max_tokens"],
        ),
        ("/vision/caption", json!({"image": image, "detail_level": "full"}), vec!["/detail_level"]),
        ("/vision/caption", json!({"image": image, "detail_level": "Brief"}), vec!["/detail_level"]),
        ("/vision/caption", json!({"image": image, "detail_level": 1}), vec!["/detail_level"]),
        ("/vision/ocr", json!({"image": image, "model": "no such name"}), vec!["/model"]),
        ("/inference/generate", json!({"prompt": "x", "images": many}), vec!["/images"]),
    ] {
        let (status, problem) = problem(server.post(path, &request)).await;
        assert_eq!(status, 422, "{path}: {problem}");
        assert_eq!(pointers_of(&problem), pointers, "{path}: {problem}");
    }
    let (_, missing) = problem(server.post("/vision/caption", &json!({"detail_level": "brief"}))).await;
    assert!(missing["detail"].as_str().unwrap().contains("image is required"), "{missing}");
    nothing_was_asked(&server);
}

fn named(name: &str, bytes: &[u8]) -> Part {
    Part::bytes(bytes.to_vec()).file_name(name.to_owned())
}

#[tokio::test]
async fn forms_that_are_wrong() {
    let server = start_with(&[("VISION_MAX_IMAGE_MB", "1")]).await;
    let png = png();
    let cut = |bytes: &[u8]| named("a.png", &bytes[..bytes.len() / 2]);
    let too_many = (0..100).fold(Form::new(), |form, n| form.text(format!("field{n}"), "x"));
    for (what, form, status, pointer) in [
        ("no file", Form::new().text("prompt", "What?"), 422, json!("/file")),
        ("no field", Form::new(), 400, Value::Null),
        ("an empty file", with_file(Vec::new()), 400, json!("/file")),
        ("text named .png", Form::new().part("file", named("a.png", b"hello")), 400, json!("/file")),
        ("a file cut off", Form::new().part("file", cut(&png)), 400, json!("/file")),
        ("two files", with_file(png.clone()).part("file", named("b.png", &png)), 422, json!("/file")),
        (
            "two prompts",
            with_file(png.clone()).text("prompt", "a").text("prompt", "b"),
            422,
            json!("/prompt"),
        ),
        ("a blank prompt", with_file(png.clone()).text("prompt", " "), 422, json!("/prompt")),
        ("no file chosen", Form::new().part("file", named("", b"")), 422, json!("/file")),
        (
            "a wrong temperature",
            with_file(png.clone()).text("temperature", "hot"),
            422,
            json!("/temperature"),
        ),
        ("too hot", with_file(png.clone()).text("temperature", "3"), 422, json!("/temperature")),
        ("half a token", with_file(png.clone()).text("max_tokens", "1.5"), 422, json!("/max_tokens")),
        ("a long prompt", with_file(png.clone()).text("prompt", "x".repeat(70_000)), 413, json!("/prompt")),
        (
            "a prompt in no text",
            with_file(png.clone()).part("prompt", Part::bytes(vec![0xff])),
            422,
            json!("/prompt"),
        ),
        ("a wrong switch", with_file(png.clone()).text("stream", "perhaps"), 422, json!("/stream")),
        ("a wrong model", with_file(png.clone()).text("model", "no such name"), 422, json!("/model")),
        ("100 fields", too_many.part("file", named("a.png", &png)), 422, json!("")),
        ("a large file", with_file(vec![0; 1024 * 1024 + 1]), 413, json!("/file")),
    ] {
        let (got, problem) = problem(upload(&server, form)).await;
        assert_eq!((got, &problem["errors"][0]["pointer"]), (status, &pointer), "{what}: {problem}");
    }
    nothing_was_asked(&server);
    assert_eq!(server.metric("simpleton_images_refused_total{reason=\"bytes\"}").await, 1.0);
    // What a form says of its file does not matter.
    let jpeg = file(&pixels(20, 20), ImageFormat::Jpeg);
    let part = named("a.txt", &jpeg).mime_str("text/html").unwrap();
    let reply = upload(&server, Form::new().part("file", part)).send().await.unwrap();
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn bodies_that_are_no_forms() {
    let server = start().await;
    let post = |content_type: &str, body: &str| {
        let request = server.client.post(server.url("/vision/upload")).header("x-api-key", KEY);
        request.header("content-type", content_type).body(body.to_owned())
    };
    let form = "multipart/form-data; boundary=x";
    let head = "--x\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n";
    for (request, status) in [
        (post("application/json", "{}"), 415),
        (post("multipart/form-data", "--x--\r\n"), 415),
        (post("multipart/mixed; boundary=x", "--x--\r\n"), 415),
        (post(form, ""), 400),
        (post(form, "no form at all"), 400),
        (post(form, &format!("{head}half a file")), 400),
        (post(form, "--x\r\ncontent-disposition: form-data; name=\"file\""), 400),
        (post(form, "--x\r\ncontent-type: image/png\r\n\r\nabc\r\n--x--\r\n"), 422),
    ] {
        let (got, problem) = problem(request.try_clone().unwrap()).await;
        assert_eq!(got, status, "{request:?}: {problem}");
    }
    nothing_was_asked(&server);
}

/// As browsers and Python's requests send them.
#[tokio::test]
async fn forms_may_say_yes_in_many_ways_and_leave_fields_empty() {
    let server = start().await;
    for (stream, is_streamed) in [
        ("True", true),
        ("true", true),
        ("1", true),
        ("yes", true),
        ("on", true),
        ("False", false),
        ("0", false),
        ("no", false),
        ("off", false),
        ("", false),
    ] {
        let form = with_file(png())
            .text("stream", stream)
            .text("prompt", "")
            .text("model", "")
            .text("temperature", "")
            .text("max_tokens", "");
        let response = upload(&server, form).send().await.unwrap();
        assert_eq!(response.status(), 200, "{stream}");
        assert_eq!(response.headers()["content-type"] == "text/event-stream", is_streamed, "{stream}");
        let sent = server.ollama.requests("/api/chat").pop().unwrap();
        assert_eq!(
            (&sent["messages"][0]["content"], &sent["model"]),
            (&json!("Describe this image"), &json!("llava"))
        );
    }
    let form = with_file(png()).text("temperature", "0.5").text("max_tokens", " 9 ");
    assert_eq!(upload(&server, form).send().await.unwrap().status(), 200);
    let sent = server.ollama.requests("/api/chat").pop().unwrap();
    assert_eq!(sent["options"], json!({"temperature": 0.5, "num_predict": 9}));
}

#[tokio::test]
async fn fields_of_forms_that_are_wrong_are_told_together() {
    let server = start().await;
    let no_text = |form: Form, name: &'static str| form.part(name, Part::bytes(vec![0xff]));
    let form = Form::new().text("model", "a").text("model", "b").text("model", "c");
    let (status, wrong) = problem(upload(&server, no_text(no_text(form, "stream"), "prompt"))).await;
    assert_eq!(status, 422, "{wrong}");
    assert_eq!(pointers_of(&wrong), ["/model", "/stream", "/prompt", "/file"], "{wrong}");
    let many = (0..17).fold(with_file(png()), |form, n| form.text(format!("field{n}"), "x"));
    let (_, wrong) = problem(upload(&server, many)).await;
    assert_eq!(wrong["detail"], "The form may have at most 16 fields.");
}

/// Sends a form's beginning, of as many bytes as it announces or fewer, and gives the answer's head.
async fn begin_upload(server: &TestServer, announced: usize, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /vision/upload HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: multipart/form-data; boundary=x\r\ncontent-length: {announced}\r\n\r\n--x\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = [0; 4096];
    let read =
        tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn an_upload_that_stalls_half_way_is_told_and_let_go() {
    let server = start_with(&[("REQUEST_TIMEOUT_S", "1")]).await;
    let answer = begin_upload(&server, 1_000_000, &[0x89; 500_000]).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(begin_upload(&server, 50_000_000, b"").await.starts_with("HTTP/1.1 413"));
    // Their room is free again.
    let reply = upload(&server, with_file(png())).send().await.unwrap();
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_before_its_end() {
    let server = start_with(&[("VISION_MAX_IMAGE_MB", "1")]).await;
    let answer = begin_upload(&server, 30_000_000, &vec![0; 1_200_000]).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn bombs_are_refused_at_once() {
    let server = start().await;
    let mut bmp = file(&pixels(1, 1), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&60_000_u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000_u32.to_le_bytes());
    assert!(bmp.len() < 100);
    let (status, problem) = problem(upload(&server, with_file(bmp))).await;
    assert_eq!(status, 413);
    assert_eq!(problem["detail"], "file has 60000 × 60000 pixels; at most 50000000 are accepted.");
    nothing_was_asked(&server);
    let mut png = png();
    png[16..20].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    png[20..24].copy_from_slice(&1_u32.to_be_bytes());
    let (status, problem) = crate::harness::problem(upload(&server, with_file(png))).await;
    assert_eq!(status, 413);
    assert_eq!(problem["detail"], "file has 2147483647 × 1 pixels; at most 50000000 are accepted.");
}
