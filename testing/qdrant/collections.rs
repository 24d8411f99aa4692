//! Collections: making, listing and removing them.

use std::sync::Arc;

use ::qdrant_client::qdrant::{collections_server, *};
use tonic::{Request, Response, Status};

use super::{Shared, store::Collection, unsupported};

pub struct Collections(pub(super) Arc<Shared>);

fn done() -> CollectionOperationResponse {
    CollectionOperationResponse { result: true, time: 0.0 }
}

#[tonic::async_trait]
impl collections_server::Collections for Collections {
    async fn list(
        &self,
        _: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        let list = |store: &mut super::Store| {
            let names = store.collections.keys();
            let collections = names.map(|name| CollectionDescription { name: name.clone() }).collect();
            Ok(ListCollectionsResponse { collections, time: 0.0 })
        };
        self.0.answer(list).await
    }

    async fn create(
        &self,
        request: Request<CreateCollection>,
    ) -> Result<Response<CollectionOperationResponse>, Status> {
        let request = request.into_inner();
        let create = |store: &mut super::Store| {
            let collection = Collection::new(&request)?;
            match store.collections.insert(request.collection_name, collection) {
                None => Ok(done()),
                Some(_) => Err(Status::invalid_argument("Wrong input: Collection already exists!")),
            }
        };
        self.0.answer(create).await
    }

    async fn delete(
        &self,
        request: Request<DeleteCollection>,
    ) -> Result<Response<CollectionOperationResponse>, Status> {
        let name = request.into_inner().collection_name;
        let delete = |store: &mut super::Store| {
            store.collections.remove(&name);
            Ok(done())
        };
        self.0.answer(delete).await
    }

    unsupported! {
        get(GetCollectionInfoRequest) -> GetCollectionInfoResponse;
        update(UpdateCollection) -> CollectionOperationResponse;
        update_aliases(ChangeAliases) -> CollectionOperationResponse;
        list_collection_aliases(ListCollectionAliasesRequest) -> ListAliasesResponse;
        list_aliases(ListAliasesRequest) -> ListAliasesResponse;
        collection_cluster_info(CollectionClusterInfoRequest) -> CollectionClusterInfoResponse;
        collection_exists(CollectionExistsRequest) -> CollectionExistsResponse;
        update_collection_cluster_setup(UpdateCollectionClusterSetupRequest) -> UpdateCollectionClusterSetupResponse;
        create_shard_key(CreateShardKeyRequest) -> CreateShardKeyResponse;
        delete_shard_key(DeleteShardKeyRequest) -> DeleteShardKeyResponse;
        list_shard_keys(ListShardKeysRequest) -> ListShardKeysResponse;
    }
}
