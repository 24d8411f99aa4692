//! Requests to Qdrant through its official client: one connection, timeouts, and a circuit breaker, so that a server
//! that does not respond costs one wait and not one per request.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use qdrant_client::{
    Qdrant, QdrantError,
    qdrant::{
        CountPoints, CreateCollection, CreateFieldIndexCollection, DeleteCollection, DeletePayloadPoints,
        DeletePoints, Distance, FieldType, Filter, GetPoints, Modifier, PointStruct, QueryBatchPoints,
        QueryPoints, RetrievedPoint, ScrollPoints, SetPayloadPoints, SparseVectorConfig, SparseVectorParams,
        UpsertPoints, VectorParams, VectorParamsMap, VectorsConfig, VectorsSelector, vectors_config::Config,
        with_payload_selector, with_vectors_selector,
    },
};

use super::{
    failure::{Failure, Fault, Outcome},
    points::{Payload, id_of, point_id},
};
use crate::{
    error::{Error, Kind, Result},
    types::Secret,
};

/// Name of the chunks' vectors, and of their words.
pub(super) const DENSE: &str = "dense";
pub(super) const WORDS: &str = "words";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Writes wait until they can be found, and new collections for the disk.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for which requests fail at once after one was not answered.
const BREAKER_DELAY: Duration = Duration::from_secs(1);
/// Points of one page when all are read.
const PAGE: u32 = 256;

pub(super) struct Client {
    qdrant: Qdrant,
    /// Beginning of the names of our collections in Qdrant; the others are not ours.
    prefix: String,
    /// When the last request was not answered, and why.
    broken: Mutex<Option<(Instant, Fault)>>,
}

/// Parts of points to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Payload,
    Vector,
    Both,
}

impl Part {
    fn payload(self) -> with_payload_selector::SelectorOptions {
        with_payload_selector::SelectorOptions::Enable(self != Self::Vector)
    }

    fn vectors(self) -> with_vectors_selector::SelectorOptions {
        if self == Self::Payload {
            return with_vectors_selector::SelectorOptions::Enable(false);
        }
        with_vectors_selector::SelectorOptions::Include(VectorsSelector { names: vec![DENSE.to_owned()] })
    }
}

/// One page of points, in the order of their ids, and the id that the next one begins with.
type Page = (Vec<RetrievedPoint>, Option<u128>);

impl Client {
    /// Connects with the first request.
    pub(super) fn new(url: &str, key: Option<&Secret>, prefix: &str) -> Result<Self> {
        let built = Qdrant::from_url(url)
            .api_key(key.map(Secret::expose))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(WRITE_TIMEOUT)
            .skip_compatibility_check()
            .build();
        let refused = |error: QdrantError| {
            Error::new(Kind::Setup, "QDRANT_URL cannot be used.").with_source(error.to_string())
        };
        Ok(Self { qdrant: built.map_err(refused)?, prefix: prefix.to_owned(), broken: Mutex::new(None) })
    }

    fn named(&self, collection: &str) -> String {
        format!("{}{collection}", self.prefix)
    }

    async fn read<T>(&self, request: impl Future<Output = Result<T, QdrantError>>) -> Outcome<T> {
        self.within(READ_TIMEOUT, request).await
    }

    async fn write<T>(&self, request: impl Future<Output = Result<T, QdrantError>>) -> Outcome<T> {
        self.within(WRITE_TIMEOUT, request).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<T, QdrantError>>,
    ) -> Outcome<T> {
        if let Some((at, fault)) = *self.broken.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < BREAKER_DELAY
        {
            return Err(Failure::Qdrant(fault, "the last request failed just now".to_owned()));
        }
        let outcome = match tokio::time::timeout(limit, request).await {
            Ok(answer) => answer.map_err(Failure::from),
            Err(_) => Err(Failure::Qdrant(Fault::Timeout, format!("no answer within {limit:?}"))),
        };
        let broken = match &outcome {
            Err(Failure::Qdrant(fault, _)) if fault.is_lasting() => Some((Instant::now(), *fault)),
            _ => None,
        };
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = broken;
        outcome
    }

    /// Points with these ids, in no order.
    pub(super) async fn get(
        &self,
        collection: &str,
        ids: &[u128],
        part: Part,
    ) -> Outcome<Vec<RetrievedPoint>> {
        let request = GetPoints {
            collection_name: self.named(collection),
            ids: ids.iter().copied().map(point_id).collect(),
            with_payload: Some(part.payload().into()),
            with_vectors: Some(part.vectors().into()),
            ..GetPoints::default()
        };
        Ok(self.read(self.qdrant.get_points(request)).await?.result)
    }

    /// Points that match, from this id on.
    pub(super) async fn page(
        &self,
        collection: &str,
        filter: Filter,
        from: u128,
        limit: u32,
        part: Part,
    ) -> Outcome<Page> {
        let request = ScrollPoints {
            collection_name: self.named(collection),
            filter: Some(filter),
            offset: Some(point_id(from)),
            limit: Some(limit),
            with_payload: Some(part.payload().into()),
            with_vectors: Some(part.vectors().into()),
            ..ScrollPoints::default()
        };
        let response = self.read(self.qdrant.scroll(request)).await?;
        let next = response.next_page_offset.as_ref().map(|id| id_of(Some(id))).transpose()?;
        Ok((response.result, next))
    }

