//! The four endpoints on the real engine with the demo model, as a client uses them, and how well it
//! sees: measured on images that are drawn here, with a floor that only something broken falls
//! below. The figures are printed; models/README.md has them.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    images::{Dice, shapes, text, word},
    service::{Service, answer},
};

fn uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(format!("models/demo/samples/{name}")).expect("a sample")
}

fn said<'a>(reply: &'a Value, field: &str) -> &'a str {
    reply[field].as_str().unwrap_or_else(|| panic!("no {field} in {reply}"))
}

/// The brief's four requests, as they are printed there.
#[tokio::test(flavor = "multi_thread")]
async fn the_four_endpoints_answer() {
    let service = Service::start(&[]).await;
    let circle = sample("red_circle.png");
    let request =
        json!({"image": uri(&circle), "prompt": "What objects are in this image?", "temperature": 0});
    let reply = service.ask("/vision/analyze", request).await;
    assert_eq!((said(&reply, "response"), said(&reply, "model")), ("A red circle.", "simpleton-demo"));
    let request = json!({"image": uri(&circle), "detail_level": "detailed"});
    let caption = service.ask("/vision/caption", request).await;
    assert!(said(&caption, "caption").contains("red circle"), "{caption}");
    let demo = |png: &[u8]| json!({"image": uri(png), "model": "simpleton-demo"});
    let read = service.ask("/vision/ocr", demo(&sample("hello_world.png"))).await;
    assert_eq!(read, json!({"text": "HELLO\nWORLD", "model": "simpleton-demo"}));
    let none = service.ask("/vision/ocr", demo(&circle)).await;
    assert_eq!(none["text"], "", "there is no text in it");
    let form = reqwest::multipart::Form::new()
        .part("file", reqwest::multipart::Part::bytes(circle).file_name("image.jpg"))
        .text("prompt", "Describe this image in detail");
    let reply = answer(service.post("/vision/upload").multipart(form)).await;
    assert!(said(&reply, "response").contains("red circle"), "{reply}");
    service.stop().await;
}

/// llama-server's prompt cache refused an image that it knew as the first of two.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_seen_again_after_it_was_seen_beside_another() {
    let service = Service::start(&[("ENGINE_PARALLEL", "1")]).await;
    let (a, b) = (uri(&sample("red_circle.png")), uri(&sample("blue_square.png")));
    let turns = [vec![&a, &a], vec![&a], vec![&a, &b], vec![&a], vec![&b, &a, &b], vec![&b]];
    for (turn, images) in turns.iter().enumerate() {
        let question = format!("What objects are in this image? {turn}");
        let request = json!({"prompt": question, "images": images, "max_tokens": 5});
        service.ask("/inference/generate", request).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_model_sees_shapes_and_reads_words() {
    let service = Service::start(&[("OCR_ENGINE", "model")]).await;
    let mut dice = Dice::new(20_251_124);
    let (mut named, mut all, mut lengths) = (0, 0, [0; 3]);
    for _ in 0..25 {
        let (png, names) = shapes(&mut dice);
        for (level, length) in ["brief", "normal", "detailed"].into_iter().zip(&mut lengths) {
            let request = json!({"image": uri(&png), "detail_level": level});
            let reply = service.ask("/vision/caption", request).await;
            let caption = said(&reply, "caption");
            *length += caption.len();
            if level == "brief" {
                all += names.len();
                let right =
                    names.iter().filter(|(colour, shape)| caption.contains(&format!("{colour} {shape}")));
                named += right.count();
                println!("{names:?}: {caption}");
            }
        }
    }
    let (mut exact, mut right, mut letters) = (0, 0, 0);
    for _ in 0..25 {
        let (png, word) = word(&mut dice);
        let reply = service.ask("/vision/ocr", json!({"image": uri(&png)})).await;
        let read = said(&reply, "text");
        println!("{word}: {read}");
        exact += usize::from(read == word);
        letters += word.len();
        right += word.len().saturating_sub(distance(&word, read));
    }
    println!("captions: {named} of {all} shapes with the right colour and name");
    println!("mean length of a caption: {:?} characters", lengths.map(|length| length / 25));
    println!("words: {exact} of 25 exact, {right} of {letters} letters right");
    assert!(named * 10 >= all * 6, "{named} of {all}");
    assert!(right * 10 >= letters * 6, "{right} of {letters}");
    let [brief, normal, detailed] = lengths;
    assert!(brief * 11 <= normal * 10 && normal * 5 <= detailed * 4, "{lengths:?}");
    service.stop().await;
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[tokio::test(flavor = "multi_thread")]
async fn tesseract_reads_unless_there_is_a_better_model_than_the_demo() {
    let service = Service::start(&[]).await;
    let png = text("Invoice 4711", "DejaVuSans.ttf");
    let reply = service.ask("/vision/ocr", json!({"image": uri(&png)})).await;
    assert_eq!(said(&reply, "text"), "Invoice 4711");
    assert!(said(&reply, "model").starts_with("tesseract "), "{reply}");
    // A request that names a model gets that one.
    let request = json!({"image": uri(&sample("hello.png")), "model": "simpleton-demo"});
    assert_eq!(
        service.ask("/vision/ocr", request).await,
        json!({"text": "HELLO", "model": "simpleton-demo"})
    );
    service.stop().await;
    let without = Service::start(&[("TESSERACT", "/nowhere/tesseract")]).await;
    let read = without.ask("/vision/ocr", json!({"image": uri(&sample("hello.png"))})).await;
    assert_eq!(read, json!({"text": "HELLO", "model": "simpleton-demo"}));
    without.stop().await;
}
