//! Management of models: details, what is in memory, removal.

use std::sync::Arc;

use async_stream::stream;
use futures_util::{StreamExt, future::join_all};

use super::{App, catalog::Route};
use crate::{
    backend::{Backend, FileStream, ModelManager, PullStream},
    error::{Error, Kind, Result},
    types::{CreateModel, LoadedModel, ModelDetails, ModelName},
};

impl App {
    /// Details of a model.
    ///
    /// # Errors
    /// `NotFound` when it is not installed.
    pub async fn model_details(&self, model: &str) -> Result<ModelDetails> {
        let route = self.catalog.route(model).await;
        manager(&route)?.details(&route.model).await
    }

    /// Lists the models in memory.
    ///
    /// # Errors
    /// That of the backend.
    pub async fn loaded_models(&self) -> Result<Vec<LoadedModel>> {
        let managers = self.catalog.backends().filter_map(|backend| backend.manager());
        let lists: Result<Vec<_>> = join_all(managers.map(ModelManager::loaded)).await.into_iter().collect();
        Ok(lists?.concat())
    }

    /// Downloads a model with the preferred backend.
    ///
    /// # Errors
    /// `Invalid` when the backend does not allow it; those of the download come in its stream.
    pub async fn pull_model(self: &Arc<Self>, name: &ModelName) -> Result<PullStream> {
        let backend = Arc::clone(self.catalog.primary());
        let mut steps = managed_by(&backend)?.pull(name).await?;
        let app = Arc::clone(self);
        Ok(Box::pin(stream! {
            while let Some(step) = steps.next().await {
                yield step;
            }
            app.catalog.refresh().await;
        }))
    }

    /// Tokens that its backend makes room for with a model, where that is known.
    pub async fn context_of(&self, model: &str) -> Option<u64> {
        self.catalog.route(model).await.context
    }

    /// Gives a model another name, too.
    ///
    /// # Errors
    /// `NotFound` when it is not installed.
    pub async fn copy_model(&self, model: &str, name: &ModelName) -> Result<()> {
        let route = self.catalog.route(model).await;
        let copied = manager(&route)?.copy(&route.model, name).await;
        self.catalog.refresh().await;
        copied
    }

    /// Makes a model with the preferred backend.
    ///
    /// # Errors
    /// Those of `ModelManager::create`.
    pub async fn create_model(&self, create: CreateModel) -> Result<()> {
        let created = managed_by(self.catalog.primary())?.create(create).await;
        self.catalog.refresh().await;
        created
    }

    /// Whether the preferred backend has a file of which a model can be made.
    ///
    /// # Errors
    /// Those of `ModelManager::has_blob`.
    pub async fn has_blob(&self, digest: &str) -> Result<bool> {
        managed_by(self.catalog.primary())?.has_blob(digest).await
    }

    /// Gives the preferred backend a file to make models of.
    ///
    /// # Errors
    /// Those of `ModelManager::add_blob`.
    pub async fn add_blob(&self, digest: &str, file: FileStream) -> Result<()> {
        managed_by(self.catalog.primary())?.add_blob(digest, file).await
    }

    /// Removes a model and returns its own name; requests that use it are finished first.
    ///
    /// # Errors
    /// `NotFound` when it is not installed.
    pub async fn remove_model(&self, model: &str) -> Result<String> {
        let route = self.catalog.route(model).await;
        let removed = manager(&route)?.remove(&route.label()).await;
        self.catalog.refresh().await;
        removed
    }
}

fn manager(route: &Route) -> Result<&dyn ModelManager> {
    managed_by(&route.backend)
}

fn managed_by(backend: &Arc<dyn Backend>) -> Result<&dyn ModelManager> {
    backend.manager().ok_or_else(|| {
        let title = backend.profile().title;
        Error::new(Kind::Invalid, format!("{title} does not allow managing its models."))
    })
}
