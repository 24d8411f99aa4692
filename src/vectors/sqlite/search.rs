//! Searching a collection: all of a search reads the file as it was at one moment.

use std::{collections::HashMap, sync::Arc};

use futures_util::TryStreamExt;
use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteRow};
use tokio::task::spawn_blocking;

use super::{
    super::{
        CollectionName, Found, Hit, Query, QueryVector, Search, metadata, no_collection,
        ranking::{best_first, diversify, dot, fuse, normalize, pool},
        stop_words::without_stop_words,
    },
    Sqlite, facts,
    failure::Outcome,
    index::{Index, Nearest},
    keywords,
    tables::{self, Generation, id_list},
};

/// Words in more chunks than this are common.
const COMMON: i64 = 10_000;

/// Ids of chunks with their scores, best first.
type Ranking = Vec<(i64, f32)>;

pub(super) async fn search(store: &Sqlite, name: &CollectionName, query: Query) -> Outcome<Found> {
    query.check()?;
    let mut reader = store.reader().await?;
    let mut read = reader.begin().await?;
    let mut generation = tables::searched(&mut read, name).await?.ok_or_else(|| no_collection(name))?;
    let mut index = store.indexes.get(&generation);
    if index.is_none() && !matches!(query.search, Search::Keyword(_)) {
        // No commit until the index is there, which would be behind it at once.
        read.rollback().await?;
        let _publishing = store.publishing.lock().await;
        read = reader.begin().await?;
        generation = tables::searched(&mut read, name).await?.ok_or_else(|| no_collection(name))?;
        index = match store.indexes.get(&generation) {
            Some(index) => Some(index),
            None => Some(load(store, &mut read, &generation).await?),
        };
    }
    let mut searching = Searching { read: &mut read, generation: &generation, index, allowed: None };
    searching.run(query).await
}

/// Reads all vectors of a generation.
async fn load(
    store: &Sqlite,
    connection: &mut SqliteConnection,
    generation: &Generation,
) -> sqlx::Result<Arc<Index>> {
    let dimension = generation.embedding.dimension;
    let mut index = Index::new(generation.version, dimension);
    let sql = "SELECT chunk, value FROM vector WHERE generation = ?1 ORDER BY chunk";
    let mut rows = sqlx::query(sql).bind(generation.id).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        index.add(row.try_get(0)?, &tables::vector(row.try_get(1)?, dimension)?);
    }
    let index = Arc::new(index);
    store.indexes.insert(generation, Arc::clone(&index));
    Ok(index)
}

struct Searching<'a> {
    read: &'a mut SqliteConnection,
    generation: &'a Generation,
    /// None only for keywords.
    index: Option<Arc<Index>>,
    /// Ids of the chunks that pass the filter; all of them when there is none.
    allowed: Option<Arc<Vec<i64>>>,
}