    /// At most `limit` points that match, from this id on.
    pub(super) async fn list(
        &self,
        collection: &str,
        filter: &Filter,
        mut from: u128,
        limit: usize,
        part: Part,
    ) -> Outcome<Vec<RetrievedPoint>> {
        let mut points = Vec::new();
        while points.len() < limit {
            let size = u32::try_from(limit - points.len()).map_or(PAGE, |left| left.min(PAGE));
            let (page, next) = self.page(collection, filter.clone(), from, size, part).await?;
            points.extend(page);
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        Ok(points)
    }

    pub(super) async fn count(&self, collection: &str, filter: Filter) -> Outcome<u64> {
        let request = CountPoints {
            collection_name: self.named(collection),
            filter: Some(filter),
            exact: Some(true),
            ..CountPoints::default()
        };
        let response = self.read(self.qdrant.count(request)).await?;
        Ok(response.result.map_or(0, |result| result.count))
    }

    /// Ids with their scores of what each of the queries finds.
    pub(super) async fn query(
        &self,
        collection: &str,
        mut queries: Vec<QueryPoints>,
    ) -> Outcome<Vec<Vec<(u128, f32)>>> {
        queries.iter_mut().for_each(|query| query.collection_name = self.named(collection));
        let request = QueryBatchPoints {
            collection_name: self.named(collection),
            query_points: queries,
            ..QueryBatchPoints::default()
        };
        let response = self.read(self.qdrant.query_batch(request)).await?;
        let rankings = response.result.into_iter().map(|batch| {
            batch.result.into_iter().map(|point| Ok((id_of(point.id.as_ref())?, point.score))).collect()
        });
        rankings.collect()
    }

    pub(super) async fn upsert(&self, collection: &str, points: Vec<PointStruct>) -> Outcome<()> {
        let request = UpsertPoints {
            collection_name: self.named(collection),
            wait: Some(true),
            points,
            ..UpsertPoints::default()
        };
        self.write(self.qdrant.upsert_points(request)).await?;
        Ok(())
    }

    pub(super) async fn delete(&self, collection: &str, filter: Filter) -> Outcome<()> {
        let request = DeletePoints {
            collection_name: self.named(collection),
            wait: Some(true),
            points: Some(filter.into()),
            ..DeletePoints::default()
        };
        self.write(self.qdrant.delete_points(request)).await?;
        Ok(())
    }

    pub(super) async fn set(&self, collection: &str, filter: Filter, payload: Payload) -> Outcome<()> {
        let request = SetPayloadPoints {
            collection_name: self.named(collection),
            wait: Some(true),
            payload,
            points_selector: Some(filter.into()),
            ..SetPayloadPoints::default()
        };
        self.write(self.qdrant.set_payload(request)).await?;
        Ok(())
    }

    pub(super) async fn unset(&self, collection: &str, filter: Filter, field: &str) -> Outcome<()> {
        let request = DeletePayloadPoints {
            collection_name: self.named(collection),
            wait: Some(true),
            keys: vec![field.to_owned()],
            points_selector: Some(filter.into()),
            ..DeletePayloadPoints::default()
        };
        self.write(self.qdrant.delete_payload(request)).await?;
        Ok(())
    }

    /// Makes a collection, for chunks with vectors of this dimension or for points without.
    pub(super) async fn create(&self, collection: &str, dimension: Option<usize>) -> Outcome<()> {
        let dense = |size| VectorParams { size, distance: Distance::Dot.into(), ..VectorParams::default() };
        let words =
            SparseVectorParams { modifier: Some(Modifier::Idf.into()), ..SparseVectorParams::default() };
        let map = dimension.map(|size| HashMap::from([(DENSE.to_owned(), dense(size as u64))]));
        let request = CreateCollection {
            collection_name: self.named(collection),
            vectors_config: map
                .map(|map| VectorsConfig { config: Some(Config::ParamsMap(VectorParamsMap { map })) }),
            // Also where no point has any: Qdrant wants vectors in every collection.
            sparse_vectors_config: Some(SparseVectorConfig {
                map: HashMap::from([(WORDS.to_owned(), words)]),
            }),
            ..CreateCollection::default()
        };
        self.write(self.qdrant.create_collection(request)).await?;
        Ok(())
    }

    /// Indexes fields of the payload, unless they are indexed already.
    pub(super) async fn index(&self, collection: &str, fields: &[(&str, FieldType)]) -> Outcome<()> {
        for (field, of) in fields {
            let request = CreateFieldIndexCollection {
                collection_name: self.named(collection),
                wait: Some(true),
                field_name: (*field).to_owned(),
                field_type: Some((*of).into()),
                ..CreateFieldIndexCollection::default()
            };
            self.write(self.qdrant.create_field_index(request)).await?;
        }
        Ok(())
    }

    /// Removes a collection, if it is there.
    pub(super) async fn drop(&self, collection: &str) -> Outcome<()> {
        let request =
            DeleteCollection { collection_name: self.named(collection), ..DeleteCollection::default() };
        match self.write(self.qdrant.delete_collection(request)).await {
            Err(failure) if !failure.is_missing() => Err(failure),
            _ => Ok(()),
        }
    }

    /// Names of all collections that are ours.
    pub(super) async fn names(&self) -> Outcome<Vec<String>> {
        let response = self.read(self.qdrant.list_collections()).await?;
        let names =
            response.collections.iter().filter_map(|collection| collection.name.strip_prefix(&self.prefix));
        Ok(names.map(str::to_owned).collect())
    }
}
