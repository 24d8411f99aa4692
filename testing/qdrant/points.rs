//! Points: writing, reading and searching them.

use std::sync::Arc;

use ::qdrant_client::qdrant::{points_selector::PointsSelectorOneOf, points_server, *};
use tonic::{Request, Response, Status};

use super::{
    Shared, Store,
    store::{id_of, included_vectors, includes_payload, retrieved},
    unsupported,
};

pub struct Points(pub(super) Arc<Shared>);

fn done() -> PointsOperationResponse {
    let status = UpdateStatus::Completed.into();
    PointsOperationResponse {
        result: Some(UpdateResult { operation_id: Some(0), status }),
        ..PointsOperationResponse::default()
    }
}

/// The filter of a request that changes points; Simpleton selects none by their ids.
fn selected(selector: Option<PointsSelector>) -> Result<Filter, Status> {
    match selector.and_then(|selector| selector.points_selector_one_of) {
        Some(PointsSelectorOneOf::Filter(filter)) => Ok(filter),
        _ => Err(Status::unimplemented("points without a filter")),
    }
}

fn waits(wait: Option<bool>) -> Result<(), Status> {
    match wait {
        Some(true) => Ok(()),
        _ => Err(Status::invalid_argument("a write that does not wait")),
    }
}

#[tonic::async_trait]
impl points_server::Points for Points {
    async fn upsert(
        &self,
        request: Request<UpsertPoints>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let request = request.into_inner();
        let upsert = |store: &mut Store| {
            waits(request.wait)?;
            store.collection(&request.collection_name)?.upsert(request.points)?;
            Ok(done())
        };
        self.0.answer(upsert).await
    }

    async fn delete(
        &self,
        request: Request<DeletePoints>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let request = request.into_inner();
        let delete = |store: &mut Store| {
            waits(request.wait)?;
            let filter = selected(request.points)?;
            let collection = store.collection(&request.collection_name)?;
            for id in collection.matching(&filter) {
                collection.points.remove(&id);
            }
            Ok(done())
        };
        self.0.answer(delete).await
    }

    async fn set_payload(
        &self,
        request: Request<SetPayloadPoints>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let request = request.into_inner();
        let set = |store: &mut Store| {
            waits(request.wait)?;
            let filter = selected(request.points_selector)?;
            store
                .collection(&request.collection_name)?
                .change(&filter, |payload| payload.extend(request.payload.clone()));
            Ok(done())
        };
        self.0.answer(set).await
    }

    async fn delete_payload(
        &self,
        request: Request<DeletePayloadPoints>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let request = request.into_inner();
        let unset = |store: &mut Store| {
            waits(request.wait)?;
            let filter = selected(request.points_selector)?;
            let collection = store.collection(&request.collection_name)?;
            collection.change(&filter, |payload| payload.retain(|name, _| !request.keys.contains(name)));
            Ok(done())
        };
        self.0.answer(unset).await
    }

    async fn create_field_index(
        &self,
        request: Request<CreateFieldIndexCollection>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let name = request.into_inner().collection_name;
        self.0.answer(|store| store.collection(&name).map(|_| done())).await
    }

    async fn get(&self, request: Request<GetPoints>) -> Result<Response<GetResponse>, Status> {
        let request = request.into_inner();
        let get = |store: &mut Store| {
            let collection = store.collection(&request.collection_name)?;
            let (payload, vectors) =
                (includes_payload(request.with_payload), included_vectors(request.with_vectors));
            let mut result = Vec::new();
            for id in &request.ids {
                let id = id_of(Some(id))?;
                result
                    .extend(collection.points.get(&id).map(|point| retrieved(id, point, payload, &vectors)));
            }
            Ok(GetResponse { result, ..GetResponse::default() })
        };
        self.0.answer(get).await
    }

    async fn scroll(&self, request: Request<ScrollPoints>) -> Result<Response<ScrollResponse>, Status> {
        let request = request.into_inner();
        let scroll = |store: &mut Store| {
            let collection = store.collection(&request.collection_name)?;
            let (payload, vectors) =
                (includes_payload(request.with_payload), included_vectors(request.with_vectors));
            let from = request.offset.map(|offset| id_of(Some(&offset))).transpose()?.unwrap_or_default();
            let limit = request.limit.unwrap_or(10) as usize;
            let mut ids = collection.matching(&request.filter.unwrap_or_default());
            ids.retain(|id| *id >= from);
            let next_page_offset = ids.get(limit).copied().map(super::store::point_id);
            ids.truncate(limit);
            let points = ids.iter().map(|id| retrieved(*id, &collection.points[id], payload, &vectors));
            Ok(ScrollResponse { result: points.collect(), next_page_offset, ..ScrollResponse::default() })
        };
        self.0.answer(scroll).await
    }

    async fn count(&self, request: Request<CountPoints>) -> Result<Response<CountResponse>, Status> {
        let request = request.into_inner();
        let count = |store: &mut Store| {
            let collection = store.collection(&request.collection_name)?;
            let count = collection.matching(&request.filter.unwrap_or_default()).len() as u64;
            Ok(CountResponse { result: Some(CountResult { count }), ..CountResponse::default() })
        };
        self.0.answer(count).await
    }

    async fn query_batch(
        &self,
        request: Request<QueryBatchPoints>,
    ) -> Result<Response<QueryBatchResponse>, Status> {
        let request = request.into_inner();
        let query = |store: &mut Store| {
            let collection = store.collection(&request.collection_name)?;
            let results = request
                .query_points
                .into_iter()
                .map(|query| Ok(BatchResult { result: collection.query(query)? }));
            let result: Result<Vec<BatchResult>, Status> = results.collect();
            Ok(QueryBatchResponse { result: result?, ..QueryBatchResponse::default() })
        };
        self.0.answer(query).await
    }

    unsupported! {
        update_vectors(UpdatePointVectors) -> PointsOperationResponse;
        delete_vectors(DeletePointVectors) -> PointsOperationResponse;
        overwrite_payload(SetPayloadPoints) -> PointsOperationResponse;
        clear_payload(ClearPayloadPoints) -> PointsOperationResponse;
        delete_field_index(DeleteFieldIndexCollection) -> PointsOperationResponse;
        create_vector_name(CreateVectorNameRequest) -> PointsOperationResponse;
        delete_vector_name(DeleteVectorNameRequest) -> PointsOperationResponse;
        search(SearchPoints) -> SearchResponse;
        search_batch(SearchBatchPoints) -> SearchBatchResponse;
        search_groups(SearchPointGroups) -> SearchGroupsResponse;
        recommend(RecommendPoints) -> RecommendResponse;
        recommend_batch(RecommendBatchPoints) -> RecommendBatchResponse;
        recommend_groups(RecommendPointGroups) -> RecommendGroupsResponse;
        discover(DiscoverPoints) -> DiscoverResponse;
        discover_batch(DiscoverBatchPoints) -> DiscoverBatchResponse;
        update_batch(UpdateBatchPoints) -> UpdateBatchResponse;
        query(QueryPoints) -> QueryResponse;
        query_groups(QueryPointGroups) -> QueryGroupsResponse;
        facet(FacetCounts) -> FacetResponse;
        search_matrix_pairs(SearchMatrixPoints) -> SearchMatrixPairsResponse;
        search_matrix_offsets(SearchMatrixPoints) -> SearchMatrixOffsetsResponse;
    }
}
