//! Management of the models on this machine's disk.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};

use super::{Embedded, unknown};
use crate::{
    backend::{FileStream, ModelManager, PullStream},
    error::Result,
    model_store::{Architecture, ModelStore},
    types::{CreateModel, LoadedModel, ModelDetails, ModelName},
};

/// Bytes of an upload that go to the disk together.
const WRITTEN_AT_ONCE: usize = 1 << 20;

/// Facts from the GGUF file's header, by their names there.
fn info(architecture: &Architecture) -> Map<String, Value> {
    let Architecture { name, context_length, block_count, embedding_length, .. } = architecture;
    let numbers = [
        ("context_length", Some(*context_length)),
        ("block_count", Some(*block_count)),
        ("embedding_length", *embedding_length),
    ];
    let numbers =
        numbers.into_iter().filter_map(|(key, number)| Some((format!("{name}.{key}"), number?.into())));
    [("general.architecture".to_owned(), name.as_str().into())].into_iter().chain(numbers).collect()
}

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
            info: info(&entry.architecture),
            memory: Some(self.engine.memory(&entry)),
        })
    }

    async fn loaded(&self) -> Result<Vec<LoadedModel>> {
        let models = self.engine.loaded().into_iter().map(|loaded| LoadedModel {
            name: loaded.name,
            memory: loaded.memory_bytes,
            gpu_memory: None,
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

    async fn create(&self, create: CreateModel) -> Result<()> {
        self.on_disk(move |model_store| model_store.create(&create)).await
    }

    async fn has_blob(&self, digest: &str) -> Result<bool> {
        let digest = digest.to_owned();
        self.on_disk(move |model_store| model_store.has_blob(&digest)).await
    }

    async fn add_blob(&self, digest: &str, mut file: FileStream) -> Result<()> {
        let digest = digest.to_owned();
        let mut upload = self.on_disk(move |model_store| model_store.begin_upload(&digest)).await?;
        loop {
            let (mut pieces, mut bytes) = (Vec::new(), 0);
            while bytes < WRITTEN_AT_ONCE
                && let Some(piece) = file.next().await
            {
                let piece = piece?;
                bytes += piece.len();
                pieces.push(piece);
            }
            if pieces.is_empty() {
                return self.on_disk(move |_| upload.finish()).await;
            }
            let write = move |_: &ModelStore| {
                pieces.iter().try_for_each(|piece| upload.write(piece))?;
                Ok(upload)
            };
            upload = self.on_disk(write).await?;
        }
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
