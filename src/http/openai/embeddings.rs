//! `/v1/embeddings`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    models::ListObject,
    prompts::{OnePrompt, Prompts},
};
use crate::{
    app::App,
    cache::Embedded,
    error::{self, Error},
    http::{
        HttpState,
        extract::{Json, fields::Fields, object::Word},
        ignored::{Ignored, IgnoredNames},
        middleware::{auth::Caller, errors::Result},
        native::embeddings::{MAX_TEXTS, NUMBER_BYTES, render},
        reply::mark,
    },
    types::{Capability, EmbedRequest},
};

/// Architectures of models trained so that the beginning of a vector is itself a vector (Matryoshka): Nomic
/// Embed, Qwen3 Embedding and EmbeddingGemma.
const SHORTENABLE: [&str; 4] = ["nomic-bert", "nomic-bert-moe", "qwen3", "gemma-embedding"];

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EmbeddingsBody {
    /// A text, or a list of up to 2048 texts. Each is a string or a list of the model's token ids.
    input: Prompts,
    /// Defaults to the server's default embedding model.
    model: Option<String>,
    /// Defaults to `float`.
    #[schema(value_type = Option<EncodingFormat>)]
    encoding_format: Option<Word<EncodingFormat>>,
    /// Length of the vectors. Shorter ones than usual need a model that was trained for them.
    #[schema(minimum = 1)]
    dimensions: Option<i64>,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    user: Ignored,
}

/// `base64` encodes little-endian 32-bit floats.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum EncodingFormat {
    #[default]
    Float,
    Base64,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OpenAiEmbeddings {
    object: ListObject,
    /// In the order of the input.
    data: Vec<EmbeddingObject>,
    model: String,
    usage: EmbeddingsUsage,
}

#[derive(Serialize, ToSchema)]
struct EmbeddingObject {
    object: EmbeddingObjectType,
    index: usize,
    embedding: VectorBody,
}

/// Always `embedding`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum EmbeddingObjectType {
    Embedding,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum VectorBody {
    #[schema(value_type = Vec<f32>)]
    Numbers(Arc<[f32]>),
    Base64(String),
}

/// Tokens that the model has read; cached texts count as none.
#[derive(Serialize, ToSchema)]
struct EmbeddingsUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// Create embeddings (OpenAI)
#[utoipa::path(post, path = "/v1/embeddings", tag = "OpenAI",
    request_body(content = EmbeddingsBody, example = json!({"input": ["Hello world", "Good morning"]})),
    responses((status = 200, body = OpenAiEmbeddings)))]
pub(in crate::http) async fn create(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, _room): Json<EmbeddingsBody>,
) -> Result<Response> {
    let EmbeddingsBody { input: Prompts(input), model, encoding_format, dimensions, user } = body;
    let model = state.app.resolve(model.as_deref(), Capability::Embedding).await?;
    let is_list = input.len() != 1;
    let input = texts(input, &model, &state.app).await?;
    let request = EmbedRequest { model: model.clone(), input, truncate: false, keep_alive: None };
    let place = |inner: &str| match is_list {
        true => inner.to_owned(),
        false => inner.replace("/input/0", "/input"),
    };
    let embedded = state.app.embed(&caller, request).await.map_err(|error| error.at(place))?;
    let dimensions = length(dimensions, &embedded, &model, &state.app).await?;
    let Embedded { vectors, call, cache_status, .. } = embedded;
    let encoding = encoding_format.map(|Word(format)| format).unwrap_or_default();
    let bytes = 256 + vectors.iter().map(|vector| vector.len() * NUMBER_BYTES).sum::<usize>();
    let write = move || {
        let data = vectors.into_iter().enumerate().map(|(index, vector)| EmbeddingObject {
            object: EmbeddingObjectType::Embedding,
            index,
            embedding: encoding.write(shortened(vector, dimensions)),
        });
        let tokens = call.map_or(0, |call| call.prompt_tokens);
        let usage = EmbeddingsUsage { prompt_tokens: tokens, total_tokens: tokens };
        OpenAiEmbeddings { object: ListObject::List, data: data.collect(), model, usage }
    };
    let mut response = render(bytes, write).await?;
    mark(response.headers_mut(), &cache_status);
    let mut ignored = IgnoredNames::default();
    ignored.note("user", user);
    Ok(ignored.mark(response))
}

/// The texts of the input; token ids become the text that they stand for.
async fn texts(input: Vec<OnePrompt>, model: &str, app: &App) -> error::Result<Vec<String>> {
    let mut fields = Fields::default();
    if !(1..=MAX_TEXTS).contains(&input.len()) {
        fields.refuse("/input", format!("must have 1 to {MAX_TEXTS} texts"));
    }
    let is_list = input.len() != 1;
    let pointer = |index: usize| if is_list { format!("/input/{index}") } else { "/input".to_owned() };
    for (index, one) in input.iter().enumerate().take(MAX_TEXTS) {
        if one.is_empty() {
            fields.refuse(pointer(index), "must not be empty");
        }
    }
    fields.finish()?;
    let mut texts = Vec::with_capacity(input.len());
    for (index, one) in input.into_iter().enumerate() {
        texts.push(match one {
            OnePrompt::Text(text) => text,
            OnePrompt::Tokens(tokens) => {
                app.text_of(model, &tokens).await.map_err(|error| error.at(|_| pointer(index)))?
            }
        });
    }
    Ok(texts)
}

/// Length of the vectors that are asked for.
///
/// # Errors
/// `Invalid` when the model has none of this length.
pub(in crate::http) async fn length(
    asked: Option<i64>,
    embedded: &Embedded,
    model: &str,
    app: &App,
) -> error::Result<Option<usize>> {
    let (Some(asked), Some(vector)) = (asked, embedded.vectors.first()) else { return Ok(None) };
    let own = vector.len();
    let length = usize::try_from(asked).ok().filter(|length| (1..=own).contains(length));
    let Some(length) = length else {
        return Err(Error::field(
            "/dimensions",
            format!("must be between 1 and {own}, the length of the vectors of {model}"),
        ));
    };
    if length == own {
        return Ok(None);
    }
    let models = app.models().await?;
    let family =
        models.iter().find(|listed| listed.name == model).and_then(|listed| listed.family.as_deref());
    if family.is_some_and(|family| SHORTENABLE.contains(&family)) {
        return Ok(Some(length));
    }
    let detail = format!("must be {own} or absent: {model} was not trained for shorter vectors");
    Err(Error::field("/dimensions", detail))
}

/// The beginning of a vector, brought to length 1.
pub(in crate::http) fn shortened(vector: Arc<[f32]>, dimensions: Option<usize>) -> Arc<[f32]> {
    let Some(dimensions) = dimensions else { return vector };
    let beginning = &vector[..dimensions];
    let length = beginning.iter().map(|number| number * number).sum::<f32>().sqrt();
    let length = if length == 0.0 { 1.0 } else { length };
    beginning.iter().map(|number| number / length).collect()
}

impl EncodingFormat {
    fn write(self, vector: Arc<[f32]>) -> VectorBody {
        match self {
            Self::Float => VectorBody::Numbers(vector),
            Self::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                VectorBody::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortened_vector_has_length_one() {
        let vector: Arc<[f32]> = [3.0, 4.0, 12.0].into();
        assert_eq!(*shortened(Arc::clone(&vector), Some(2)), [0.6, 0.8]);
        assert_eq!(*shortened(Arc::clone(&vector), None), *vector);
        assert_eq!(*shortened([0.0, 1.0].into(), Some(1)), [0.0]);
    }
}
