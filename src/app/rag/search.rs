//! Search: a query is embedded with the collection's model, and the store finds the nearest chunks.

use std::iter::once;

use crate::{
    app::{App, Caller},
    error::{Error, Kind, Result},
    types::{Capability, EmbedRequest},
    vectors::{CollectionName, Filter, Found, Hit, Query, QueryVector, Search, VectorStore},
};

/// How chunks are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// By meaning.
    #[default]
    Vector,
    /// By words.
    Keyword,
    /// By both.
    Hybrid,
}

#[derive(Clone, Debug)]
pub struct SearchDocuments {
    pub collection: CollectionName,
    pub query: String,
    pub mode: Mode,
    pub filter: Option<Filter>,
    /// Maximum number of hits.
    pub top_k: usize,
    /// Hits with a lower score are left out.
    pub score_threshold: Option<f32>,
    /// In a hybrid search, nothing is found unless the best hit by meaning has this score: those of the fusion tell which
    /// hit is the best, but not whether it is a good one.
    pub min_similarity: Option<f32>,
    /// 0 ranks by relevance only; up to 1, hits that resemble a better hit move down.
    pub diversity: f32,
}

impl App {
    /// Finds chunks of a collection, best first.
    ///
    /// # Errors
    /// `NotFound` when there is no such collection; `Invalid` for a query that its model cannot read; those of the
    /// model and of the store.
    pub async fn search(&self, caller: &Caller, asked: &SearchDocuments) -> Result<Vec<Hit>> {
        let collection = self.documents.store.collection(&asked.collection).await?;
        let mut model = collection.embedding.model;
        // Once more for a collection that was moved to another model meanwhile.
        for _ in 0..2 {
            let text = asked.query.clone();
            let search = match asked.mode {
                Mode::Vector => Search::Vector(self.query_vector(caller, model, text).await?),
                Mode::Keyword => Search::Keyword(text),
                Mode::Hybrid => Search::Hybrid(self.query_vector(caller, model, text.clone()).await?, text),
            };
            let query = Query {
                search,
                filter: asked.filter.clone(),
                top_k: asked.top_k,
                score_threshold: asked.score_threshold,
                diversity: asked.diversity,
            };
            if self.is_far(asked, &query).await? {
                return Ok(Vec::new());
            }
            match self.documents.store.search(&asked.collection, query).await? {
                Found::Hits(hits) => return Ok(hits),
                Found::OtherModel(embedding) => model = embedding.model,
            }
        }
        let message = "The collection changed its embedding model during the search; search again.";
        Err(Error::new(Kind::Unavailable, message))
    }

    /// Whether a hybrid search has no hit by meaning that is near enough.
    async fn is_far(&self, asked: &SearchDocuments, query: &Query) -> Result<bool> {
        let (Search::Hybrid(vector, _), Some(least)) = (&query.search, asked.min_similarity) else {
            return Ok(false);
        };
        let search = Search::Vector(vector.clone());
        let nearest = Query { search, top_k: 1, score_threshold: Some(least), ..query.clone() };
        let found = self.documents.store.search(&asked.collection, nearest).await?;
        Ok(matches!(found, Found::Hits(hits) if hits.is_empty()))
    }

    async fn query_vector(&self, caller: &Caller, model: String, text: String) -> Result<QueryVector> {
        let resolved = self.resolve(Some(&model), Capability::Embedding).await;
        let model = resolved.map_err(|error| error.at(|_| "/collection".to_owned()))?;
        let input = once(text).collect();
        let request = EmbedRequest { model: model.clone(), input, truncate: false, keep_alive: None };
        let embedded =
            self.embed(caller, request).await.map_err(|error| error.at(|_| "/query".to_owned()))?;
        let values = embedded.vectors.first().map(|vector| vector.to_vec()).unwrap_or_default();
        Ok(QueryVector { model, values })
    }
}
