//! Images through the API: what a client gets, and what Ollama gets to see.

use std::{io::Cursor, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use image::{ImageFormat, Rgb, RgbImage};
use reqwest::{
    RequestBuilder, Response,
    multipart::{Form, Part},
};
use serde_json::{Value, json};
use simpleton::images::{Image, ImageLimits};

use crate::{
    harness::{
        KEY, TestServer, UNCACHED, events, eventually, json as body, problem, start, start_uncached,
        start_with,
    },
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
};

/// Half red, half blue.
pub fn pixels(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| Rgb(if x < width / 2 { [220, 0, 0] } else { [0, 0, 240] }))
}

pub fn file(pixels: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn png() -> Vec<u8> {
    file(&pixels(32, 16), ImageFormat::Png)
}

pub fn upload(server: &TestServer, form: Form) -> RequestBuilder {
    server.client.post(server.url("/vision/upload")).header("x-api-key", KEY).multipart(form)
}

pub fn with_file(bytes: Vec<u8>) -> Form {
    Form::new().part("file", Part::bytes(bytes).file_name("image.jpg"))
}

fn status(response: &Response) -> String {
    response.headers()["cache-status"].to_str().unwrap().to_owned()
}

/// The image as Ollama must get it.
fn as_sent(bytes: &[u8]) -> String {
    STANDARD.encode(Image::from_bytes(bytes.to_vec(), &ImageLimits::default()).unwrap().file())
}

#[tokio::test]
async fn each_endpoint_is_one_chat_in_ollamas_format() {
    let server = start().await;
    let (png, encoded) = (png(), STANDARD.encode(png()));
    let uri = format!("data:image/png;base64,{encoded}");
    let end = json!({"done": true, "done_reason": "stop", "context": [1, 2, 3], "total_duration": 5_000_000, "load_duration": 1_000_000,
        "prompt_eval_count": 7, "prompt_eval_duration": 2_000_000, "eval_count": 3, "eval_duration": 2_000_000});
    let mut answer = json!({"model": "llava", "response": "Hello wörld"});
    answer.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
    let analyze = json!({"image": uri, "prompt": "What objects are in this image?", "max_tokens": 9});
    let caption = |level: Value| json!({"image": uri, "detail_level": level});
    let captioned = json!({"caption": "Hello wörld", "model": "llava"});
    let form = with_file(png.clone()).text("prompt", "Describe this image in detail");
    for (request, expected, prompt, options) in [
        (
            server.post("/vision/analyze", &analyze),
            answer.clone(),
            "What objects are in this image?",
            r#"{"temperature":0.7,"num_predict":9}"#,
        ),
        (
            server.post("/vision/caption", &caption(json!("brief"))),
            captioned.clone(),
            "Describe this image in one brief sentence.",
            r#"{"temperature":0.0}"#,
        ),
        (
            server.post("/vision/caption", &caption(Value::Null)),
            captioned.clone(),
            "Describe this image.",
            r#"{"temperature":0.0}"#,
        ),
        (
            server.post("/vision/caption", &caption(json!("detailed"))),
            captioned,
            "Describe this image in detail.",
            r#"{"temperature":0.0}"#,
        ),
        (
            server.post("/vision/ocr", &json!({"image": encoded})),
            json!({"text": "Hello wörld", "model": "llava"}),
            "Extract all text visible in this image. Return only the text.",
            r#"{"temperature":0.0}"#,
        ),
        (upload(&server, form), answer.clone(), "Describe this image in detail", r#"{"temperature":0.7}"#),
        (upload(&server, with_file(png.clone())), answer, "Describe this image", r#"{"temperature":0.7}"#),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{prompt}");
        assert_eq!(body(response).await, expected, "{prompt}");
        let image = as_sent(&png);
        assert_eq!(
            server.ollama.bodies("/api/chat").pop().unwrap(),
            format!(
                r#"{{"model":"llava","messages":[{{"role":"user","content":"{prompt}","images":["{image}"]}}],"stream":true,"options":{options}}}"#
            )
        );
    }
}

#[tokio::test]
async fn images_of_chat_and_generate_take_the_same_way() {
    let server = start().await;
    let (bmp, jpeg) = (file(&pixels(10, 10), ImageFormat::Bmp), file(&pixels(12, 10), ImageFormat::Jpeg));
    let images = json!([STANDARD.encode(&bmp), format!("data:image/png;base64,{}", STANDARD.encode(&jpeg))]);
    let message = json!({"role": "user", "content": "hi", "images": images});
    let sent = json!([as_sent(&bmp), as_sent(&jpeg)]);
    let reply = server.post("/inference/chat", &json!({"messages": [message]})).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(server.ollama.requests("/api/chat")[0]["messages"][0]["images"], sent);
    let reply = server.post("/inference/generate", &json!({"prompt": "hi", "images": images})).send();
    assert_eq!(reply.await.unwrap().status(), 200);
    assert_eq!(server.ollama.requests("/api/generate")[0]["images"], sent);
    assert_eq!(
        (sent[0].as_str().unwrap().starts_with("iVBOR"), sent[1].as_str().unwrap().starts_with("/9j/")),
        (true, true)
    );
}

#[tokio::test]
async fn answers_about_images_can_be_streamed() {
    let server = start().await;
    let analyze = json!({"image": STANDARD.encode(png()), "prompt": "What is it?", "stream": true});
    for request in
        [server.post("/vision/analyze", &analyze), upload(&server, with_file(png()).text("stream", "true"))]
    {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let events = events(&response.text().await.unwrap());
        let (last, chunks) = events.split_last().unwrap();
        let text: String = chunks.iter().map(|(_, chunk)| chunk["response"].as_str().unwrap()).collect();
        assert_eq!((text.as_str(), &last.1["done"]), ("Hello wörld", &json!(true)));
    }
}

#[tokio::test]
async fn one_image_is_one_entry_however_it_comes() {
    let server = start().await;
    let pixels = pixels(40, 40);
    let ask = async |request: RequestBuilder| {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        status(&response)
    };
    let png = file(&pixels, ImageFormat::Png);
    let analyze = |bytes: &[u8]| {
        let image = format!("data:image/x;base64,{}", STANDARD.encode(bytes));
        server.post("/vision/analyze", &json!({"image": image, "prompt": "What?"}))
    };
    assert_eq!(
        ask(upload(&server, with_file(png.clone()).text("prompt", "What?"))).await,
        "simpleton; fwd=miss; stored"
    );
    assert!(ask(analyze(&png)).await.starts_with("simpleton; hit; ttl=3"));
    for format in [ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::WebP] {
        let status = ask(analyze(&file(&pixels, format))).await;
        assert!(status.starts_with("simpleton; hit"), "{format:?}: {status}");
    }
    let message = json!([{"role": "user", "content": "What?", "images": [STANDARD.encode(&png)]}]);
    assert!(
        ask(server.post("/inference/chat", &json!({"messages": message})))
            .await
            .starts_with("simpleton; hit")
    );
    assert_eq!(server.ollama.requests("/api/chat").len(), 1);
    // Another image, and another question.
    assert!(
        ask(analyze(&file(&self::pixels(41, 40), ImageFormat::Png))).await.starts_with("simpleton; fwd=miss")
    );
    assert!(ask(upload(&server, with_file(png))).await.starts_with("simpleton; fwd=miss"));
    let clear = server.client.delete(server.url("/analytics/cache?prefix=vision")).header("x-api-key", KEY);
    assert_eq!(body(clear.send().await.unwrap()).await["deleted"], 3);
}

#[tokio::test]
async fn an_image_without_text_reads_as_nothing() {
    let server = start_uncached().await;
    let request = json!({"image": STANDARD.encode(png())});
    for (said, text) in [
        ("No text found.", ""),
        (" no text found\n", ""),
        ("None", ""),
        ("There is no text in this image.", ""),
        ("NO TEXTING WHILE DRIVING", "NO TEXTING WHILE DRIVING"),
        ("\n  HELLO\nWORLD\n", "HELLO\nWORLD"),
        ("", ""),
    ] {
        server
            .ollama
            .on("/api/chat", Script::ok(vec![Step::Send(chat_line(said)), Step::Send(last_line(1))]));
        let reply = body(server.post("/vision/ocr", &request).send().await.unwrap()).await;
        assert_eq!(reply, json!({"text": text, "model": "llava"}), "{said:?}");
    }
}

#[tokio::test]
async fn a_model_that_cannot_see_is_refused_with_those_that_can() {
    let blind = Script::ok(vec![Step::Send(json!({"capabilities": ["completion"]}).to_string())]);
    let server = start_with(&[("DEFAULT_VISION_MODEL", "llava")]).await;
    server.ollama.on("/api/show qwen2.5:7b", blind.clone());
    let image = STANDARD.encode(png());
    let named = json!({"image": image, "model": "qwen2.5:7b"});
    let asked = json!({"image": image, "model": "qwen2.5:7b", "prompt": "What?"});
    for (path, named) in
        [("/vision/analyze", asked), ("/vision/caption", named.clone()), ("/vision/ocr", named)]
    {
        let (status, problem) = problem(server.post(path, &named)).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/model")), "{problem}");
        assert_eq!(
            problem["detail"],
            "model qwen2.5:7b cannot see images; get a model that can with: ollama pull llava; these can: llava."
        );
    }
    let (status, _) = problem(upload(&server, with_file(png()).text("model", "qwen2.5:7b"))).await;
    assert_eq!(status, 422);
    assert!(server.ollama.requests("/api/chat").is_empty());
    // The same when it is the operator who named it.
    let server = start_with(&[("DEFAULT_VISION_MODEL", "qwen2.5:7b")]).await;
    server.ollama.on("/api/show qwen2.5:7b", blind);
    assert_eq!(problem(server.post("/vision/ocr", &json!({"image": image}))).await.0, 422);
}

#[tokio::test]
async fn a_vision_model_that_is_not_pulled_comes_with_the_command() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::error(404, "model 'llava' not found"));
    let (status, problem) =
        problem(server.post("/vision/ocr", &json!({"image": STANDARD.encode(png())}))).await;
    assert_eq!(status, 404);
    assert!(problem["detail"].as_str().unwrap().contains("ollama pull llava"), "{problem}");
}

#[tokio::test]
async fn prompts_can_be_overridden_in_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("prompts")).unwrap();
    std::fs::write(folder.path().join("prompts/caption_normal.txt"), "Beschreibe das Bild.\n").unwrap();
    let server = start_with(&[("DATA_DIR", folder.path().to_str().unwrap())]).await;
    let request = json!({"image": STANDARD.encode(png())});
    server.post("/vision/caption", &request).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(server.ollama.requests("/api/chat")[0]["messages"][0]["content"], "Beschreibe das Bild.");
}

