//! Backends that only list models.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    backend::{Backend, ChatStream, Profile, embedded::PROFILE},
    error::Result,
    types::{Capability, ChatRequest, Context, Done, EmbedReply, EmbedRequest, LoadOptions, Model},
};

pub(super) struct Fake {
    profile: &'static Profile,
    models: Vec<Model>,
}

impl Fake {
    pub(super) fn backend<const N: usize>(name: &'static str, models: [Model; N]) -> Arc<dyn Backend> {
        let profile = Box::leak(Box::new(Profile { name, ..PROFILE }));
        Arc::new(Self { profile, models: models.into() })
    }
}

#[async_trait]
impl Backend for Fake {
    fn profile(&self) -> &'static Profile {
        self.profile
    }

    async fn chat(&self, _: ChatRequest) -> Result<ChatStream> {
        unreachable!("only its list is asked for")
    }

    async fn embed(&self, _: EmbedRequest) -> Result<EmbedReply> {
        unreachable!("only its list is asked for")
    }

    async fn load(&self, _: &str, _: LoadOptions) -> Result<Done> {
        unreachable!("only its list is asked for")
    }

    async fn models(&self) -> Result<Vec<Model>> {
        Ok(self.models.clone())
    }

    async fn version(&self) -> Result<String> {
        unreachable!("only its list is asked for")
    }
}

pub(super) fn model(name: &str, size: u64, capabilities: &[Capability]) -> Model {
    Model {
        name: name.to_owned(),
        size,
        modified_at: None,
        digest: String::new(),
        capabilities: capabilities.to_vec(),
        context: Context::default(),
        family: None,
        parameter_size: None,
        quantization: None,
        source: "embedded",
        loaded: false,
        defaults: Arc::default(),
    }
}
