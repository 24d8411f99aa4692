//! Other people's clients, used as their own documentation shows them, with the whole server and real models. Each test
//! runs a script; `scripts/clients.sh` installs the packages that the scripts import.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

mod scripts;

#[path = "../../testing/eventually.rs"]
mod eventually;
#[path = "../../testing/llama_server.rs"]
mod llama_server;
#[path = "../../testing/real_models.rs"]
mod real_models;
#[path = "../../testing/real_server.rs"]
mod real_server;

use scripts::{run, run_with};

#[tokio::test(flavor = "multi_thread")]
async fn python_readme() {
    run("python/with_readme.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_openai() {
    run("python/with_openai.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_openai_responses() {
    run("python/with_openai_responses.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_langchain_openai() {
    run("python/with_langchain_openai.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_langchain_ollama() {
    run("python/with_langchain_ollama.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_llama_index() {
    run("llama_index/with_llama_index.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_litellm() {
    run("python/with_litellm.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_litellm_ollama() {
    run("python/with_litellm_ollama.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_litellm_anthropic() {
    run("python/with_litellm_anthropic.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_llm() {
    run("python/with_llm.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_openai() {
    run("node/with_openai.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_ai_sdk_openai() {
    run("node/with_ai_sdk_openai.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_ai_sdk_compatible() {
    run("node/with_ai_sdk_compatible.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_ollama() {
    run("node/with_ollama.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_anthropic() {
    run("python/with_anthropic.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_ollama() {
    run("python/with_ollama.py").await;
}

/// The demo model answers, and briefly: hundreds of requests are for a model.
#[tokio::test(flavor = "multi_thread")]
async fn python_schemathesis() {
    let settings = [
        ("DEFAULT_INFERENCE_MODEL", "simpleton-demo"),
        ("DEFAULT_VISION_MODEL", "simpleton-demo"),
        ("ENGINE_CONTEXT", "512"),
    ];
    run_with("python/with_schemathesis.py", &settings).await;
}
