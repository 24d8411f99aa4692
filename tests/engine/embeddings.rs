//! Embeddings from the demo model in its other role.

use simpleton::{
    backend::Backend,
    engine::Role,
    error::{Kind, Result},
    types::{EmbedReply, EmbedRequest},
};

use crate::harness::Rig;

async fn embed(rig: &Rig, input: Vec<String>) -> Result<EmbedReply> {
    let model = "simpleton-demo".to_owned();
    rig.backend.embed(EmbedRequest { model, input, truncate: false, keep_alive: None }).await
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_texts_come_back_in_their_order() {
    let rig = Rig::new(&[]);
    let all = ["a red circle", "What is the capital of France?", "a red circle", "é 日本 🙂", "x"];
    let reply = embed(&rig, texts(&all)).await.expect("embeddings");
    assert_eq!(reply.embeddings.len(), all.len());
    assert!(reply.embeddings.iter().all(|embedding| embedding.len() == 192));
    assert!(reply.prompt_tokens > 5 && !reply.timings.load.is_zero());
    assert!(cosine(&reply.embeddings[0], &reply.embeddings[2]) > 0.9999);
    assert!(cosine(&reply.embeddings[0], &reply.embeddings[1]) < 0.999);
    assert_eq!(rig.only_loaded().role, Role::Embed);

    for (n, text) in all.iter().enumerate() {
        let alone = embed(&rig, texts(&[text])).await.expect("an embedding");
        let likeness = cosine(&alone.embeddings[0], &reply.embeddings[n]);
        assert!(likeness > 0.999, "{text}: {likeness}");
    }
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_one_call() {
    let rig = Rig::new(&["--engine-context", "256"]);
    let input: Vec<String> = (0..2048).map(|n| format!("{n}")).collect();
    let reply = embed(&rig, input).await.expect("embeddings");
    assert_eq!(reply.embeddings.len(), 2048);
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_over_the_context_is_refused_by_number_and_the_child_lives_on() {
    let rig = Rig::new(&["--engine-context", "300"]);
    let fits = " a".repeat(300);
    embed(&rig, vec![fits.clone()]).await.expect("300 tokens fit");
    let pid = rig.pid();
    let error = embed(&rig, vec![fits, "x".into(), " a".repeat(301)]).await.expect_err("too long");
    assert_eq!(error.kind(), Kind::Invalid);
    let [field] = error.field_errors() else { panic!("{error:?}") };
    assert_eq!(field.pointer, "/input/2");
    assert!(field.detail.contains("301") && field.detail.contains("300"), "{error:?}");
    assert!(field.detail.contains("ENGINE_CONTEXT") && field.detail.contains("2048"), "{error:?}");

    let error = embed(&rig, texts(&["x", ""])).await.expect_err("empty");
    assert_eq!(error.field_errors()[0].pointer, "/input/1");
    embed(&rig, texts(&["x"])).await.expect("it lives on");
    assert_eq!(rig.pid(), pid);
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_over_the_context_is_cut_when_that_is_asked_for() {
    let rig = Rig::new(&["--engine-context", "300"]);
    let embed = async |input: Vec<String>| {
        let model = "simpleton-demo".to_owned();
        let request = EmbedRequest { model, input, truncate: true, keep_alive: None };
        rig.backend.embed(request).await.expect("embeddings")
    };
    let reply = embed(vec!["x".into(), " a".repeat(2000), " a".repeat(300), " b".repeat(301)]).await;
    assert_eq!(reply.truncated, [1, 3]);
    assert_eq!(reply.embeddings.len(), 4);
    assert!(cosine(&reply.embeddings[1], &reply.embeddings[2]) > 0.9999, "it is cut to what fits");
    rig.backend.stop().await;
}
