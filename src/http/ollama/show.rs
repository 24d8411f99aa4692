//! `/api/show`.

use std::{fmt::Write, sync::Arc};

use axum::{
    Json as JsonReply,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    error::in_ollamas_words,
    models::OllamaModelDetails,
    names::{required, tagged},
};
use crate::{
    http::{
        HttpState,
        extract::Json,
        ignored::{Ignored, IgnoredNames},
        middleware::errors::Result,
    },
    types::{ModelDetails, Role},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OllamaShowBody {
    model: Option<String>,
    /// Older name of `model`.
    name: Option<String>,
    /// `true` has no effect: vocabularies and tensors are not listed.
    verbose: Option<bool>,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    system: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    template: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    options: Ignored,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OllamaShowReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    license: Option<String>,
    /// Modelfile with which the model could be created anew.
    modelfile: String,
    /// A line for each default parameter: its name and its value.
    parameters: String,
    /// Chat template of the model's manifest, in the language of Go's templates.
    template: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    details: OllamaModelDetails,
    /// Facts from the header of its GGUF file, by their names there.
    #[schema(value_type = Object)]
    model_info: Map<String, Value>,
    /// `completion`, `embedding`, `vision`, `tools`, `thinking` and `insert`.
    capabilities: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_at: Option<String>,
    /// Turns that go before those of each chat.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<OllamaTurn>,
}

#[derive(Serialize, ToSchema)]
struct OllamaTurn {
    role: &'static str,
    content: String,
}

/// Get a model (Ollama)
#[utoipa::path(post, path = "/api/show", tag = "Ollama",
    request_body(content = OllamaShowBody, example = json!({"model": "simpleton-demo"})),
    responses((status = 200, body = OllamaShowReply)))]
pub(in crate::http) async fn show(
    State(state): State<Arc<HttpState>>,
    Json(body, _): Json<OllamaShowBody>,
) -> Result<Response> {
    let ignored = body.ignored();
    let name = required(body.model.as_deref(), body.name.as_deref())?.to_string();
    let details = state.app.model_details(&name).await;
    let details = details.map_err(|error| in_ollamas_words(error, &name))?;
    Ok(ignored.mark(JsonReply(OllamaShowReply::from(details)).into_response()))
}

impl OllamaShowBody {
    fn ignored(&self) -> IgnoredNames {
        let mut names = IgnoredNames::default();
        for (name, ignored) in
            [("system", self.system), ("template", self.template), ("options", self.options)]
        {
            names.note(name, ignored);
        }
        if self.verbose == Some(true) {
            names.add("verbose");
        }
        names
    }
}

impl From<ModelDetails> for OllamaShowReply {
    fn from(details: ModelDetails) -> Self {
        let mut capabilities: Vec<_> =
            details.model.capabilities.iter().map(|capability| capability.as_str()).collect();
        if details.template.as_deref().is_some_and(|template| template.contains(".Suffix")) {
            capabilities.push("insert");
        }
        let turn =
            |(role, content): &(Role, String)| OllamaTurn { role: role.as_str(), content: content.clone() };
        Self {
            modelfile: modelfile(&details),
            parameters: lines(&details.parameters, |name, value| format!("{name:<30} {value}\n")),
            capabilities,
            modified_at: details.model.modified_at.map(|at| at.to_string()),
            messages: details.model.defaults.messages.iter().map(turn).collect(),
            details: (&details.model).into(),
            license: details.license,
            template: details.template.unwrap_or_default(),
            system: details.system,
            model_info: details.info,
        }
    }
}

/// The parameters, each value of a list by itself.
fn lines(parameters: &Map<String, Value>, line: impl Fn(&str, &Value) -> String) -> String {
    let mut all = String::new();
    for (name, value) in parameters {
        match value {
            Value::Array(values) => all.extend(values.iter().map(|value| line(name, value))),
            value => all += &line(name, value),
        }
    }
    all.truncate(all.trim_end().len());
    all
}

/// Names the model itself and no file: paths of the server are nobody's business.
fn modelfile(details: &ModelDetails) -> String {
    let mut file = format!("# Modelfile of {0}\nFROM {0}\n", tagged(&details.model.name));
    let mut text = |instruction: &str, text: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(file, "{instruction} \"\"\"{text}\"\"\"");
    };
    let texts = [("TEMPLATE", &details.template), ("SYSTEM", &details.system)];
    for (instruction, given) in texts {
        given.iter().for_each(|given| text(instruction, given));
    }
    for (role, content) in &details.model.defaults.messages {
        text(&format!("MESSAGE {}", role.as_str()), content);
    }
    if let Some(license) = &details.license {
        text("LICENSE", license);
    }
    file + &lines(&details.parameters, |name, value| format!("PARAMETER {name} {value}\n"))
}
