//! HTTP API of the running server that uses the data directory.

use std::{net::SocketAddr, time::Duration};

use futures_util::{Stream, StreamExt};
use serde_json::Value;

use crate::{
    app::keys,
    backend::frames,
    config::Config,
    data_dir::DataDir,
    error::{Error, FieldError, Kind, Result},
    http_client::{
        CONTENT_TYPE, Client, HeaderName, HeaderValue, Method, Request, Response, Retry, Target, Timeouts,
    },
    types::ModelName,
    wire::sse::Events,
};

/// Long, because loading a large model takes minutes; Ctrl-C ends the wait.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(3),
    first_byte: Duration::from_secs(3600),
    idle: Duration::from_secs(3600),
};

/// Bytes; enough for a list of 10,000 models.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// Body of a request with a form.
pub(super) struct FormBody {
    pub(super) content_type: HeaderValue,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct RunningServer {
    client: Client,
    key: Option<HeaderValue>,
    address: SocketAddr,
}

impl RunningServer {
    /// Finds the server that uses the data directory.
    ///
    /// # Errors
    /// `Setup` when it is just starting, or its key cannot be read.
    pub(super) fn find(config: &Config) -> Result<Option<Self>> {
        let address = DataDir::server(&config.server.data_dir)?;
        address.map(|address| Self::at(address, config)).transpose()
    }

    /// The server that uses the data directory.
    ///
    /// # Errors
    /// Those of `find`, and `Setup` when there is none.
    pub(super) fn required(config: &Config) -> Result<Self> {
        let advice = "No server is running; start it with `simpleton serve`.";
        Self::find(config)?.ok_or_else(|| Error::new(Kind::Setup, advice))
    }

    /// The server on an address.
    ///
    /// # Errors
    /// `Setup` when its key cannot be read.
    pub(super) fn at(mut address: SocketAddr, config: &Config) -> Result<Self> {
        if address.ip().is_unspecified() {
            let loopback =
                if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
            address.set_ip(loopback);
        }
        let client = Client::new("Simpleton", Target::Url(format!("http://{address}")), TIMEOUTS)?;
        let key = match config.server.api_keys.first() {
            Some(key) => Some(key.clone()),
            None => keys::stored(&config.server.data_dir)?,
        };
        // A key has visible ASCII characters only.
        let key = key.and_then(|key| HeaderValue::from_str(key.expose()).ok());
        Ok(Self { client, key, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        read(self.send(Request::get(path)).await?).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value> {
        read(self.send(Request { method: Method::DELETE, retry: Retry::Never, ..Request::get(path) }).await?)
            .await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        read(self.send(Request::post(path, body.to_string().into_bytes(), Retry::Never)).await?).await
    }

    /// Sends a request whose reply is server-sent events.
    ///
    /// # Errors
    /// The server's refusal; a later failure comes in the stream.
    pub(super) async fn events(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<impl Stream<Item = Result<Value>> + Send + use<>> {
        self.events_of(Request::post(path, body.to_string().into_bytes(), Retry::Never)).await
    }

    /// Sends a form whose reply is server-sent events.
    ///
    /// # Errors
    /// As `events`.
    pub(super) async fn upload(
        &self,
        path: &str,
        form: FormBody,
    ) -> Result<impl Stream<Item = Result<Value>> + Send + use<>> {
        let mut request = Request::post(path, form.bytes, Retry::Never);
        request.headers.insert(CONTENT_TYPE, form.content_type);
        self.events_of(request).await
    }

    async fn events_of(
        &self,
        request: Request<'_>,
    ) -> Result<impl Stream<Item = Result<Value>> + Send + use<>> {
        let events = frames::<Events>(self.send(request).await?);
        Ok(events.map(|event| {
            let event: Value = serde_json::from_slice(&event?).unwrap_or_default();
            // Only a problem has the status of a response.
            if event["status"].is_u64() { Err(problem(&event)) } else { Ok(event) }
        }))
    }

    async fn send(&self, mut request: Request<'_>) -> Result<Response> {
        if let Some(key) = &self.key {
            request.headers.insert(HeaderName::from_static("x-api-key"), key.clone());
        }
        let response = self.client.send(request).await?;
        if response.is_success() {
            return Ok(response);
        }
        let text = response.beginning(MAX_ANSWER).await;
        Err(problem(&serde_json::from_slice(&text).unwrap_or_default()))
    }
}

/// Path of a model in the API.
pub(super) fn path_of(name: &ModelName, action: &str) -> String {
    format!("/models/{}{action}", name.to_string().replace('/', "%2F"))
}

async fn read(response: Response) -> Result<Value> {
    let body = response.bytes(MAX_ANSWER).await?;
    serde_json::from_slice(&body).map_err(|source| {
        Error::new(Kind::BadGateway, "The server's answer is not JSON.").with_source(source)
    })
}

/// Error that a problem object (RFC 9457) describes.
fn problem(problem: &Value) -> Error {
    let detail = problem["detail"].as_str().unwrap_or("The server failed and does not say why.");
    let kind = match problem["status"].as_u64() {
        Some(401) => {
            let advice = "The server does not accept this API key; set API_KEYS to one of its keys.";
            return Error::new(Kind::Unauthorized, advice);
        }
        Some(404) => Kind::NotFound,
        Some(413) => Kind::TooLarge,
        Some(422) => Kind::Invalid,
        Some(503) => Kind::Unavailable,
        _ => Kind::BadGateway,
    };
    let text = |field: &Value, name: &str| field[name].as_str().map(str::to_owned);
    let field = |field: &Value| Some(FieldError::new(text(field, "pointer")?, text(field, "detail")?));
    let fields: Vec<_> = problem["errors"].as_array().into_iter().flatten().filter_map(field).collect();
    if fields.is_empty() { Error::new(kind, detail) } else { Error::fields(fields).of_kind(kind) }
}
