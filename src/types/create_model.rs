//! A model to be made from another one, or from files, as a Modelfile describes it.

use serde_json::{Map, Value};

use super::{ModelName, Role};

#[derive(Clone, Debug)]
pub struct CreateModel {
    pub name: ModelName,
    pub base: BaseModel,
    /// System prompt, in place of the base's.
    pub system: Option<String>,
    /// License, in place of the base's.
    pub license: Option<String>,
    /// Default parameters by Ollama's names, in addition to the base's.
    pub parameters: Map<String, Value>,
    /// Turns that go before those of each chat, in place of the base's.
    pub messages: Vec<(Role, String)>,
}

impl CreateModel {
    /// Name of the model that it is made from.
    pub fn from(&self) -> Option<ModelName> {
        match &self.base {
            BaseModel::Model(name) => Some(name.clone()),
            BaseModel::Files(_) => None,
        }
    }
}

#[derive(Clone, Debug)]
pub enum BaseModel {
    Model(ModelName),
    /// Digests of uploaded GGUF files: `sha256:…`.
    Files(Vec<String>),
}
