//! `/api/create`: a model from another one or from uploaded files, as a Modelfile describes it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json as JsonReply,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{error::in_ollamas_words, names::required, options::OllamaOptions};
use crate::{
    error::{self, Error, Kind},
    http::{
        HttpState,
        extract::{
            Json,
            fields::Fields,
            object::{Object, Word},
            texts::Texts,
        },
        ignored::IgnoredNames,
        middleware::{auth::Caller, errors::Result},
        native::{message::RoleBody, schemas},
        reply::progress,
    },
    types::{BaseModel, CreateModel, JsonText, ModelName, Role},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OllamaCreateBody {
    /// Name of the new model. A model that has it is replaced.
    model: Option<String>,
    /// Older name of `model`.
    name: Option<String>,
    /// Installed model that the new one is made from.
    from: Option<String>,
    /// Digests of uploaded GGUF files by their names: the model, or its parts, and the projector of a vision model.
    files: Option<BTreeMap<String, String>>,
    /// System prompt, in place of the model's.
    system: Option<String>,
    /// Must be empty: templates are those in the GGUF files.
    template: Option<String>,
    /// License, or several, in place of the model's.
    #[schema(schema_with = schemas::input)]
    license: Option<Texts>,
    /// Default parameters by the names of `options`, in addition to the model's.
    #[schema(value_type = Option<OllamaOptions>)]
    parameters: Option<JsonText>,
    /// Turns that go before those of each chat, in place of the model's.
    #[schema(value_type = Option<Vec<OllamaTurnBody>>)]
    messages: Option<Vec<Object<OllamaTurnBody>>>,
    /// Whether to send progress as lines of JSON, or one JSON object at the end.
    #[schema(default = true)]
    stream: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OllamaTurnBody {
    #[schema(value_type = RoleBody)]
    role: Word<RoleBody>,
    content: String,
}

/// A line of progress; the last one has the status `success`.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OllamaCreateEvent {
    status: &'static str,
}

/// Create a model (Ollama)
#[utoipa::path(post, path = "/api/create", tag = "Ollama",
    request_body(content = OllamaCreateBody, example = json!({"model": "mine", "from": "simpleton-demo", "system": "Be brief."})),
    responses((status = 200, content((OllamaCreateEvent = "application/x-ndjson"), (OllamaCreateEvent = "application/json")))))]
pub(in crate::http) async fn create(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, _): Json<OllamaCreateBody>,
) -> Result<Response> {
    let stream = body.stream.unwrap_or(true);
    let (create, ignored) = body.into_model()?;
    let (app, from) = (Arc::clone(&state.app), create.from());
    let steps = progress::of_work(move |reports| async move {
        reports.report(OllamaCreateEvent { status: "writing manifest" });
        app.create_model(create).await.map_err(|error| match from {
            Some(from) => in_ollamas_words(error, &from.to_string()),
            None => error,
        })?;
        Ok(OllamaCreateEvent { status: "success" })
    });
    if stream {
        let has_ended = |event: &OllamaCreateEvent| event.status == "success";
        let reply = progress::respond(state, caller, steps, has_ended, "create the model again").await?;
        return Ok(ignored.mark(reply));
    }
    let last = progress::last(steps).await?;
    Ok(ignored.mark(JsonReply(last).into_response()))
}

impl OllamaCreateBody {
    fn into_model(self) -> error::Result<(CreateModel, IgnoredNames)> {
        let name = required(self.model.as_deref(), self.name.as_deref())?;
        let (mut fields, mut ignored) = (Fields::default(), IgnoredNames::default());
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if filled(self.template).is_some() {
            fields.refuse("/template", "is not supported: the template is the one in the GGUF file");
        }
        let base = base(filled(self.from), self.files.unwrap_or_default(), &mut fields);
        let parameters = parameters(self.parameters, &mut fields, &mut ignored);
        let mut messages = Vec::new();
        for (index, Object(turn)) in self.messages.into_iter().flatten().enumerate() {
            if turn.role.0 == RoleBody::Tool {
                fields.refuse(format!("/messages/{index}/role"), "must be system, user or assistant");
            }
            messages.push((Role::from(turn.role.0), turn.content));
        }
        fields.finish()?;
        let license = match self.license {
            None => None,
            Some(Texts::One(text)) => filled(Some(text)),
            Some(Texts::Many(texts)) => filled(Some(texts.join("\n"))),
        };
        let base =
            base.ok_or_else(|| Error::new(Kind::Invalid, "neither 'from' or 'files' was specified"))?;
        let system = filled(self.system);
        Ok((CreateModel { name, base, system, license, parameters, messages }, ignored))
    }
}

/// Base of the model: never a path of the server, which would let callers read its files.
fn base(from: Option<String>, files: BTreeMap<String, String>, fields: &mut Fields) -> Option<BaseModel> {
    match from {
        Some(_) if !files.is_empty() => fields.refuse("/files", "cannot be combined with from"),
        Some(from) => match from.parse::<ModelName>() {
            Ok(name) => return Some(BaseModel::Model(name)),
            Err(_) => {
                let detail = "must be the name of an installed model; upload files to /api/blobs, and name them in files";
                fields.refuse("/from", detail);
            }
        },
        None if files.is_empty() => {}
        None => {
            for name in files.keys().filter(|name| !is_relative(name)) {
                fields.refuse("/files", format!("file path must be relative: {name:?}"));
            }
            return Some(BaseModel::Files(files.into_values().collect()));
        }
    }
    None
}

fn is_relative(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.split('/').all(is_part) && !name.contains(['\\', ':'])
}

/// The parameters as they are written, which have to be what requests may have as options.
fn parameters(
    given: Option<JsonText>,
    fields: &mut Fields,
    ignored: &mut IgnoredNames,
) -> Map<String, Value> {
    let Some(given) = given else { return Map::new() };
    let wrong = |error: Error| error.at(|pointer| format!("/parameters{pointer}"));
    let read = crate::http::extract::parse::<OllamaOptions>(given.get().as_bytes()).map_err(wrong);
    let Some(mut options) = fields.accept("", read) else { return Map::new() };
    let mut checked = Fields::default();
    options.sampling(&mut checked);
    options.context_size(&mut checked);
    options.note_ignored("parameters", ignored);
    let checked = checked.finish();
    fields.accept(
        "",
        checked.map_err(|error| error.at(|pointer| pointer.replacen("/options", "/parameters", 1))),
    );
    let written: Map<String, Value> = serde_json::from_str(given.get()).unwrap_or_default();
    written.into_iter().filter(|(_, value)| !value.is_null()).collect()
}
