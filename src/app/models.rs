//! Management of models: details, what is in memory, removal.

use futures_util::future::join_all;

use super::{App, catalog::Route};
use crate::{
    backend::ModelManager,
    error::{Error, Kind, Result},
    types::{LoadedModel, ModelDetails},
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

    /// Removes a model; requests that use it are finished first.
    ///
    /// # Errors
    /// `NotFound` when it is not installed.
    pub async fn remove_model(&self, model: &str) -> Result<()> {
        let route = self.catalog.route(model).await;
        manager(&route)?.remove(&route.model).await?;
        self.catalog.refresh().await;
        Ok(())
    }
}

fn manager(route: &Route) -> Result<&dyn ModelManager> {
    route.backend.manager().ok_or_else(|| {
        let title = route.backend.profile().title;
        Error::new(Kind::Invalid, format!("{title} does not allow to manage its models."))
    })
}
