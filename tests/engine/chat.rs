//! Text from the demo model by every way that leads to it.

use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::json;
use simpleton::{
    backend::Backend,
    engine::Role as EngineRole,
    error::Kind,
    http_client::{Request, Retry},
    images::{Image, ImageLimits},
    types::{
        ChatEvent, ChatRequest, Completion, FinishReason, Format, Message, Part, Prompt, Role, Tool,
        ToolChoice,
    },
    wire::llama::{TemplateBody, TemplateReply},
};

use crate::harness::{Rig, collect, completion, cpu_ticks, question, request, slow, some_text, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_with_one_end() {
    let rig = Rig::new(&[]);
    let reply = rig.reply(question("What is the capital of France?")).await.expect("a reply");
    assert!(reply.text().contains("Paris"), "{reply:?}");
    assert_eq!(reply.done.reason, FinishReason::Stop);
    assert!(reply.done.usage.prompt_tokens > 5 && reply.done.usage.completion_tokens > 5, "{reply:?}");
    let timings = reply.done.timings;
    assert!(!timings.load.is_zero() && timings.total >= timings.load, "{timings:?}");
    assert!(!timings.eval.is_zero(), "{timings:?}");
    assert_eq!(reply.done.context, None);

    let again = rig.reply(question("What is the capital of France?")).await.expect("a reply");
    assert!(again.done.timings.load.is_zero(), "it was loaded already");
    assert_eq!(rig.only_loaded().slots_busy, 0);
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_can_be_continued_by_its_context() {
    let rig = Rig::new(&[]);
    let first = rig.reply(completion("What is the capital of France?", None)).await.expect("a reply");
    assert!(first.text().contains("Paris"), "{first:?}");
    let context = first.done.context.expect("a context");
    assert!(context.len() as u64 >= first.done.usage.prompt_tokens + first.done.usage.completion_tokens - 1);

    let second =
        rig.reply(completion("What is the capital of Kenya?", Some(context.clone()))).await.expect("a reply");
    assert!(second.text().contains("Nairobi"), "{second:?}");
    let longer = second.done.context.expect("a context");
    assert!(longer.starts_with(&context) && longer.len() > context.len());
    // The earlier turns are read as what they were.
    assert!(second.done.usage.prompt_tokens > context.len() as u64);
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_prompt_goes_in_as_it_is() {
    let rig = Rig::new(&[]);
    let text =
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\nThe capital of";
    let raw = Completion { text: text.to_owned(), raw: true, ..Completion::default() };
    let reply = rig.reply(request(Prompt::Completion(raw))).await.expect("a reply");
    assert_eq!(reply.text(), " France is Paris.");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_assistant_message_is_continued() {
    let rig = Rig::new(&[]);
    let messages = vec![
        Message::new(Role::User, "What is the capital of France?"),
        Message::new(Role::Assistant, "The capital of"),
    ];
    let reply = rig.reply(request(Prompt::Messages(messages))).await.expect("a reply");
    assert_eq!(reply.text(), " France is Paris.");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn formats_are_kept() {
    let rig = Rig::new(&[]);
    let mut any = question("Give me JSON");
    any.format = Format::Json;
    let reply = rig.reply(any).await.expect("a reply");
    assert!(serde_json::from_str::<serde_json::Value>(&reply.text()).expect("JSON").is_object());

    let mut schema = question("Are you there?");
    schema.format = Format::Schema(json!({"enum": ["perhaps"]}).into());
    assert_eq!(rig.reply(schema).await.expect("a reply").text(), "\"perhaps\"");

    // A model that thinks before it answers is asked to by the order of a schema.
    let mut ordered = question("Are you there?");
    let text = r#"{"type": "object", "required": ["why", "answer"],
        "properties": {"why": {"enum": ["because"]}, "answer": {"enum": ["yes"]}}}"#;
    ordered.format = Format::Schema(serde_json::from_str(text).expect("JSON"));
    assert_eq!(
        rig.reply(ordered).await.expect("a reply").text().replace([' ', '\n'], ""),
        r#"{"why":"because","answer":"yes"}"#
    );

    let mut wrong = question("Hello");
    wrong.format = Format::Schema(json!({"type": "nonsense"}).into());
    let error = rig.reply(wrong).await.expect_err("no such type");
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().contains("cannot enforce this schema"), "{error:?}");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_called() {
    let rig = Rig::new(&[]);
    let mut request = question("What is the weather in Oslo?");
    request.tools = vec![Tool {
        name: "get_weather".to_owned(),
        description: Some("Get the weather".to_owned()),
        parameters:
            json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}).into(),
    }];
    let reply = rig.reply(request).await.expect("a reply");
    let [ChatEvent::ToolCall(call)] = &reply.events[..] else { panic!("{reply:?}") };
    assert_eq!((call.name.as_str(), &call.arguments), ("get_weather", &json!({"city": "Oslo"}).into()));
    assert_eq!(reply.done.reason, FinishReason::ToolCalls);
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_choice_is_kept() {
    let rig = Rig::new(&[]);
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        description: None,
        parameters: json!({"type": "object", "properties": {"city": {"type": "string"}}}).into(),
    };
    let called = async |text: &str, tool_choice| {
        let tools = vec![tool("get_weather"), tool("get_time")];
        let request = ChatRequest { tools, tool_choice, ..question(text) };
        let reply = rig.reply(request).await.expect("a reply");
        let names = reply.events.into_iter().filter_map(|event| match event {
            ChatEvent::ToolCall(call) => Some(call.name),
            _ => None,
        });
        (names.collect::<Vec<_>>(), reply.done.reason)
    };
    let weather = "What is the weather in Oslo?";
    let (names, reason) = called(weather, ToolChoice::None).await;
    assert!(names.is_empty() && reason != FinishReason::ToolCalls, "{names:?}, {reason:?}");
    let (names, reason) = called("Hello!", ToolChoice::Auto).await;
    assert!(names.is_empty() && reason == FinishReason::Stop, "{names:?}, {reason:?}");
    // A model may say something first, and until its tokens run out.
    let is_kept = |names: &[String], reason| match reason {
        FinishReason::ToolCalls => !names.is_empty(),
        reason => names.is_empty() && reason == FinishReason::Length,
    };
    let (names, reason) = called("Hello!", ToolChoice::Required).await;
    assert!(is_kept(&names, reason.clone()), "{names:?}, {reason:?}");
    let (names, reason) = called(weather, ToolChoice::Named("get_time".to_owned())).await;
    assert!(names.iter().all(|name| name == "get_time"), "{names:?}");
    assert!(is_kept(&names, reason.clone()), "{names:?}, {reason:?}");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stop_sequence_of_a_raw_prompt_and_cached_tokens_are_told() {
    let rig = Rig::new(&[]);
    let text =
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\nThe capital of";
    let raw = Completion { text: text.to_owned(), raw: true, ..Completion::default() };
    let mut request = request(Prompt::Completion(raw));
    request.sampling.stop = vec!["Berlin".to_owned(), " is".to_owned()];
    let first = rig.reply(request.clone()).await.expect("a reply");
    assert_eq!((first.text().as_str(), first.done.usage.cached_tokens), (" France", Some(0)));
    assert_eq!(first.done.reason, FinishReason::StopSequence(" is".to_owned()));
    let again = rig.reply(request).await.expect("a reply").done.usage;
    assert!(
        again.cached_tokens.is_some_and(|cached| (1..=again.prompt_tokens).contains(&cached)),
        "{again:?}"
    );

    let chat = || async { rig.reply(question("Who are you?")).await.expect("a reply").done };
    chat().await;
    let done = chat().await;
    let (usage, reason) = (done.usage, done.reason);
    assert!(
        usage.cached_tokens.is_some_and(|cached| (1..=usage.prompt_tokens).contains(&cached)),
        "{usage:?}"
    );
    assert_eq!((usage.reasoning_tokens, reason), (None, FinishReason::Stop));
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_stands_where_it_stood_between_two_texts() {
    let rig = Rig::new(&[]);
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(28, 28).write_to(&mut png, image::ImageFormat::Png).expect("a PNG");
    let image = Image::from_bytes(png.into_inner(), &ImageLimits::default()).expect("an image");
    let part = |text: &str| Part::Text(text.to_owned());
    let content = vec![part("before"), Part::Image(image), part("after")];
    let messages = [Message { content, ..Message::new(Role::User, "") }];
    let body = serde_json::to_vec(&TemplateBody::open(&messages, None)).expect("JSON");
    let lease = rig.engine.acquire(Arc::clone(&rig.entry), EngineRole::Chat, None).await.expect("a lease");
    let asked = lease.client().send(Request::post("/apply-template", body, Retry::Idempotent)).await;
    let prompt = asked.expect("an answer").bytes(100_000).await.expect("an answer");
    let prompt: TemplateReply = serde_json::from_slice(&prompt).expect("a prompt");
    let (_, content) = prompt.prompt.split_once("before").expect("the first text");
    let (between, _) = content.split_once("after").expect("the second text after it");
    assert!(between.contains("__media"), "{between:?}");
    drop(lease);
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_seen() {
    let rig = Rig::new(&[]);
    let square = image::RgbImage::from_fn(140, 140, |x, y| {
        let inside = (40..100).contains(&x) && (40..100).contains(&y);
        image::Rgb(if inside { [30, 60, 220] } else { [255, 255, 255] })
    });
    let mut png = std::io::Cursor::new(Vec::new());
    square.write_to(&mut png, image::ImageFormat::Png).expect("a PNG");
    let image = Image::from_bytes(png.into_inner(), &ImageLimits::default()).expect("an image");
    let message =
        Message::new(Role::User, "Describe this image in one brief sentence.").with_images(vec![image]);
    let reply = rig.reply(request(Prompt::Messages(vec![message]))).await.expect("a reply");
    assert!(reply.text().contains("blue"), "{reply:?}");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_dropped_stops_the_child_and_frees_its_slot() {
    let rig = Rig::new(&["--engine-parallel", "1"]);
    let mut stream = rig.backend.chat(slow()).await.expect("a stream");
    some_text(&mut stream).await;
    let pid = rig.pid();
    assert_eq!(rig.only_loaded().slots_busy, 1);
    drop(stream);
    assert_eq!(rig.only_loaded().slots_busy, 0);

    let mut before = cpu_ticks(pid);
    let mut checked = std::time::Instant::now();
    until("the child is quiet", || {
        // A tick is 10 ms, and the slow request takes all of it.
        if checked.elapsed().as_millis() < 300 {
            return false;
        }
        let now = cpu_ticks(pid);
        let quiet = now - before <= 3;
        (before, checked) = (now, std::time::Instant::now());
        quiet
    })
    .await;
    let reply = rig.reply(question("What is the capital of France?")).await.expect("a reply");
    assert!(reply.text().contains("Paris"));
    assert_eq!(rig.pid(), pid);
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_run_side_by_side() {
    let rig = Rig::new(&[]);
    let mut slow_stream = rig.backend.chat(slow()).await.expect("a stream");
    some_text(&mut slow_stream).await;
    let quick = collect(rig.backend.chat(question("Who are you?")).await.expect("a stream"));
    assert!(quick.await.expect("a reply").text().contains("demo model"));
    assert!(matches!(slow_stream.next().await, Some(Ok(ChatEvent::Text(_)))), "the slow one goes on");
    drop(slow_stream);
    rig.backend.stop().await;
}
