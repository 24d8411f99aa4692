//! Search: a query is embedded by the model of the collection, and the store finds what is near.

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
            match self.documents.store.search(&asked.collection, query).await? {
                Found::Hits(hits) => return Ok(hits),
                Found::OtherModel(embedding) => model = embedding.model,
            }
        }
        let message = "The collection changed its embedding model during the search; search again.";
        Err(Error::new(Kind::Unavailable, message))
    }

    async fn query_vector(&self, caller: &Caller, model: String, text: String) -> Result<QueryVector> {
        let model = self.resolve(Some(&model), Capability::Embedding).await?;
        let input = once(text).collect();
        let request = EmbedRequest { model: model.clone(), input, truncate: false, keep_alive: None };
        let embedded =
            self.embed(caller, request).await.map_err(|error| error.at(|_| "/query".to_owned()))?;
        let values = embedded.vectors.first().map(|vector| vector.to_vec()).unwrap_or_default();
        Ok(QueryVector { model, values })
    }
}