#[tokio::test]
async fn large_images_are_scaled_for_the_backend_and_counted() {
    let server = start_with(&[("VISION_MAX_SIDE", "100")]).await;
    let jpeg = file(&pixels(800, 400), ImageFormat::Jpeg);
    let bytes = jpeg.len();
    upload(&server, with_file(jpeg)).send().await.unwrap().error_for_status().unwrap();
    let sent = &server.ollama.requests("/api/chat")[0]["messages"][0]["images"][0];
    let sent = image::load_from_memory(&STANDARD.decode(sent.as_str().unwrap()).unwrap()).unwrap();
    assert_eq!((sent.width(), sent.height()), (100, 50));
    problem(server.post("/vision/ocr", &json!({"image": "aGVsbG8="}))).await;
    for (series, value) in [
        ("simpleton_image_decode_seconds_count", 1.0),
        ("simpleton_image_decode_seconds_bucket{le=\"+Inf\"}", 1.0),
        ("simpleton_image_bytes_total", bytes as f64),
        ("simpleton_image_pixels_total", 320_000.0),
        ("simpleton_images_refused_total{reason=\"format\"}", 1.0),
        ("simpleton_images_refused_total{reason=\"url\"}", 0.0),
    ] {
        assert_eq!(server.metric(series).await, value, "{series}");
    }
}

