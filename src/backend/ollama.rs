//! An Ollama server: `/api/chat`, `/api/generate`, `/api/embed`, `/api/tags`, `/api/show`,
//! `/api/version`.

mod embed;
mod models;
mod vocabulary;

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use clap::Args;
use futures_util::{StreamExt, stream};
use serde::de::DeserializeOwned;

use self::vocabulary::Vocabularies;
use super::{
    Backend, ChatStream, LARGE_BYTES, ModelManager, Profile, plain_text, replies::events, to_json, work,
};
use crate::{
    error::{Error, Kind, Result},
    http_client::{Client, Request, Response, Retry, Target, Timeouts, has_password, server_url},
    types::{
        Capability, ChatRequest, Context, ControlTokens, Done, EmbedReply, EmbedRequest, FinishReason,
        KeepAlive, LoadOptions, Model, ModelName, Prompt, Secret, Timings,
    },
    wire::{
        foreign::{SCHEMA_REFUSED, is_about_schemas, loggable},
        ndjson::Lines,
        ollama::{
            ChatBody, CommonBody, ErrorBody, GenerateBody, LineParser, LoadBody, MessageBody, Show, Tags,
            Version, malformed,
        },
        openai::ToolBody,
    },
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Ollama")]
#[group(skip)]
pub struct Settings {
    /// URL of an Ollama server to use instead of the embedded engine, such as http://localhost:11434
    #[arg(long, env = "OLLAMA_BASE_URL", value_name = "URL", value_parser = server_url("http://localhost:11434", &["/v1", "/api"]))]
    pub ollama_base_url: Option<String>,
    /// API key to send to the Ollama server, as a bearer token, such as that of a proxy in front of it or of ollama.com
    #[arg(long, env = "OLLAMA_API_KEY", value_name = "KEY", hide_env_values = true, value_parser = Secret::parse)]
    pub ollama_api_key: Option<Secret>,
}

/// 2048 embeddings of 4096 numbers as JSON text, with room to spare.
const MAX_EMBED_ANSWER: usize = 256 * 1024 * 1024;
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Mark of an image in Ollama's prompts, which a caller's text must not hold: it would be answered with
/// another image, or not at all.
static IMAGE_MARKS: LazyLock<ControlTokens> = LazyLock::new(|| {
    let numbered = ('0'..='9').map(|digit| format!("[img-{digit}"));
    ControlTokens::new(numbered.chain(["[img]".to_owned()]))
});

pub static PROFILE: Profile = Profile {
    name: "ollama",
    title: "Ollama",
    remedy: "Start Ollama, or correct OLLAMA_BASE_URL.",
    // The brief's.
    default_model: |needed| {
        Some(match needed {
            Capability::Embedding => "nomic-embed-text",
            Capability::Vision => "llava",
            Capability::Completion | Capability::Tools | Capability::Thinking => "qwen2.5:7b",
        })
    },
    install: |model| format!("`ollama pull {model}`"),
    vision_remedy: |_| "; get a model that can with: ollama pull llava".to_owned(),
};

pub struct Ollama {
    client: Client,
    /// Replies of `/api/show` by the model's digest, which changes when the model does.
    shown: Mutex<HashMap<String, Arc<Shown>>>,
    vocabularies: Vocabularies,
    /// Whether a model with a name that is none has been told of.
    has_complained: AtomicBool,
}

struct Shown {
    capabilities: Vec<Capability>,
    context_length: Option<u64>,
}

impl Ollama {
    /// # Errors
    /// `Kind::Setup` when the URL cannot be used, or when a password in it takes the place of the key.
    pub fn new(url: &str, key: Option<&Secret>, timeouts: Timeouts) -> Result<Self> {
        let mut client = Client::new("Ollama", Target::Url(url.to_owned()), timeouts)?;
        if let Some(key) = key {
            if has_password(url) {
                let message = "OLLAMA_BASE_URL has a user name or password, and OLLAMA_API_KEY is set, but a request can have only one of them; remove the other.";
                return Err(Error::new(Kind::Setup, message));
            }
            client = client.with_key(key.expose())?;
        }
        Ok(Self {
            client,
            shown: Mutex::default(),
            vocabularies: Vocabularies::default(),
            has_complained: AtomicBool::new(false),
        })
    }

    async fn post(&self, path: &str, model: &str, body: Vec<u8>) -> Result<Response> {
        // A reply changes nothing on the server, so that one that has not begun may be asked for again.
        let response = self.client.send(Request::post(path, body, Retry::Idempotent)).await?;
        if response.is_success() { Ok(response) } else { Err(refusal(read_refusal(response).await, model)) }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = self.client.send(Request::get(path)).await?;
        if !response.is_success() {
            return Err(refusal(read_refusal(response).await, ""));
        }
        read(&response.bytes(MAX_ANSWER).await?)
    }

    async fn show(&self, name: &str, digest: &str) -> Result<Arc<Shown>> {
        let known = || self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = known().get(digest) {
            return Ok(Arc::clone(shown));
        }
        let response = self.post("/api/show", name, to_json(&serde_json::json!({ "model": name }))?).await?;
        let show: Show = read(&response.bytes(MAX_ANSWER).await?)?;
        let shown = Arc::new(Shown {
            capabilities: capabilities(&show.capabilities),
            context_length: show
                .model_info
                .iter()
                .find(|(key, _)| key.ends_with(".context_length"))
                .and_then(|(_, value)| value.get().parse().ok()),
        });
        known().insert(digest.to_owned(), Arc::clone(&shown));
        Ok(shown)
    }
}

fn write(request: &ChatRequest) -> Result<Vec<u8>> {
    let ChatRequest {
        model,
        prompt,
        tools: _,
        tool_choice,
        parallel_tool_calls: _,
        format,
        sampling,
        logprobs,
        think,
        context_size,
        keep_alive,
    } = request;
    if tool_choice.forces_a_call() {
        let detail = "must be auto or none: Ollama has no way to make a model call a tool";
        return Err(Error::field("/tool_choice", detail).of_kind(Kind::Unsupported));
    }
    let is_of_tokens =
        matches!(prompt, Prompt::Completion(completion) if completion.raw && completion.context.is_some());
    let unsupported = [
        ("/logprobs", logprobs.is_some()),
        ("/logit_bias", !sampling.logit_bias.is_empty()),
        // Ollama has no tokens in a raw prompt.
        ("/context", is_of_tokens),
    ];
    if let Some((pointer, _)) = unsupported.into_iter().find(|(_, is_asked)| *is_asked) {
        let detail = "is not supported with Ollama as the backend";
        return Err(Error::field(pointer, detail).of_kind(Kind::Unsupported));
    }
    let common = CommonBody::new(format, sampling, *think, *keep_alive).with_context_size(*context_size);
    match prompt {
        Prompt::Messages(messages) => {
            let messages = messages.iter().map(MessageBody::from).collect();
            let tools = request.offered_tools().map(ToolBody::from).collect();
            to_json(&ChatBody { model, messages, tools, common })
        }
        Prompt::Completion(completion) => to_json(&GenerateBody::new(model, completion, common)),
    }
}

#[async_trait]
impl Backend for Ollama {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    async fn chat(&self, mut request: ChatRequest) -> Result<ChatStream> {
        let model = request.model.clone();
        let path = match &request.prompt {
            Prompt::Messages(_) => "/api/chat",
            Prompt::Completion(_) => "/api/generate",
        };
        let tokens = match &request.prompt {
            Prompt::Completion(completion) if completion.is_raw() => Arc::default(),
            _ => self.control_tokens(&model).await,
        };
        let body = work(request.size() > LARGE_BYTES, move || {
            plain_text::chat(&mut request, &IMAGE_MARKS);
            plain_text::chat(&mut request, &tokens);
            write(&request)
        });
        let body = body.await?;
        let response = self.post(path, &model, body).await?;
        Ok(Box::pin(events::<Lines, LineParser>(response)))
    }

    async fn embed(&self, request: EmbedRequest) -> Result<EmbedReply> {
        self.embed_all(request).await
    }

    async fn load(&self, model: &str, options: LoadOptions) -> Result<Done> {
        let since = Instant::now();
        let body = to_json(&LoadBody::new(model, options))?;
        self.post("/api/generate", model, body).await?.bytes(MAX_ANSWER).await?;
        let is_unload = options.keep_alive == Some(KeepAlive::NONE);
        let timings = Timings { total: since.elapsed(), ..Timings::default() };
        Ok(Done {
            reason: if is_unload { FinishReason::Unload } else { FinishReason::Load },
            timings,
            ..Done::default()
        })
    }

    async fn models(&self) -> Result<Vec<Model>> {
        let tags: Tags = self.get("/api/tags").await?;
        let named = tags.models.into_iter().filter_map(|tag| {
            let name = tag.name.parse::<ModelName>();
            if name.is_err() && !self.has_complained.swap(true, Relaxed) {
                tracing::warn!("an Ollama model is ignored: {:?} is not a valid model name", tag.name);
            }
            Some((name.ok()?.to_string(), tag))
        });
        let named: Vec<_> = named.collect();
        self.vocabularies.list(named.iter().map(|(name, tag)| (name.as_str(), tag.digest.as_str())));
        let models = stream::iter(named).map(async |(name, tag)| {
            // A model that cannot be shown is still one that can be asked for.
            let shown = self.show(&tag.name, &tag.digest).await.ok();
            Model {
                name,
                size: tag.size,
                modified_at: tag.modified_at,
                digest: tag.digest,
                capabilities: shown.as_ref().map(|shown| shown.capabilities.clone()).unwrap_or_default(),
                context: Context { chosen: None, trained: shown.and_then(|shown| shown.context_length) },
                family: tag.details.family,
                parameter_size: tag.details.parameter_size,
                quantization: tag.details.quantization_level,
                source: "ollama",
                loaded: false,
                defaults: Arc::default(),
            }
        });
        Ok(models.buffered(8).collect().await)
    }

    fn manager(&self) -> Option<&dyn ModelManager> {
        Some(self)
    }

    async fn version(&self) -> Result<String> {
        Ok(self.get::<Version>("/api/version").await?.version)
    }
}

/// An answer with a status other than 2xx.
struct Refused {
    status: u16,
    /// Reply of Ollama, or of whatever answers there instead.
    text: String,
    /// Whether it is in Ollama's form.
    is_ollamas: bool,
    through_proxy: &'static str,
}

async fn read_refusal(response: Response) -> Refused {
    let (status, through_proxy) = (response.status(), response.through_proxy());
    let body = response.beginning(64 * 1024).await;
    match serde_json::from_slice(&body) {
        Ok(ErrorBody { error }) => Refused { status, text: error, is_ollamas: true, through_proxy },
        Err(_) => Refused {
            status,
            text: String::from_utf8_lossy(&body).into_owned(),
            is_ollamas: false,
            through_proxy,
        },
    }
}

fn refusal(Refused { status, text, is_ollamas, through_proxy }: Refused, model: &str) -> Error {
    let error = match status {
        401 | 403 => Error::new(
            Kind::BadGateway,
            format!(
                "Ollama, or a proxy in front of it, requires a valid API key (status {status}); set OLLAMA_API_KEY."
            ),
        ),
        404 if is_ollamas && !model.is_empty() => Error::new(
            Kind::NotFound,
            format!("The model {model} is not on the Ollama server; get it with: ollama pull {model}"),
        ),
        404 => Error::new(
            Kind::BadGateway,
            format!(
                "The server at OLLAMA_BASE_URL{through_proxy} is not Ollama, or Ollama is not at this path (status 404)."
            ),
        ),
        400 | 500 if is_about_schemas(&text) => {
            Error::new(Kind::Invalid, format!("Ollama {SCHEMA_REFUSED}."))
        }
        // Ollama's own words: it refuses for a reason that the caller can mend.
        400 if is_ollamas => Error::new(Kind::Invalid, format!("Ollama refused the request: {text}")),
        413 => Error::new(
            Kind::TooLarge,
            "Ollama, or a proxy in front of it, does not accept a request of this size; send a smaller one.",
        ),
        503 | 429 => Error::new(Kind::Unavailable, "Ollama is too busy; try again later.")
            .retry_after(Duration::from_secs(2)),
        _ => Error::new(
            Kind::BadGateway,
            format!(
                "Ollama answered{} with status {status}; see its log for the cause.",
                if is_ollamas { "" } else { through_proxy }
            ),
        ),
    };
    error.with_source(loggable(&text))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(malformed)
}

fn capabilities(names: &[String]) -> Vec<Capability> {
    let known = [
        Capability::Completion,
        Capability::Embedding,
        Capability::Vision,
        Capability::Tools,
        Capability::Thinking,
    ];
    known.into_iter().filter(|known| names.iter().any(|name| name == known.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::types::{JsonText, Tool, ToolChoice};

    #[test]
    fn a_tool_choice_is_honoured_or_refused() {
        let tool = Tool { name: "f".to_owned(), description: None, parameters: JsonText::empty_object() };
        for (tool_choice, tools) in [
            (ToolChoice::Auto, Some(1)),
            (ToolChoice::None, Some(0)),
            (ToolChoice::Required, None),
            (ToolChoice::Named("f".to_owned()), None),
        ] {
            let request = ChatRequest::new("m", Prompt::Messages(Vec::new()));
            let written = write(&ChatRequest { tools: vec![tool.clone()], tool_choice, ..request });
            match (written, tools) {
                (Ok(body), Some(tools)) => {
                    let body: Value = serde_json::from_slice(&body).expect("JSON");
                    assert_eq!(body["tools"].as_array().map_or(0, Vec::len), tools);
                    assert_eq!(body.get("tool_choice"), None);
                }
                (Err(error), None) => {
                    assert_eq!(error.kind(), Kind::Unsupported);
                    assert_eq!(error.field_errors()[0].pointer, "/tool_choice");
                }
                (written, tools) => panic!("{written:?} and not {tools:?}"),
            }
        }
    }
}