impl Searching<'_> {
    async fn run(&mut self, query: Query) -> Outcome<Found> {
        let Query { search, filter, top_k, score_threshold, diversity } = query;
        if let Search::Vector(vector) | Search::Hybrid(vector, _) = &search {
            let embedding = &self.generation.embedding;
            if vector.model != embedding.model || vector.values.len() != embedding.dimension {
                return Ok(Found::OtherModel(embedding.clone()));
            }
        }
        if let Some(filter) = filter {
            let allowed = facts::matching(self.read, self.generation, &filter).await?;
            self.allowed = Some(Arc::new(allowed));
        }
        let wanted = if diversity > 0.0 { pool(top_k) } else { top_k };
        let mut ranking = match search {
            Search::Vector(vector) => self.by_vector(vector, wanted).await?,
            Search::Keyword(text) => self.by_keyword(&text, wanted).await?,
            Search::Hybrid(vector, text) => {
                let (vectors, words) =
                    (self.by_vector(vector, pool(top_k)).await?, self.by_keyword(&text, pool(top_k)).await?);
                fuse(&vectors, &words)
            }
        };
        ranking.retain(|hit| score_threshold.is_none_or(|threshold| hit.1 >= threshold));
        if diversity > 0.0 {
            ranking.truncate(wanted);
            let ids: Vec<i64> = ranking.iter().map(|hit| hit.0).collect();
            let vectors = self.vectors(&ids).await?;
            ranking = diversify(ranking, |id| vectors.get(&id).cloned(), diversity, top_k);
        }
        ranking.truncate(top_k);
        Ok(Found::Hits(self.hits(&ranking).await?))
    }

    async fn by_vector(&mut self, mut vector: QueryVector, wanted: usize) -> sqlx::Result<Ranking> {
        let Some(index) = self.index.clone() else { return Ok(Vec::new()) };
        normalize(&mut vector.values);
        let (vector, allowed) = (Arc::new(vector.values), self.allowed.clone());
        let query = Arc::clone(&vector);
        let nearest =
            spawn_blocking(move || index.nearest(&query, allowed.as_deref().map(Vec::as_slice), wanted));
        let mut ranking = match nearest.await.map_err(|error| sqlx::Error::Io(error.into()))? {
            Nearest::Exact(ranking) => ranking,
            Nearest::Candidates(ids) => {
                let vectors = self.vectors(&ids).await?;
                let mut ranking: Ranking =
                    vectors.into_iter().map(|(id, other)| (id, dot(&vector, &other))).collect();
                ranking.sort_by(best_first);
                ranking
            }
        };
        ranking.truncate(wanted);
        ranking.iter_mut().for_each(|hit| hit.1 = hit.1.clamp(0.0, 1.0));
        Ok(ranking)
    }

    async fn by_keyword(&mut self, text: &str, wanted: usize) -> sqlx::Result<Ranking> {
        let text = without_stop_words(text);
        let words = self.telling(keywords::words(&text)).await?;
        if words.is_empty() {
            return Ok(Vec::new());
        }
        // The plus keeps SQLite from asking for each of these rows by itself.
        let sql =
            "SELECT rowid, rank FROM chunk_text WHERE chunk_text MATCH ?1 AND rank MATCH 'bm25(0.0, 1.0)'
                   AND (?2 IS NULL OR +rowid IN (SELECT value FROM json_each(?2))) ORDER BY rank LIMIT ?3";
        let rows: Vec<(i64, f64)> = sqlx::query_as(sql)
            .bind(keywords::any_of(&words, self.generation.id))
            .bind(self.allowed.as_ref().map(|ids| id_list(ids)))
            .bind(i64::try_from(wanted).unwrap_or(i64::MAX))
            .fetch_all(&mut *self.read)
            .await?;
        // FTS5's ranks are negative, the best one first.
        let best = rows.first().map_or(0.0, |row| row.1);
        #[expect(clippy::cast_possible_truncation, reason = "a share between 0 and 1")]
        let share = |rank: f64| if best < 0.0 { (rank / best) as f32 } else { 1.0 };
        let mut ranking: Ranking =
            rows.into_iter().map(|(id, rank)| (id, share(rank).clamp(0.0, 1.0))).collect();
        ranking.sort_by(best_first);
        Ok(ranking)
    }

    /// Leaves out words that are in very many chunks, unless all are: to rank so many takes long, and they hardly
    /// change the order.
    async fn telling<'w>(&mut self, words: Vec<&'w str>) -> sqlx::Result<Vec<&'w str>> {
        let queries: Vec<String> =
            words.iter().map(|word| keywords::any_of(&[word], self.generation.id)).collect();
        let sql = "SELECT word.key FROM json_each(?1) word WHERE ?2 >=
                   (SELECT count(*) FROM (SELECT 1 FROM chunk_text WHERE chunk_text MATCH word.value LIMIT ?2 + 1))";
        let rare: Vec<i64> = sqlx::query_scalar(sql)
            .bind(serde_json::Value::from(queries).to_string())
            .bind(COMMON)
            .fetch_all(&mut *self.read)
            .await?;
        if rare.is_empty() {
            return Ok(words);
        }
        let kept = words.into_iter().zip(0..).filter(|(_, at)| rare.contains(at));
        Ok(kept.map(|(word, _)| word).collect())
    }

    async fn vectors(&mut self, ids: &[i64]) -> sqlx::Result<HashMap<i64, Vec<f32>>> {
        let sql = "SELECT chunk, value FROM vector WHERE chunk IN (SELECT value FROM json_each(?1))";
        let rows = sqlx::query(sql).bind(id_list(ids)).fetch_all(&mut *self.read).await?;
        let dimension = self.generation.embedding.dimension;
        rows.iter().map(|row| Ok((row.try_get(0)?, tables::vector(row.try_get(1)?, dimension)?))).collect()
    }

    async fn hits(&mut self, ranking: &[(i64, f32)]) -> sqlx::Result<Vec<Hit>> {
        let ids: Vec<i64> = ranking.iter().map(|hit| hit.0).collect();
        let rows = sqlx::query(
            "SELECT c.id, d.name, c.content, c.position, c.char_start, c.char_end, c.metadata,
                    d.title, d.metadata AS document_metadata
             FROM chunk c JOIN document d ON d.id = c.document WHERE c.id IN (SELECT value FROM json_each(?1))",
        );
        let rows = rows.bind(id_list(&ids)).fetch_all(&mut *self.read).await?;
        let mut hits = HashMap::with_capacity(rows.len());
        for row in rows {
            hits.insert(row.try_get::<i64, _>("id")?, hit(&row)?);
        }
        Ok(ranking.iter().filter_map(|(id, score)| Some(Hit { score: *score, ..hits.remove(id)? })).collect())
    }
}

/// A hit whose score is not known yet.
fn hit(row: &SqliteRow) -> sqlx::Result<Hit> {
    let id = tables::document_id(row.try_get("name")?)?;
    let [position, start, end] =
        ["position", "char_start", "char_end"].map(|column| tables::count(row, column));
    let (position, start, end) = (position?, start?, end?);
    let document = tables::metadata(row.try_get("document_metadata")?)?;
    let document = metadata::of_document(&document, row.try_get("title")?);
    let chunk = tables::metadata(row.try_get("metadata")?)?;
    Ok(Hit {
        chunk_id: id.chunk(usize::try_from(position).unwrap_or(usize::MAX)),
        document_id: id,
        content: row.try_get("content")?,
        score: 0.0,
        metadata: metadata::of_hit(document, chunk, position, start, end),
    })
}
