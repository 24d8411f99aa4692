//! Parameters that `/api/generate` and `/api/chat` share.

use serde::{Deserialize, Deserializer, de::Error};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};

use super::{error::in_ollamas_words, names::named, options::OllamaOptions};
use crate::{
    app::{App, ChatReply},
    error,
    http::{
        HttpState,
        extract::{Room, fields::Fields, object::Object},
        ignored::IgnoredNames,
        middleware::auth::Caller,
        native::{
            inference::{format, read_think},
            schemas::{either, object},
        },
    },
    types::{ChatRequest, Format, JsonText, KeepAlive, LoadOptions, Prompt, Sampling, Think},
};

/// Maximum of `top_logprobs`, as in Ollama's API.
const MAX_TOP_LOGPROBS: i64 = 20;

/// Declares a body with the fields that both endpoints share. A macro and not `#[serde(flatten)]`, which buffers the
/// whole body and cannot say which field was wrong.
macro_rules! body {
    ($(#[$meta:meta])* struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(serde::Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(in crate::http) struct $name {
            $($own)*
            /// Defaults to the server's default model.
            model: Option<String>,
            /// Stream the response as lines of JSON.
            #[schema(default = true)]
            stream: Option<bool>,
            /// `"json"` or a JSON Schema.
            #[schema(schema_with = crate::http::native::schemas::format)]
            format: Option<crate::types::JsonText>,
            #[schema(value_type = Option<super::options::OllamaOptions>)]
            options: Option<crate::http::extract::object::Object<super::options::OllamaOptions>>,
            /// Whether and how long a thinking model reasons before it answers. `max` is the same as `high`. Defaults to
            /// the model's own setting.
            #[serde(default, deserialize_with = "super::common::think")]
            #[schema(schema_with = super::common::think_schema)]
            think: Option<crate::types::Think>,
            /// Time to keep the model loaded: seconds, a duration (`5m`), or -1 to keep it forever.
            #[serde(default, deserialize_with = "crate::http::native::inference::keep_alive")]
            #[schema(schema_with = crate::http::native::schemas::keep_alive)]
            keep_alive: Option<crate::types::KeepAlive>,
            /// Return the log probability of each token.
            logprobs: Option<bool>,
            /// Number of most likely tokens to return at each position. Needs `logprobs`.
            #[schema(minimum = 0, maximum = 20)]
            top_logprobs: Option<i64>,
            /// `true` has no effect: a prompt that is too long is refused.
            truncate: Option<bool>,
            /// `true` has no effect: an answer ends when the context is full.
            shift: Option<bool>,
        }

        impl $name {
            fn given(&mut self) -> super::common::Given {
                super::common::Given {
                    format: self.format.take(),
                    options: self.options.take(),
                    think: self.think,
                    keep_alive: self.keep_alive,
                    logprobs: self.logprobs,
                    top_logprobs: self.top_logprobs,
                    truncate: self.truncate,
                    shift: self.shift,
                }
            }

            fn named(&self) -> Option<&str> {
                super::names::named(self.model.as_deref(), None)
            }
        }
    };
}

pub(super) use body;

/// Fields of a body that are still to be checked.
pub(super) struct Given {
    pub(super) format: Option<JsonText>,
    pub(super) options: Option<Object<OllamaOptions>>,
    pub(super) think: Option<Think>,
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) logprobs: Option<bool>,
    pub(super) top_logprobs: Option<i64>,
    pub(super) truncate: Option<bool>,
    pub(super) shift: Option<bool>,
}

/// The same, checked.
pub(super) struct Common {
    format: Format,
    sampling: Sampling,
    logprobs: Option<u8>,
    think: Option<Think>,
    keep_alive: Option<KeepAlive>,
    context_size: Option<u32>,
    ignored: IgnoredNames,
}

impl Given {
    pub(super) fn check(self, fields: &mut Fields) -> Common {
        let mut ignored = IgnoredNames::default();
        let (mut sampling, mut context_size) = (Sampling::default(), None);
        if let Some(Object(mut options)) = self.options {
            sampling = options.sampling(fields);
            context_size = options.context_size(fields);
            options.note_ignored("options", &mut ignored);
        }
        for (name, value) in [("truncate", self.truncate), ("shift", self.shift)] {
            if value == Some(true) {
                ignored.add(name);
            }
        }
        let top = self.top_logprobs.unwrap_or(0);
        if !(0..=MAX_TOP_LOGPROBS).contains(&top) {
            fields.refuse("/top_logprobs", format!("must be between 0 and {MAX_TOP_LOGPROBS}"));
        }
        if top > 0 && self.logprobs != Some(true) {
            fields.refuse("/top_logprobs", "needs logprobs to be true");
        }
        Common {
            format: format(self.format, fields),
            sampling,
            logprobs: (self.logprobs == Some(true)).then(|| u8::try_from(top).unwrap_or(0)),
            think: self.think,
            keep_alive: self.keep_alive,
            context_size,
            ignored,
        }
    }
}

impl Common {
    /// The request, and the names of what has no effect in it.
    pub(super) async fn into_request(
        self,
        model: String,
        prompt: Prompt,
        app: &App,
    ) -> (ChatRequest, IgnoredNames) {
        let Self { format, sampling, logprobs, think, keep_alive, mut context_size, mut ignored } = self;
        // Loading is the time to choose a context.
        if let Some(asked) = context_size
            && !prompt.is_empty()
            && let Some(chosen) = app.context_of(&model).await
        {
            if u64::from(asked) > chosen {
                ignored.add("options.num_ctx");
            }
            context_size = None;
        }
        let request = ChatRequest {
            format,
            sampling,
            logprobs,
            think,
            keep_alive,
            context_size,
            ..ChatRequest::new(model, prompt)
        };
        (request, ignored)
    }
}

/// Asks for the reply, and gives back the room of the request's body when it is passed on. Without a prompt the model
/// is only loaded.
pub(super) fn ask(
    state: &HttpState,
    caller: &Caller,
    request: ChatRequest,
    asked: Option<&str>,
    room: Room,
) -> impl Future<Output = error::Result<ChatReply>> + Send + 'static {
    let (app, caller, room) = (state.app.clone(), caller.owned(), room.keep(request.size()));
    let name = named(asked, Some(&request.model)).unwrap_or_default().to_owned();
    async move {
        let reply = if request.prompt.is_empty() {
            let options = LoadOptions { keep_alive: request.keep_alive, context: request.context_size };
            let loaded = app.load(&caller, request.model, options).await;
            loaded.map_err(|error| error.at(|pointer| pointer.replace("/context", "/options/num_ctx")))
        } else {
            app.chat(&caller, request).await
        };
        drop(room);
        reply.map_err(|error| in_ollamas_words(error, &name))
    }
}

/// How long to think; `max` is the longest that we know.
pub(super) fn think<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Think>, D::Error> {
    let Some(given) = Option::<JsonText>::deserialize(deserializer)? else { return Ok(None) };
    let longest = (given.get() == r#""max""#).then_some(Think::High);
    let wrong = || D::Error::custom("must be true, false, low, medium, high or max");
    longest.or_else(|| read_think(&given)).map(Some).ok_or_else(wrong)
}

/// `true`, `false` or how long to think.
pub(super) fn think_schema() -> RefOr<Schema> {
    let effort =
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["low", "medium", "high", "max"]));
    either([object(Type::Boolean), effort.build().into()])
}
