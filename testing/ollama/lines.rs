//! Lines of Ollama's streams, with its fields in its order, and its descriptions of models.

use serde_json::{Value, json};

const CREATED: &str = "2025-10-01T12:00:00.123456789Z";

/// A token of a chat.
pub fn chat_line(text: &str) -> String {
    let text = json!(text);
    format!(
        "{{\"model\":\"m\",\"created_at\":\"{CREATED}\",\"message\":{{\"role\":\"assistant\",\"content\":{text}}},\"done\":false}}\n"
    )
}

/// A token of a completion.
pub fn generate_line(text: &str) -> String {
    let text = json!(text);
    format!("{{\"model\":\"m\",\"created_at\":\"{CREATED}\",\"response\":{text},\"done\":false}}\n")
}

/// The last line of both.
pub fn last_line(tokens: usize) -> String {
    done_line("", tokens)
}

/// A whole chat that is not streamed, or its last line.
pub fn done_line(text: &str, tokens: usize) -> String {
    json!({
        "model": "m", "message": {"role": "assistant", "content": text}, "response": text, "done": true,
        "done_reason": "stop", "context": [1, 2, 3], "total_duration": 5_000_000, "load_duration": 1_000_000,
        "prompt_eval_count": 7, "prompt_eval_duration": 2_000_000, "eval_count": tokens, "eval_duration": 2_000_000
    })
    .to_string()
        + "\n"
}

pub fn version() -> Value {
    json!({"version": "0.99.0"})
}

/// Models by name and digest.
pub fn tags(models: &[(&str, &str)]) -> Value {
    let tag = |(name, digest): &(&str, &str)| {
        json!({
            "name": name, "size": 4_700_000_000_u64, "modified_at": "2025-10-01T12:00:00.5+02:00", "digest": digest,
            "details": {"family": "qwen2", "parameter_size": "7.6B", "quantization_level": "Q4_K_M"}
        })
    };
    json!({ "models": models.iter().map(tag).collect::<Vec<_>>() })
}

pub fn show(capabilities: &[&str]) -> Value {
    json!({"capabilities": capabilities, "model_info": {"qwen2.context_length": 32768}})
}

pub fn running() -> Value {
    json!({"models": [{
        "name": "qwen2.5:7b", "model": "qwen2.5:7b", "size": 5_600_000_000_u64, "digest": "aa",
        "details": {"family": "qwen2", "parameter_size": "7.6B", "quantization_level": "Q4_K_M"},
        "expires_at": "2030-10-01T12:00:00+02:00", "size_vram": 0, "context_length": 4096
    }]})
}

/// Lines of a whole download.
pub fn pull() -> String {
    let file = |completed: u64| json!({"status": "pulling abc", "digest": "sha256:abc", "total": 10, "completed": completed});
    let steps = [
        json!({"status": "pulling manifest"}),
        file(5),
        file(10),
        json!({"status": "verifying sha256 digest"}),
    ];
    let steps =
        steps.into_iter().chain(["writing manifest", "success"].map(|status| json!({ "status": status })));
    steps.map(|step| step.to_string() + "\n").collect()
}

/// A chunk of a body whose length is not said before.
pub fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

pub const LAST_CHUNK: &str = "0\r\n\r\n";

/// Vectors of the texts in a request for embeddings. Texts with words in common are near each other.
pub fn embeddings(request: &Value) -> Value {
    let inputs = match &request["input"] {
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        text => text.as_str().into_iter().collect::<Vec<_>>(),
    };
    let vectors: Vec<_> = inputs.into_iter().map(vector).collect();
    json!({"model": "m", "embeddings": vectors, "total_duration": 42, "prompt_eval_count": 5})
}

/// The counts of a text's words, in one of 64 places each.
fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0; 64];
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let hash = word.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        vector[hash % 64] += 1.0;
    }
    vector
}
