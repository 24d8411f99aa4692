//! Searches: their time, and how many of the nearest chunks they find.

use std::time::Instant;

use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;
use simpleton::vectors::{
    CollectionName, Filter, Found, Query, QueryVector, Search, Sqlite, VectorStore, ranking::dot,
};

use crate::{
    data::{CHUNKS_PER_DOCUMENT, Data, SHARDS, embedding, word},
    support::{
        Result,
        report::{Values, Verdicts, heading},
    },
};

const RECALL_AT: usize = 10;

pub async fn measure(
    store: &Sqlite,
    small: &CollectionName,
    large: &CollectionName,
    data: &Data,
    verdicts: &mut Verdicts,
) -> Result<()> {
    heading("Searches by vector, top 5");
    let began = Instant::now();
    run(store, large, &query(near(&data.queries[0]), 5)).await?;
    println!("  the first one, which reads the vectors: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    let plain = time(store, large, data, None).await?;
    verdicts.add("large collection, median", format!("{plain:.2} ms"), "< 5 ms", plain < 5.0);
    let filtered = time(store, large, data, Some(filter()?)).await?;
    let target = format!("<= {plain:.2} ms");
    verdicts.add("filtered to 1 %, median", format!("{filtered:.2} ms"), &target, filtered <= plain);
    for (what, filter) in [("", None), (" filtered to 1 %", Some(filter()?))] {
        let recall = recall(store, large, data, filter).await?;
        let what = format!("recall@10{what} of an exact search");
        verdicts.add(&what, format!("{recall:.4}"), ">= 0.98", recall >= 0.98);
    }
    let took = time(store, small, data, None).await?;
    verdicts.add("small collection, median", format!("{took:.2} ms"), "< 1 ms", took < 1.0);
    beside_puts(store, large, data).await?;
    heading("Searches by words and by both, top 5");
    let mut random = StdRng::seed_from_u64(2);
    let texts: Vec<String> = (0..data.queries.len())
        .map(|_| (0..8).map(|_| word(&mut random)).collect::<Vec<_>>().join(" "))
        .collect();
    let (mut words, mut hybrid) = (Values::default(), Values::default());
    for (text, vector) in texts.iter().zip(&data.queries) {
        let began = Instant::now();
        run(store, large, &query(Search::Keyword(text.clone()), 5)).await?;
        words.add(began.elapsed().as_secs_f64() * 1e3);
        let vector = QueryVector { model: embedding().model, values: vector.clone() };
        let began = Instant::now();
        run(store, large, &query(Search::Hybrid(vector, text.clone()), 5)).await?;
        hybrid.add(began.elapsed().as_secs_f64() * 1e3);
    }
    for (what, mut took) in [("eight words", words), ("hybrid", hybrid)] {
        println!("  {what}: median {:.1} ms, p95 {:.1} ms", took.median(), took.quantile(0.95));
    }
    Ok(())
}

/// Searches while documents are stored one after the other.
async fn beside_puts(store: &Sqlite, large: &CollectionName, data: &Data) -> Result<()> {
    let other = CollectionName::new("other")?;
    let is_over = std::cell::Cell::new(false);
    let storing = async {
        for number in 0..200.min(data.vectors.len() / CHUNKS_PER_DOCUMENT) {
            store.put(&other, &embedding(), data.document(&other, number)?).await?;
        }
        is_over.set(true);
        Result::Ok(())
    };
    let searching = async {
        let mut took = Values::default();
        for vector in data.queries.iter().cycle() {
            if is_over.get() {
                break;
            }
            let began = Instant::now();
            run(store, large, &query(near(vector), 5)).await?;
            took.add(began.elapsed().as_secs_f64() * 1e3);
        }
        Result::Ok(took)
    };
    let (stored, took) = tokio::join!(storing, searching);
    stored?;
    let mut took = took?;
    println!("  beside puts: median {:.2} ms, p95 {:.2} ms", took.median(), took.quantile(0.95));
    store.delete_collection(&other).await?;
    Ok(())
}

/// Median of a search in milliseconds.
async fn time(store: &Sqlite, name: &CollectionName, data: &Data, filter: Option<Filter>) -> Result<f64> {
    let mut took = Values::default();
    for vector in &data.queries {
        let query = Query { filter: filter.clone(), ..query(near(vector), 5) };
        let began = Instant::now();
        run(store, name, &query).await?;
        took.add(began.elapsed().as_secs_f64() * 1e3);
    }
    println!("  {name}: median {:.2} ms, p95 {:.2} ms", took.median(), took.quantile(0.95));
    Ok(took.median())
}

/// Share of the nearest chunks that a search finds.
async fn recall(store: &Sqlite, name: &CollectionName, data: &Data, filter: Option<Filter>) -> Result<f64> {
    let (mut found, mut wanted) = (0_u32, 0_u32);
    for vector in &data.queries {
        let mut exact: Vec<(usize, f32)> = data
            .vectors
            .iter()
            .enumerate()
            .filter(|(at, _)| filter.is_none() || (at / CHUNKS_PER_DOCUMENT).is_multiple_of(SHARDS))
            .map(|(at, other)| (at, dot(vector, other)))
            .collect();
        exact.sort_by(|left, right| right.1.total_cmp(&left.1));
        let query = Query { filter: filter.clone(), ..query(near(vector), RECALL_AT) };
        let hits = run(store, name, &query).await?;
        for (at, _) in exact.iter().take(RECALL_AT) {
            let chunk = format!("{name}/{}#{}", at / CHUNKS_PER_DOCUMENT, at % CHUNKS_PER_DOCUMENT);
            wanted += 1;
            found += u32::from(hits.contains(&chunk));
        }
    }
    Ok(f64::from(found) / f64::from(wanted))
}

/// Ids of the chunks found.
async fn run(store: &Sqlite, name: &CollectionName, query: &Query) -> Result<Vec<String>> {
    match store.search(name, query.clone()).await? {
        Found::Hits(hits) => Ok(hits.into_iter().map(|hit| hit.chunk_id).collect()),
        Found::OtherModel(embedding) => Err(format!("the vectors are of {embedding:?}").into()),
    }
}

fn near(vector: &[f32]) -> Search {
    Search::Vector(QueryVector { model: embedding().model, values: vector.to_vec() })
}

fn query(search: Search, top_k: usize) -> Query {
    Query { search, filter: None, top_k, score_threshold: None, diversity: 0.0 }
}

fn filter() -> Result<Filter> {
    Ok(Filter::parse(&json!({"shard": 0}))?)
}
