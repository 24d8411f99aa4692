//! Management of the models on this machine's disk.

use async_trait::async_trait;
use futures_util::stream;

use super::{Embedded, unknown};
use crate::{
    backend::{ModelManager, PullStream},
    error::Result,
    types::{LoadedModel, ModelDetails, ModelName},
};

#[async_trait]
impl ModelManager for Embedded {
    async fn details(&self, model: &str) -> Result<ModelDetails> {
        let entry = self.entry(model).await?;
        let modelfile = &entry.modelfile;
        Ok(ModelDetails {
            model: self.model(&entry, &self.loaded_digests()),
            parameters: modelfile.parameters.clone(),
            template: modelfile.template.clone(),
            system: modelfile.defaults.system.clone(),
            license: modelfile.license.clone(),
            memory: Some(self.engine.memory(&entry)),
        })
    }

    async fn loaded(&self) -> Result<Vec<LoadedModel>> {
        let models = self.engine.loaded().into_iter().map(|loaded| LoadedModel {
            name: loaded.name,
            memory: loaded.memory_bytes,
            slots: Some(loaded.slots),
            slots_busy: Some(loaded.slots_busy),
            context: Some(loaded.context.into()),
            expires_at: loaded.expires_at,
        });
        Ok(models.collect())
    }

    async fn pull(&self, name: &ModelName) -> Result<PullStream> {
        let pull = self.puller.pull(name);
        Ok(Box::pin(stream::unfold(pull, async |mut pull| Some((pull.next().await?, pull)))))
    }

    async fn copy(&self, model: &str, name: &ModelName) -> Result<()> {
        let (entry, name) = (self.entry(model).await?, name.clone());
        self.on_disk(move |model_store| model_store.copy(&entry.name, &name)).await
    }

    async fn remove(&self, model: &str) -> Result<String> {
        // One that is damaged has no entry, and can be removed all the same.
        let entry = self.entry(model).await;
        let name: ModelName = model.parse().map_err(|_| unknown(model, &[]))?;
        let removed = self.on_disk(move |model_store| model_store.remove(&name)).await?;
        // A process that is answering has its files open, and finishes.
        if let Ok(entry) = entry {
            self.engine.unload(&entry);
        }
        Ok(removed.to_string())
    }
}
