//! Fields that decide the prompt, which `/v1/messages` and `/v1/messages/count_tokens` share.

use std::sync::Arc;

use super::{
    blocks::Blocks,
    content::{InputMessage, SystemContent},
    thinking::{OutputConfig, ThinkingBody},
    tools::{AnthropicToolChoice, ClientTool},
    turns::{Places, Turns},
};
use crate::{
    app::App,
    error,
    http::{
        HttpState,
        extract::{fields::Fields, images::check_images, object::Object},
        ignored::IgnoredNames,
        native::inference::resolve,
    },
    types::{ChatRequest, Prompt, Sampling, Tool},
};

/// Declares a body with the fields that both endpoints share. A macro and not `#[serde(flatten)]`, which buffers
/// the whole body and cannot say which field was wrong.
macro_rules! body {
    ($(#[$meta:meta])* struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(serde::Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(in crate::http) struct $name {
            $($own)*
            /// Defaults to the server's default model.
            model: Option<String>,
            /// The conversation so far, oldest message first.
            #[schema(value_type = Vec<super::content::InputMessage>, min_items = 1)]
            messages: Vec<$crate::http::extract::object::Object<super::content::InputMessage>>,
            /// System prompt: a text, or a list of texts.
            system: Option<super::content::SystemContent>,
            /// Up to 128 tools that the model can call.
            #[schema(value_type = Option<Vec<super::tools::ClientTool>>, max_items = 128)]
            tools: Option<Vec<$crate::http::extract::object::Object<super::tools::ClientTool>>>,
            #[schema(value_type = Option<super::tools::AnthropicToolChoice>)]
            tool_choice: Option<$crate::http::extract::object::Object<super::tools::AnthropicToolChoice>>,
            #[schema(value_type = Option<super::thinking::ThinkingBody>)]
            thinking: Option<$crate::http::extract::object::Object<super::thinking::ThinkingBody>>,
            #[schema(value_type = Option<super::thinking::OutputConfig>)]
            output_config: Option<$crate::http::extract::object::Object<super::thinking::OutputConfig>>,
            /// Has no effect: prompts are cached in any case.
            #[serde(default)]
            #[schema(value_type = Option<serde_json::Value>)]
            cache_control: $crate::http::ignored::Ignored,
            /// Has no effect: nothing is removed from the conversation.
            #[serde(default)]
            #[schema(value_type = Option<serde_json::Value>)]
            context_management: $crate::http::ignored::Ignored,
            /// Has no effect.
            #[serde(default)]
            #[schema(value_type = Option<String>)]
            speed: $crate::http::ignored::Ignored,
            /// Has no effect.
            #[serde(default)]
            #[schema(value_type = Option<String>)]
            user_profile_id: $crate::http::ignored::Ignored,
        }

        impl $name {
            /// Names the fields that both endpoints ignore.
            fn note_ignored(&self, names: &mut $crate::http::ignored::IgnoredNames) {
                names.note("cache_control", self.cache_control);
                names.note("context_management", self.context_management);
                names.note("speed", self.speed);
                names.note("user_profile_id", self.user_profile_id);
            }

            /// Takes out the fields that decide the prompt.
            fn prompt(&mut self) -> super::body::PromptFields {
                super::body::PromptFields {
                    model: self.model.take(),
                    messages: std::mem::take(&mut self.messages),
                    system: self.system.take(),
                    tools: self.tools.take().unwrap_or_default(),
                    tool_choice: self.tool_choice.take(),
                    thinking: self.thinking.take().map(|body| body.0),
                    output_config: self.output_config.take().map(|body| body.0).unwrap_or_default(),
                }
            }
        }
    };
}

pub(super) use body;

pub(super) struct PromptFields {
    pub(super) model: Option<String>,
    pub(super) messages: Vec<Object<InputMessage>>,
    pub(super) system: Option<SystemContent>,
    pub(super) tools: Vec<Object<ClientTool>>,
    pub(super) tool_choice: Option<Object<AnthropicToolChoice>>,
    pub(super) thinking: Option<ThinkingBody>,
    pub(super) output_config: OutputConfig,
}

impl PromptFields {
    pub(super) fn note_ignored(&self, names: &mut IgnoredNames) {
        self.messages.iter().for_each(|Object(message)| message.note_ignored(names));
        let system = self.system.as_ref().map_or(&[][..], Blocks::list);
        system.iter().for_each(|Object(block)| block.note_ignored(names));
        self.tools.iter().for_each(|Object(tool)| tool.note_ignored(names));
        self.thinking.iter().for_each(|thinking| thinking.note_ignored(names));
        self.output_config.note_ignored(self.thinking.as_ref(), names);
    }

    /// Checks the fields and makes the request of them, for a model that can do what it asks for.
    ///
    /// # Errors
    /// `Invalid` for wrong fields, also those that are in `fields` already; those of `App::resolve` and `App::open_image`.
    pub(super) async fn into_request(
        self,
        sampling: Sampling,
        mut fields: Fields,
        state: &HttpState,
    ) -> error::Result<(ChatRequest, Places)> {
        self.check(&sampling, &mut fields);
        let images = self.images();
        let choice = self.tool_choice.map(|Object(choice)| choice);
        let parallel_tool_calls = choice.as_ref().is_none_or(AnthropicToolChoice::is_parallel);
        let tool_choice = choice.map(|choice| choice.into_choice(&mut fields)).unwrap_or_default();
        let think = self.thinking.and_then(|thinking| thinking.think(&self.output_config));
        let format = self.output_config.into_format(&mut fields);
        fields.finish()?;
        let model = resolve(state, self.model.as_deref(), images, self.tools.len()).await?;
        let app: &Arc<App> = &state.app;
        let (messages, places) = Turns::new(self.system, self.messages).open(app).await?;
        let request = ChatRequest {
            tools: self.tools.into_iter().map(|Object(tool)| Tool::from(tool)).collect(),
            tool_choice,
            parallel_tool_calls,
            format,
            sampling,
            think,
            ..ChatRequest::new(model, Prompt::Messages(messages))
        };
        Ok((request, places))
    }

    fn check(&self, sampling: &Sampling, fields: &mut Fields) {
        InputMessage::check_all(&self.messages, fields);
        check_images(self.images(), "/messages", fields);
        let system = self.system.as_ref().map_or(&[][..], Blocks::list);
        for (index, Object(block)) in system.iter().enumerate() {
            block.check(&format!("/system/{index}"), fields);
        }
        ClientTool::check_all(&self.tools, fields);
        let thinking = self.thinking.iter();
        thinking.for_each(|thinking| thinking.check(sampling.max_tokens.map(i64::from), fields));
    }

    fn images(&self) -> usize {
        self.messages.iter().map(|Object(message)| message.images()).sum()
    }
}
