//! Management of an Ollama server's models: `/api/show`, `/api/ps`, `/api/copy`, `/api/delete`.

use async_trait::async_trait;
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::json;

use super::{MAX_ANSWER, Ollama, read, read_refusal, refusal};
use crate::{
    backend::{Backend, FileProgress, FileStream, ModelManager, Progress, PullStream, frames, to_json},
    error::{Error, Kind, Result},
    http_client::{Method, Request, Retry},
    types::{BaseModel, CreateModel, LoadedModel, ModelDetails, ModelName, Role},
    wire::{
        ndjson::Lines,
        ollama::{PullLine, Running, RunningModel, ShowDetails, parameters},
    },
};

impl Ollama {
    async fn change(&self, method: Method, path: &str, model: &str, body: impl Serialize) -> Result<()> {
        let request = Request { method, ..Request::post(path, to_json(&body)?, Retry::Never) };
        let response = self.client.send(request).await?;
        if response.is_success() { Ok(()) } else { Err(refusal(read_refusal(response).await, model)) }
    }
}

fn no_files() -> Error {
    let message =
        "With Ollama as the backend, upload files to Ollama itself, and create models from them there.";
    Error::new(Kind::Unsupported, message)
}

/// Reads a line of a download's progress, which may be an error.
fn step(line: PullLine, model: &str) -> Result<Progress> {
    let PullLine { status, error, digest, total, completed } = line;
    if let Some(error) = error {
        let message = format!("Ollama could not pull {model}: {error}");
        return Err(Error::new(Kind::BadGateway, message));
    }
    let file = digest.zip(total).map(|(digest, total)| FileProgress {
        digest,
        total,
        completed: completed.unwrap_or(0),
        resumed: 0,
    });
    Ok(Progress { status, file })
}

#[async_trait]
impl ModelManager for Ollama {
    async fn details(&self, model: &str) -> Result<ModelDetails> {
        let response = self.post("/api/show", model, to_json(&json!({ "model": model }))?).await?;
        let show: ShowDetails = read(&response.bytes(MAX_ANSWER).await?)?;
        let name: Option<ModelName> = model.parse().ok();
        let is_it = |listed: &str| listed.parse().ok() == name;
        let listed = self.models().await?.into_iter().find(|listed| is_it(&listed.name));
        let model = listed.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("The model {model} is not on the Ollama server's list."))
        })?;
        Ok(ModelDetails {
            model,
            parameters: parameters(&show.parameters),
            template: show.template,
            system: show.system,
            license: show.license,
            info: show.model_info,
            memory: None,
        })
    }

    async fn loaded(&self) -> Result<Vec<LoadedModel>> {
        let running: Running = self.get("/api/ps").await?;
        let model = |model: RunningModel| LoadedModel {
            name: model.name.parse::<ModelName>().map_or(model.name, |name| name.to_string()),
            memory: model.size,
            gpu_memory: Some(model.size_vram),
            slots: None,
            slots_busy: None,
            context: model.context_length,
            expires_at: model.expires_at,
        };
        let mut models: Vec<LoadedModel> = running.models.into_iter().map(model).collect();
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }

    async fn pull(&self, name: &ModelName) -> Result<PullStream> {
        let model = name.to_string();
        let body = to_json(&json!({ "model": model }))?;
        let lines = frames::<Lines>(self.post("/api/pull", &model, body).await?);
        Ok(Box::pin(lines.map(move |line| step(read(&line?)?, &model))))
    }

    async fn copy(&self, model: &str, name: &ModelName) -> Result<()> {
        let body = json!({ "source": model, "destination": name.to_string() });
        self.change(Method::POST, "/api/copy", model, body).await
    }

    async fn create(&self, create: CreateModel) -> Result<()> {
        let CreateModel { name, base, system, license, parameters, messages } = create;
        let BaseModel::Model(from) = base else { return Err(no_files()) };
        let turn = |(role, content): &(Role, String)| json!({ "role": role.as_str(), "content": content });
        let mut body = json!({ "model": name.to_string(), "from": from.to_string() });
        for (field, text) in [("system", system), ("license", license)] {
            text.into_iter().for_each(|text| body[field] = text.into());
        }
        if !parameters.is_empty() {
            body["parameters"] = parameters.into();
        }
        if !messages.is_empty() {
            body["messages"] = messages.iter().map(turn).collect();
        }
        let response = self.post("/api/create", &from.to_string(), to_json(&body)?).await?;
        let mut lines = Box::pin(frames::<Lines>(response));
        while let Some(line) = lines.next().await {
            if let Some(error) = read::<PullLine>(&line?)?.error {
                return Err(Error::new(Kind::Invalid, format!("Ollama could not create {name}: {error}")));
            }
        }
        Ok(())
    }

    async fn has_blob(&self, _digest: &str) -> Result<bool> {
        Err(no_files())
    }

    async fn add_blob(&self, _digest: &str, _file: FileStream) -> Result<()> {
        Err(no_files())
    }

    async fn remove(&self, model: &str) -> Result<String> {
        self.change(Method::DELETE, "/api/delete", model, json!({ "model": model })).await?;
        Ok(model.to_owned())
    }
}
