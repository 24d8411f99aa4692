//! `/v1/models` for Anthropic's clients.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    error::{Error, Result},
    http::extract::fields::Fields,
    types::Model,
};

/// Models on a page, as in Anthropic's API.
const USUAL_LIMIT: usize = 20;
const MAX_LIMIT: usize = 1000;

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AnthropicModels {
    data: Vec<AnthropicModel>,
    /// Whether there are more in the direction of the page.
    has_more: bool,
    #[schema(required)]
    first_id: Option<String>,
    #[schema(required)]
    last_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AnthropicModel {
    r#type: AnthropicModelObject,
    id: String,
    display_name: String,
    /// RFC 3339, when the model was installed; 1970 if that is not known.
    created_at: String,
    lifecycle: Lifecycle,
    /// Context size in tokens, for prompt and answer together; null if that is not known.
    #[schema(required)]
    max_input_tokens: Option<u64>,
}

/// Always `model`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AnthropicModelObject {
    Model,
}

/// Always `active`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Lifecycle {
    Active,
}

/// Parameters of the list of models, which only Anthropic's API has.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Paging {
    /// Number of models on a page. Only for Anthropic's clients.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Model before the page. Only for Anthropic's clients.
    after_id: Option<String>,
    /// Model behind the page. Only for Anthropic's clients.
    before_id: Option<String>,
    /// Read as `BetaParam`.
    #[serde(rename = "beta")]
    #[param(ignore)]
    _beta: Option<String>,
}

impl Paging {
    /// # Errors
    /// `Invalid` if there is one, for APIs that have none.
    pub(in crate::http) fn refuse(self) -> Result<()> {
        let Self { limit, after_id, before_id, _beta } = self;
        let mut fields = Fields::default();
        for (pointer, given) in [("/limit", limit), ("/after_id", after_id), ("/before_id", before_id)] {
            if given.is_some() {
                fields.refuse(
                    pointer,
                    "is a parameter of Anthropic's API, which needs the header anthropic-version",
                );
            }
        }
        fields.finish()
    }
}

impl From<&Model> for AnthropicModel {
    fn from(model: &Model) -> Self {
        Self {
            r#type: AnthropicModelObject::Model,
            id: model.name.clone(),
            display_name: model.name.clone(),
            created_at: model.modified_at.unwrap_or(Timestamp::UNIX_EPOCH).to_string(),
            lifecycle: Lifecycle::Active,
            max_input_tokens: model.context.chosen.or(model.context.trained),
        }
    }
}

impl AnthropicModels {
    /// Returns a page of the models.
    ///
    /// # Errors
    /// `Invalid` for wrong parameters.
    pub(in crate::http) fn page(models: &[Model], paging: Paging) -> Result<Self> {
        let Paging { limit, after_id, before_id, .. } = paging;
        let mut fields = Fields::default();
        let limit = fields.number("/limit", limit.as_deref(), "a whole number").unwrap_or(USUAL_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            fields.refuse("/limit", format!("must be between 1 and {MAX_LIMIT}"));
        }
        if after_id.is_some() && before_id.is_some() {
            fields.refuse("/before_id", "cannot be combined with after_id");
        }
        fields.finish()?;
        let (data, has_more) = match (after_id, before_id) {
            (_, Some(id)) => {
                let before = &models[..place(models, &id, "/before_id")?];
                let from = before.len().saturating_sub(limit);
                (&before[from..], from > 0)
            }
            (id, None) => {
                let place = id.map(|id| place(models, &id, "/after_id")).transpose()?;
                let after = &models[place.map_or(0, |place| place + 1)..];
                (&after[..limit.min(after.len())], after.len() > limit)
            }
        };
        let id = |model: Option<&Model>| model.map(|model| model.name.clone());
        Ok(Self {
            has_more,
            first_id: id(data.first()),
            last_id: id(data.last()),
            data: data.iter().map(AnthropicModel::from).collect(),
        })
    }
}

fn place(models: &[Model], id: &str, pointer: &str) -> Result<usize> {
    let found = models.iter().position(|model| model.name.eq_ignore_ascii_case(id));
    found.ok_or_else(|| Error::field(pointer, "must be the id of a model on the list"))
}
