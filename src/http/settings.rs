//! `/settings`: the settings that are in effect, as `simpleton config` prints them.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use super::{HttpState, closed_set::words};
use crate::config::{Origin, ShownSetting};

#[derive(Serialize, ToSchema)]
pub(super) struct SettingsReply {
    settings: Vec<SettingReply>,
}

#[derive(Serialize, ToSchema)]
struct SettingReply {
    /// Environment variable.
    name: String,
    /// Heading under which the documentation lists it.
    section: String,
    description: String,
    /// Value in effect, as text; null if it is unset, `[redacted]` if it is a secret.
    value: Option<String>,
    default: Option<String>,
    #[schema(schema_with = origins)]
    source: &'static str,
    /// Whether it holds a secret.
    secret: bool,
}

fn origins() -> RefOr<Schema> {
    words(Origin::WORDS)
}

impl From<&ShownSetting> for SettingReply {
    fn from(setting: &ShownSetting) -> Self {
        let ShownSetting { name, section, description, value, default, origin, secret } = setting.clone();
        Self { name, section, description, value, default, source: origin.as_str(), secret }
    }
}

/// List the settings, without secrets
#[utoipa::path(get, path = "/settings", tag = "Service", responses((status = 200, body = SettingsReply)))]
pub(super) async fn settings(State(state): State<Arc<HttpState>>) -> Json<SettingsReply> {
    Json(SettingsReply { settings: state.settings.iter().map(SettingReply::from).collect() })
}
