//! Benchmark of the embedded store of documents: time and recall of searches in a large collection, with and without
//! a filter and beside puts, in a small one, and by words; time of puts and deletions; memory of an idle store.
//! usage: cargo bench --bench vectors
//! CHUNKS=100000 sets the size of the large collection.

#[expect(dead_code, reason = "shared by all benchmarks, each of which uses its part")]
#[path = "../support/mod.rs"]
mod support;

mod data;
mod idle;
mod searches;

use std::time::Instant;

use simpleton::vectors::{CollectionName, DocumentId, Sqlite, VectorStore};

use data::{Data, embedding};
use support::{
    Result,
    report::{Values, Verdicts, heading},
};

const SMALL: usize = 1_000;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(file) = std::env::var_os(idle::FILE) {
        return runtime.block_on(idle::serve(file.into()));
    }
    let chunks: usize = std::env::var("CHUNKS").map_or(Ok(100_000), |chunks| chunks.parse())?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("documents.db");
    let mut verdicts = Verdicts::default();
    let data = Data::new(chunks);
    runtime.block_on(async {
        let store = Sqlite::new(file.clone());
        heading("Storing documents of 20 chunks");
        let small = CollectionName::new("small")?;
        fill(&store, &small, &data, SMALL.min(chunks)).await?;
        let large = CollectionName::new("large")?;
        fill(&store, &large, &data, chunks).await?;
        let stats = store.stats().await?;
        #[expect(clippy::cast_precision_loss, reason = "bytes for people")]
        let megabytes = stats.bytes as f64 / 1e6;
        println!("  {} chunks take {megabytes:.0} MB on disk", stats.chunks);
        searches::measure(&store, &small, &large, &data, &mut verdicts).await?;
        store.stop().await;
        idle::measure(&file, &mut verdicts)?;
        delete(&Sqlite::new(file), &large).await
    })?;
    verdicts.print();
    Ok(())
}

async fn fill(store: &Sqlite, name: &CollectionName, data: &Data, chunks: usize) -> Result<()> {
    let mut took = Values::default();
    let began = Instant::now();
    for number in 0..chunks / data::CHUNKS_PER_DOCUMENT {
        let document = data.document(name, number)?;
        let began = Instant::now();
        store.put(name, &embedding(), document).await?;
        took.add(began.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "  {name}: {chunks} chunks in {:.1} s; a document: median {:.2} ms, worst {:.0} ms",
        began.elapsed().as_secs_f64(),
        took.median(),
        took.quantile(1.0)
    );
    Ok(())
}

async fn delete(store: &Sqlite, name: &CollectionName) -> Result<()> {
    heading("Deleting");
    let began = Instant::now();
    store.delete_document(&DocumentId::new(format!("{name}/0"))?).await?;
    println!("  a document: {:.2} ms", began.elapsed().as_secs_f64() * 1e3);
    let began = Instant::now();
    store.delete_collection(name).await?;
    println!("  the large collection: {:.2} s", began.elapsed().as_secs_f64());
    store.stop().await;
    Ok(())
}
