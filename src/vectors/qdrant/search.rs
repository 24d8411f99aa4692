//! Searching a collection. Qdrant finds and scores chunks; they are fused, made diverse and cut off as in the embedded
//! store.

use std::collections::HashMap;

use qdrant_client::qdrant::{
    DenseVector, Filter as QdrantFilter, Query as QdrantQuery, QueryPoints, SearchParams, VectorInput, query,
    vector_input,
};

use super::{
    super::{
        CollectionName, Filter, Found, Hit, Query, Search,
        ranking::{MIN_POOL, best_first, diversify, fuse, normalize, pool},
        stop_words::without_stop_words,
    },
    Qdrant,
    catalog::State,
    chunks,
    client::{DENSE, Part, WORDS},
    facts,
    failure::Outcome,
    points::{damaged, id_of, live},
    words,
};

/// Candidates that the graph of vectors is searched for, at least: as many as recall needs.
const MIN_CANDIDATES: usize = 256;

/// Ids of chunks with their scores, best first.
type Ranking = Vec<(u128, f32)>;

pub(super) async fn search(store: &Qdrant, name: &CollectionName, query: Query) -> Outcome<Found> {
    query.check()?;
    let query = &query;
    store.consistently(name, |state| async move { Searching { store, state }.run(query).await }).await
}

struct Searching<'a> {
    store: &'a Qdrant,
    state: State,
}

impl Searching<'_> {
    async fn run(&self, query: &Query) -> Outcome<Found> {
        let embedding = &self.state.searched.embedding;
        if let Search::Vector(vector) | Search::Hybrid(vector, _) = &query.search
            && (vector.model != embedding.model || vector.values.len() != embedding.dimension)
        {
            return Ok(Found::OtherModel(embedding.clone()));
        }
        let (top_k, diversity) = (query.top_k, query.diversity);
        let wanted = if diversity > 0.0 { pool(top_k) } else { top_k };
        let mut ranking = self.rank(query, wanted).await?;
        ranking.retain(|hit| query.score_threshold.is_none_or(|threshold| hit.1 >= threshold));
        if diversity > 0.0 {
            ranking.truncate(wanted);
            let vectors = self.vectors(&ranking).await?;
            ranking = diversify(ranking, |id| vectors.get(&id).cloned(), diversity, top_k);
        }
        ranking.truncate(top_k);
        Ok(Found::Hits(self.hits(&ranking).await?))
    }

    async fn rank(&self, query: &Query, wanted: usize) -> Outcome<Ranking> {
        let filter = self.filter(query.filter.as_ref());
        let wanted = if matches!(query.search, Search::Hybrid(..)) { pool(query.top_k) } else { wanted };
        let vectors = match &query.search {
            Search::Vector(vector) | Search::Hybrid(vector, _) => {
                Some(by_vector(vector.values.clone(), filter.clone(), wanted))
            }
            Search::Keyword(_) => None,
        };
        let words = match &query.search {
            Search::Keyword(text) | Search::Hybrid(_, text) => by_words(text, filter, wanted),
            Search::Vector(_) => None,
        };
        let has_vectors = vectors.is_some();
        let queries: Vec<QueryPoints> = vectors.into_iter().chain(words).collect();
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let collection = self.state.searched.collection();
        let mut found = self.store.client.query(&collection, queries).await?.into_iter();
        let vectors = if has_vectors { found.next().unwrap_or_default() } else { Vec::new() };
        let (vectors, words) =
            (cosines(vectors, wanted), shares_of_the_best(found.next().unwrap_or_default(), wanted));
        Ok(match query.search {
            Search::Vector(_) => vectors,
            Search::Keyword(_) => words,
            Search::Hybrid(..) => fuse(&vectors, &words),
        })
    }

    fn filter(&self, filter: Option<&Filter>) -> QdrantFilter {
        let mut all = live(self.state.version);
        all.must.extend(filter.map(facts::condition));
        all
    }

    async fn vectors(&self, ranking: &Ranking) -> Outcome<HashMap<u128, Vec<f32>>> {
        let points =
            self.store.client.get(&self.state.searched.collection(), &ids(ranking), Part::Vector).await?;
        points.iter().map(|point| Ok((id_of(point.id.as_ref())?, chunks::dense(point)?))).collect()
    }

    async fn hits(&self, ranking: &Ranking) -> Outcome<Vec<Hit>> {
        if ranking.is_empty() {
            return Ok(Vec::new());
        }
        let points =
            self.store.client.get(&self.state.searched.collection(), &ids(ranking), Part::Payload).await?;
        let mut hits = HashMap::with_capacity(points.len());
        for point in &points {
            hits.insert(id_of(point.id.as_ref())?, chunks::hit(point)?);
        }
        let scored = ranking.iter().map(|(id, score)| {
            // A chunk that a put has removed meanwhile makes this search begin again.
            let hit = hits.remove(id).ok_or_else(|| damaged("a chunk that was found is gone"))?;
            Ok(Hit { score: *score, ..hit })
        });
        scored.collect()
    }
}

fn ids(ranking: &Ranking) -> Vec<u128> {
    ranking.iter().map(|hit| hit.0).collect()
}

fn by_vector(mut values: Vec<f32>, filter: QdrantFilter, wanted: usize) -> QueryPoints {
    normalize(&mut values);
    let input = vector_input::Variant::Dense(DenseVector { data: values });
    let candidates = MIN_CANDIDATES.max(wanted) as u64;
    let params = SearchParams { hnsw_ef: Some(candidates), ..SearchParams::default() };
    nearest(input, DENSE, filter, wanted, Some(params))
}

/// None when the text has no words.
fn by_words(text: &str, filter: QdrantFilter, wanted: usize) -> Option<QueryPoints> {
    let words = words::of_query(&without_stop_words(text));
    let has_words = !words.indices.is_empty();
    has_words.then(|| nearest(vector_input::Variant::Sparse(words), WORDS, filter, wanted, None))
}

fn nearest(
    input: vector_input::Variant,
    using: &str,
    filter: QdrantFilter,
    wanted: usize,
    params: Option<SearchParams>,
) -> QueryPoints {
    let input = VectorInput { variant: Some(input) };
    QueryPoints {
        query: Some(QdrantQuery { variant: Some(query::Variant::Nearest(input)) }),
        using: Some(using.to_owned()),
        filter: Some(filter),
        params,
        // Of hits with equal scores Qdrant returns any; those before the others are chosen from more.
        limit: Some(wanted.max(MIN_POOL) as u64),
        ..QueryPoints::default()
    }
}

fn cosines(mut ranking: Ranking, wanted: usize) -> Ranking {
    ranking.sort_by(best_first);
    ranking.truncate(wanted);
    ranking.iter_mut().for_each(|hit| hit.1 = hit.1.clamp(0.0, 1.0));
    ranking
}

/// Scores as shares of the best one.
fn shares_of_the_best(mut ranking: Ranking, wanted: usize) -> Ranking {
    // Chunks that have none of the words.
    ranking.retain(|hit| hit.1 > 0.0);
    ranking.sort_by(best_first);
    ranking.truncate(wanted);
    let best = ranking.first().map_or(1.0, |hit| hit.1);
    ranking.iter_mut().for_each(|hit| hit.1 = (hit.1 / best).clamp(0.0, 1.0));
    ranking
}
