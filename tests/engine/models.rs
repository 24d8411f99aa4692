//! Models as they lie on the disk, through the whole server: what their manifests say, deletion, and memory.

use std::{collections::HashSet, fs, time::Duration};

use futures_util::StreamExt;
use serde_json::{Value, json};
use simpleton::model_store::ModelStore;

use crate::{
    eventually::eventually,
    manifest::{demo, layer, manifest},
    service::{Service, answer},
};

const DEADLINE: Duration = Duration::from_secs(120);
const QUESTION: &str = "What is the capital of France?";

async fn chat(service: &Service, model: &str, messages: Value) -> Value {
    service.ask("/inference/chat", json!({"model": model, "messages": messages, "temperature": 0})).await
}

async fn loaded(service: &Service) -> Vec<(String, u64)> {
    let reply = answer(service.get("/models/loaded")).await;
    let models = reply["models"].as_array().expect("a list");
    models
        .iter()
        .map(|model| {
            (model["name"].as_str().expect("a name").to_owned(), model["context"].as_u64().expect("tokens"))
        })
        .collect()
}

/// The demo's weights with another value of a 32-bit number in their header.
fn demo_with(key: &str, value: u32) -> Vec<u8> {
    let mut file = demo();
    let at = file.windows(key.len()).position(|bytes| bytes == key.as_bytes()).expect("the key") + key.len();
    // The number's type, and the number.
    file[at + 4..at + 8].copy_from_slice(&value.to_le_bytes());
    file
}

