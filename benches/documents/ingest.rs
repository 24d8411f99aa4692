//! Ingestion: how much of its time is not the embedding model's. Everything else is timed with a model that takes no
//! time, and the whole with the real one.

use std::path::Path;

use serde_json::json;

use crate::{
    EMBEDDING, corpus, instant,
    server::Server,
    setting,
    support::{
        Result,
        report::{Verdicts, heading},
    },
};

const MEGABYTES: usize = 10;
const MEGABYTE: usize = 1_000_000;

pub async fn measure(server: &Server, folder: &Path, verdicts: &mut Verdicts) -> Result<()> {
    let real = setting("MEGABYTES", 1)?;
    heading(&format!("Ingesting {MEGABYTES} MB of Markdown"));
    let rest = {
        let ollama = format!("http://{}", instant::start()?);
        let variables = [("OLLAMA_BASE_URL", &*ollama), ("DEFAULT_EMBEDDING_MODEL", instant::MODEL)];
        let server = Server::start(&folder.join("instant"), &variables)?;
        ingest(&server, &corpus::markdown(MEGABYTES * MEGABYTE)?).await?
    };
    println!("  with a model that takes no time: {rest:.1} s");
    // Loads the model.
    server.post("/embeddings/", &json!({"model": EMBEDDING, "input": "first"})).await?;
    let took = ingest(server, &corpus::markdown(real * MEGABYTE)?).await?;
    let whole = took * MEGABYTES as f64 / real as f64;
    println!("  with {EMBEDDING}, {real} MB: {took:.0} s, which makes {whole:.0} s for all");
    let share = rest / whole;
    let what = "share of the time that is not the model's";
    verdicts.add(what, format!("{:.1} %", share * 100.0), "<= 15 %", share <= 0.15);
    Ok(())
}

/// Seconds to ingest all documents one after the other.
async fn ingest(server: &Server, documents: &[String]) -> Result<f64> {
    let (mut seconds, mut chunks) = (0.0, 0);
    for (number, content) in documents.iter().enumerate() {
        let ingest = json!({
            "collection": "ingest", "document_id": format!("ingest/{number}"), "content": content,
            "chunking": "markdown"
        });
        let reply = server.post("/rag/ingest", &ingest).await?;
        seconds += reply.seconds;
        chunks += reply.body["chunks_created"].as_u64().unwrap_or(0);
    }
    println!("  {} documents, {chunks} chunks: {:.1} chunks/s", documents.len(), chunks as f64 / seconds);
    Ok(seconds)
}
