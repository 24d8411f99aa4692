//! Where a model is pulled from: the host in its name must be one from the settings.

use super::{Pace, Settings, hugging_face, plan::Plan, registry, session};
use crate::{
    error::{Error, Kind, Result},
    http_client::{Downloads, Url},
    model_store::pull::session::Session,
    types::{ModelName, Secret},
};

/// Names of Hugging Face in models' names, whatever its address.
const HUGGING_FACE: [&str; 2] = ["hf.co", "huggingface.co"];

const HUGGING_FACE_ADVICE: &str = "accept the model's terms there, and set HF_TOKEN";
const REGISTRY_ADVICE: &str = "check the user name and password in MODEL_REGISTRY";

/// All servers that models may be pulled from.
pub(super) struct Sources {
    downloads: Downloads,
    /// The first is for names without a host.
    registries: Vec<Url>,
    hugging_face: Url,
    hugging_face_token: Option<Secret>,
    pace: Pace,
}

impl Sources {
    pub(super) fn new(settings: &Settings, pace: Pace) -> Result<Self> {
        let registries = settings.model_registry.iter().map(|url| parse(url)).collect::<Result<Vec<_>>>()?;
        let hugging_face = parse(&settings.hf_endpoint)?;
        let trusted = [&registries[..], std::slice::from_ref(&hugging_face)].concat();
        Ok(Self {
            downloads: Downloads::new(&trusted, "MODEL_REGISTRY", pace.headers_timeout),
            registries,
            hugging_face,
            hugging_face_token: settings.hf_token.clone(),
            pace,
        })
    }

    /// Asks a model's registry for the list of its files.
    pub(super) async fn plan(&self, name: &ModelName) -> Result<Plan> {
        let is = |host: &str| name.host.eq_ignore_ascii_case(host);
        let session = |url: &Url, token, advice| {
            Session::new(self.downloads.clone(), url.clone(), token, self.pace.headers_timeout, advice)
        };
        if HUGGING_FACE.into_iter().any(is) || is(&session::host(&self.hugging_face)) {
            let session = session(&self.hugging_face, self.hugging_face_token.as_ref(), HUGGING_FACE_ADVICE)?;
            return hugging_face::plan(session, name).await;
        }
        let named = self.registries.iter().find(|url| is(&session::host(url)));
        // A mirror comes before the registry that it mirrors.
        let default = self.registries.first().filter(|_| is(ModelName::DEFAULT_HOST));
        let Some(registry) = default.or(named) else {
            let host = &name.host;
            let message =
                format!("{host} is not among the registries; add https://{host} to MODEL_REGISTRY.");
            return Err(Error::new(Kind::Invalid, message));
        };
        registry::plan(session(registry, None, REGISTRY_ADVICE)?, name).await
    }
}

/// The settings' parsers have checked it.
fn parse(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|source| {
        Error::new(Kind::Setup, "A registry's address in MODEL_REGISTRY or HF_ENDPOINT is not a URL.")
            .with_source(source)
    })
}