/// More at once than there is room for, in bodies and in pixels: they wait for each other.
#[tokio::test]
async fn many_large_uploads_at_once_are_all_answered() {
    let settings = [("VISION_MAX_PIXELS", "1000000"), ("MAX_BODIES_MB", "1"), ("MAX_BODY_MB", "4"), UNCACHED];
    let server = start_with(&settings).await;
    let bmp = file(&pixels(1000, 1000), ImageFormat::Bmp);
    assert!(bmp.len() > 2_900_000);
    let uploads = (0..12).map(|_| upload(&server, with_file(bmp.clone())).send());
    for reply in futures_util::future::join_all(uploads).await {
        assert_eq!(reply.unwrap().status(), 200);
    }
    assert_eq!(server.ollama.requests("/api/chat").len(), 12);
}

#[tokio::test]
async fn who_waits_too_long_for_room_is_told_to_come_back() {
    let settings = [("MAX_BODIES_MB", "1"), ("MAX_BODY_MB", "1"), ("REQUEST_TIMEOUT_S", "1")];
    let server = start_with(&settings).await;
    // Three that send all the time, well above the least rate, and are at it for ten seconds.
    let slow: Vec<_> = (0..3)
        .map(|_| {
            let drip = futures_util::stream::unfold((), async |()| {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Some((Ok::<_, std::io::Error>(vec![b' '; 12_000]), ()))
            });
            let request = server.post_text("/vision/ocr", reqwest::Body::wrap_stream(drip));
            tokio::spawn(request.header("content-length", "400000").send())
        })
        .collect();
    eventually("there is no room", async || {
        let refused = server.post_text("/vision/ocr", vec![b' '; 400_000]).send().await.unwrap();
        refused.status() == 429 && refused.headers()["retry-after"] == "5"
    })
    .await;
    // A small one needs no room.
    let small = server.post("/vision/ocr", &json!({"image": STANDARD.encode(png())})).send().await.unwrap();
    assert_eq!(small.status(), 200);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
}