/// Status and detail of a refusal.
async fn refusal(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let problem: Value =
        serde_json::from_str(&response.text().await.expect("a body")).expect("a problem in JSON");
    (status, problem["detail"].as_str().expect("a detail").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_manifest_says_is_done() {
    let service = Service::start(&[("CACHE_ENABLED", "false")]).await;
    let models = service.models();
    let parameters = json!({"num_ctx": 512, "stop": ["Paris"], "temperature": 0, "num_predict": 50});
    let before = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]);
    let layers = [
        layer(&models, "model", &demo()),
        layer(&models, "params", parameters.to_string().as_bytes()),
        layer(&models, "system", b"Be brief."),
        layer(&models, "messages", before.to_string().as_bytes()),
    ];
    manifest(&models, "mine", &layers);
    answer(service.get("/models")).await;
    let described = answer(service.get("/models/MINE")).await;
    assert_eq!((&described["name"], &described["context"]["chosen"]), (&json!("mine"), &json!(512)));
    assert_eq!((&described["parameters"], &described["system"]), (&parameters, &json!("Be brief.")));

    let question = json!({"role": "user", "content": QUESTION});
    let ask = json!({"model": "Mine:LATEST", "messages": [question]});
    let mine = service.ask("/inference/chat", ask.clone()).await;
    assert_eq!((&mine["model"], &mine["done_reason"]), (&json!("mine"), &json!("stop")), "{mine}");
    let said = mine["message"]["content"].as_str().expect("a text");
    assert!(!said.is_empty() && !said.contains("Paris"), "{said}");
    for _ in 0..3 {
        assert_eq!(service.ask("/inference/chat", ask.clone()).await["message"]["content"], said);
    }
    assert_eq!(loaded(&service).await, [("mine".to_owned(), 512)]);

    // Its prompt is what the same messages are to a model that says nothing of its own.
    manifest(&models, "plain", &layers[..1]);
    let all = json!([{"role": "system", "content": "Be brief."}, before[0], before[1], question]);
    let plain = chat(&service, "plain", all).await;
    assert_eq!(plain["prompt_eval_count"], mine["prompt_eval_count"]);
    assert!(plain["message"]["content"].as_str().expect("a text").contains("Paris"), "{plain}");
    // They share their weights and so one process, which has the larger context from then on.
    let (name, context) = loaded(&service).await.remove(0);
    assert!(name == "plain" && context > 512, "{name} {context}");
    service.ask("/inference/chat", ask).await;
    assert_eq!(loaded(&service).await, [("plain".to_owned(), context)]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_model_finishes_its_answer_and_leaves_shared_files() {
    let service = Service::start(&[("CACHE_ENABLED", "false")]).await;
    let models = service.models();
    let blobs = || fs::read_dir(models.join("blobs")).expect("blobs").count();
    let installed = blobs();
    manifest(&models, "one", &[layer(&models, "model", &demo_with("llama.context_length", 1024))]);
    let store = ModelStore::open(models.clone()).expect("the models");
    store.copy(&"one".parse().expect("a name"), &"two".parse().expect("a name")).expect("a copy");

    // A grammar of many alternatives has to be tried at every token: the answer takes seconds.
    let words: Vec<Value> = (0..250).map(|n| json!({"const": format!("v{n}")})).collect();
    let list = json!({"type": "array", "minItems": 60, "maxItems": 60, "items": {"anyOf": words}});
    let body = json!({"model": "one", "messages": [{"role": "user", "content": "List."}], "format": list, "stream": true});
    let stream = service.post("/inference/chat").body(body.to_string()).send().await.expect("a stream");
    let mut stream = stream.bytes_stream();
    let mut text = stream.next().await.expect("a beginning").expect("bytes").to_vec();
    assert_eq!(answer(service.delete("/models/ONE")).await, json!({"deleted": "one"}));
    assert_eq!(refusal(service.get("/models/one")).await.0, 404);
    while let Some(bytes) = stream.next().await {
        text.extend_from_slice(&bytes.expect("bytes"));
    }
    let text = String::from_utf8(text).expect("UTF-8");
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = events.map(|event| serde_json::from_str(event).expect("JSON")).collect();
    assert_eq!(events.last().expect("an end")["done_reason"], "stop", "{text}");
    let said: String = events.iter().filter_map(|event| event["message"]["content"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Vec<String>>(&said).expect("a list").len(), 60);
    eventually(DEADLINE, "its memory is given back", async || loaded(&service).await.is_empty()).await;

    let two = chat(&service, "two", json!([{"role": "user", "content": QUESTION}])).await;
    assert!(two["message"]["content"].as_str().expect("a text").contains("Paris"), "{two}");
    assert_eq!(answer(service.delete("/models/two")).await, json!({"deleted": "two"}));
    eventually(DEADLINE, "its memory is given back", async || loaded(&service).await.is_empty()).await;
    assert_eq!(blobs(), installed, "nothing of it is left");

    let (status, detail) = refusal(service.delete("/models/simpleton-demo")).await;
    assert!(status == 422 && detail.contains("is built into the program"), "{status} {detail}");
    chat(&service, "simpleton-demo", json!([{"role": "user", "content": QUESTION}])).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_too_large_for_the_memory_is_halved() {
    let service = Service::start(&[("ENGINE_MEMORY_MB", "300"), ("ENGINE_CONTEXT", "32768")]).await;
    let models = service.models();
    manifest(&models, "long", &[layer(&models, "model", &demo_with("llama.context_length", 32768))]);
    let described = answer(service.get("/models/long")).await;
    assert_eq!(described["context"], json!({"chosen": 8192, "trained": 32768}));
    let total = described["memory"]["total"].as_u64().expect("bytes");
    assert!((200_000_000..=300_000_000).contains(&total), "{total}");
    chat(&service, "long", json!([{"role": "user", "content": QUESTION}])).await;
    assert_eq!(loaded(&service).await, [("long".to_owned(), 8192)]);
    // What is asked for is not lowered, but refused with both numbers.
    let load = service.post("/models/long/load").body(json!({"context": 32768}).to_string());
    let (status, detail) = refusal(load).await;
    assert!(status == 503 && detail.contains("may use only 300 MB"), "{status} {detail}");
    assert!(detail.starts_with("The model needs about 6"), "{detail}");
    service.stop().await;
}

/// Templates of Ollama's library, or their marks, by llama.cpp's name for them.
const TEMPLATES: [(&str, &str); 22] = [
    ("phi4", "<|im_start|>user<|im_sep|>{{ .Prompt }}<|im_end|>"),
    ("chatml", "<|im_start|>user\n{{ .Prompt }}<|im_end|>"),
    ("llama3", "<|start_header_id|>user<|end_header_id|>\n\n{{ .Prompt }}<|eot_id|>"),
    ("llama4", "<|header_start|>user<|header_end|>\n\n{{ .Prompt }}<|eot|>"),
    ("gemma", "<start_of_turn>user\n{{ .Prompt }}<end_of_turn>"),
    ("command-r", "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{{ .Prompt }}<|END_OF_TURN_TOKEN|>"),
    ("deepseek3", "<｜User｜>{{ .Prompt }}<｜Assistant｜>"),
    ("chatglm4", "[gMASK]<sop><|user|>\n{{ .Prompt }}<|assistant|>"),
    ("exaone3", "[|user|]{{ .Prompt }}\n[|assistant|]{{ .Response }}[|endofturn|]"),
    ("granite", "<|start_of_role|>user<|end_of_role|>{{ .Prompt }}<|end_of_text|>"),
    ("mistral-v7", "[SYSTEM_PROMPT] {{ .System }}[/SYSTEM_PROMPT][INST] {{ .Prompt }}[/INST]"),
    ("mistral-v3", "[AVAILABLE_TOOLS] {{ .Tools }}[/AVAILABLE_TOOLS][INST] {{ .Prompt }}[/INST]"),
    ("llama2-sys", "[INST] <<SYS>>{{ .System }}<</SYS>>\n\n{{ .Prompt }} [/INST]"),
    ("llama2", "[INST] {{ .System }} {{ .Prompt }} [/INST]"),
    ("phi3", "<|user|>\n{{ .Prompt }}<|end|>\n<|assistant|>\n{{ .Response }}<|end|>"),
    ("zephyr", "<|user|>\n{{ .Prompt }}<|endoftext|>\n<|assistant|>\n"),
    ("falcon3", "<|user|>\n{{ .Prompt }}\n<|assistant|>\n"),
    ("openchat", "GPT4 Correct User: {{ .Prompt }}<|end_of_turn|>GPT4 Correct Assistant:"),
    ("vicuna-orca", "SYSTEM: {{ .System }}\nUSER: {{ .Prompt }}\nASSISTANT: "),
    ("vicuna", "{{ .System }}\nUSER: {{ .Prompt }}\nASSISTANT: "),
    ("deepseek", "### Instruction:\n{{ .Prompt }}\n### Response:\n{{ .Response }}\n<|EOT|>"),
    ("deepseek2", "User: {{ .Prompt }}\n\nAssistant: {{ .Response }}"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_knows_every_template_that_stands_in_for_ollamas() {
    let settings = [("CACHE_ENABLED", "false"), ("ENGINE_MAX_LOADED", "64"), ("ENGINE_PARALLEL", "1")];
    let service = Service::start(&settings).await;
    let models = service.models();
    // The demo's weights without their own template.
    let mut weights = demo();
    let key = b"tokenizer.chat_template";
    let at = weights.windows(key.len()).position(|bytes| bytes == key).expect("a template");
    weights[at + key.len() - 1] = b'X';
    let weights = layer(&models, "model", &weights);
    let store = ModelStore::open(models.clone()).expect("the models");
    let mut prompts = HashSet::new();
    for (name, template) in TEMPLATES {
        manifest(&models, name, &[weights.clone(), layer(&models, "template", template.as_bytes())]);
        let entry = store.find(&name.parse().expect("a name")).expect("a model").expect("it is there");
        assert_eq!(entry.chat_template, Some(name), "{template}");
        let messages = json!([
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": QUESTION},
        ]);
        let ask =
            json!({"model": name, "messages": messages, "temperature": 0, "max_tokens": 8, "keep_alive": 0});
        let reply = service.ask("/inference/chat", ask).await;
        assert!(reply["eval_count"].as_u64().expect("tokens") > 0, "{reply}");
        prompts.insert(reply["prompt_eval_count"].as_u64().expect("tokens"));
    }
    assert!(prompts.len() > 5, "each template has its own prompt: {prompts:?}");
    service.stop().await;
}
