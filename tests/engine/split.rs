//! A model that is split over several files.

use std::fs;

use serde_json::json;
use sha2::{Digest, Sha256};
use simpleton::{
    backend::Backend,
    types::{ChatRequest, Message, Prompt, Role},
};

use crate::{
    gguf_split::split,
    harness::{Rig, question},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_split_model_answers_as_the_whole_one() {
    let rig = Rig::new(&[]);
    let models = rig.dir.path().join("models");
    let layer = |bytes: &Vec<u8>| {
        let hash = Sha256::digest(bytes);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(models.join(format!("blobs/sha256-{hex}")), bytes).expect("a blob");
        json!({ "mediaType": "application/vnd.ollama.image.model", "digest": format!("sha256:{hex}"), "size": bytes.len() })
    };
    let whole = fs::read("models/demo/simpleton-demo.gguf").expect("the demo model");
    let layers: Vec<_> = split(&whole, 3).iter().map(layer).collect();
    let folder = models.join("manifests/hf.co/me/demo");
    fs::create_dir_all(&folder).expect("a folder");
    let manifest = json!({ "schemaVersion": 2, "layers": layers });
    fs::write(folder.join("latest"), manifest.to_string()).expect("a manifest");

    let text = "What is the capital of France?";
    let prompt = Prompt::Messages(vec![Message::new(Role::User, text)]);
    let mut of_parts = ChatRequest::new("hf.co/me/demo", prompt);
    of_parts.sampling = question(text).sampling;
    let parts = rig.reply(of_parts).await.expect("a reply");
    let whole = rig.reply(question(text)).await.expect("a reply");
    assert!(whole.text().contains("Paris") && parts.text() == whole.text(), "{parts:?}");
    rig.backend.stop().await;
}
