//! `simpleton serve` and `simpleton health`.

use std::{
    io::{IsTerminal, Write},
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use super::terminal::say;
use crate::{
    app::{
        health::{Health, Status},
        keys::NewKey,
    },
    config::Config,
    error::{Error, Kind, Result},
    http_client::{Client, Request, Target, Timeouts},
    server::Server,
    telemetry::logs,
    value_parser::authority,
};

/// How long work on other threads may go on when everything else has ended.
pub(super) const LAST_WORK: Duration = Duration::from_secs(1);

/// Timeout for the first check of the backend: a llama-server that runs for the first time is slow to print its
/// version on a busy machine.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// Runs the server. `doubts` are warnings about names of settings, which are logged.
pub(super) fn run(config: &Config, doubts: &[String]) -> Result<()> {
    // Files that libraries create are private, too.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    logs::start(config.telemetry.log_level, config.telemetry.log_format)?;
    doubts.iter().for_each(|doubt| tracing::warn!("{doubt}"));
    raise_file_limit();
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        survive_full_files()?;
        let stop = stop_signal()?;
        let server = Server::prepare(config).await?;
        let health = server.app().health_within(FIRST_LOOK).await;
        record_start(&server, config, &health)?;
        announce(&server, &health)?;
        server.run(stop).await?;
        tracing::info!("stopped");
        Ok(())
    });
    // Also when it did not start: the lines before say why.
    logs::finish();
    // Everything important has been written; a file system that does not respond must not delay the exit.
    runtime.shutdown_timeout(LAST_WORK);
    served
}

/// # Errors
/// `Kind::Setup` when no server answers, or one that cannot answer prompts.
pub(super) fn health(config: &Config) -> Result<()> {
    let health = runtime()?.block_on(health_of(config))?;
    say(&health.text);
    match health.problem() {
        Some(problem) if health.status() == Status::Unhealthy.as_str() => {
            Err(Error::new(Kind::Setup, format!("Prompts cannot be answered: {problem}")))
        }
        _ => Ok(()),
    }
}

/// Health that a running server reports.
pub(super) struct ServerHealth {
    text: String,
    json: Value,
}

impl ServerHealth {
    pub(super) fn status(&self) -> &str {
        self.json["status"].as_str().unwrap_or_default()
    }

    /// Reason for the status, unless it is healthy.
    pub(super) fn problem(&self) -> Option<String> {
        if self.status() == Status::Healthy.as_str() {
            return None;
        }
        let parts = self.json["components"].as_object().into_iter().flatten();
        let detail = parts
            .filter(|(_, part)| part["status"] == self.json["status"])
            .find_map(|(_, part)| part["detail"].as_str());
        Some(detail.unwrap_or("it gives no reason").to_owned())
    }
}

/// Asks the server on the configured address for its health.
pub(super) async fn health_of(config: &Config) -> Result<ServerHealth> {
    let host = match config.server.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    let limit = Duration::from_secs(3);
    let timeouts = Timeouts { connect: limit, first_byte: limit, idle: limit };
    let authority = authority(host, config.server.port);
    let url = format!("http://{authority}");
    let client = Client::new("Simpleton", Target::Url(url), timeouts)?;
    let response = client.send(Request::get("/health")).await;
    let response = response.map_err(|error| match error.kind() {
        Kind::Unavailable => not_running(&authority, &error),
        _ => error,
    })?;
    let status = response.status();
    let body = response.bytes(1024 * 1024).await?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    if status == 200 && json["ollama_status"].is_string() {
        Ok(ServerHealth { text, json })
    } else {
        Err(Error::new(
            Kind::Setup,
            format!("A program other than Simpleton is listening on {authority}; stop it, or change PORT."),
        ))
    }
}

fn not_running(authority: &str, error: &Error) -> Error {
    let message = format!(
        "No Simpleton server is running on {authority}; start it with `simpleton serve`, or set HOST and PORT to its address."
    );
    Error::new(Kind::Setup, message).with_source(error.causes().unwrap_or_default())
}

/// For what goes on behind the scenes: requests are served by threads of their own.
pub(super) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|source| {
        Error::new(Kind::Setup, "The system does not allow any more threads.").with_source(source)
    })
}

/// One line in the log says what has been started, and another what is wrong.
fn record_start(server: &Server, config: &Config, health: &Health) -> Result<()> {
    let app = server.app();
    let history = config.history.file(&config.server.data_dir);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        address = %server.address()?,
        backend = health.backend,
        backend_version = health.version.as_deref(),
        models = app.model_names(),
        cache = app.cache_store(),
        history = if app.monitoring_report().enabled { history.display().to_string() } else { "off".to_owned() },
        data_dir = %config.server.data_dir.display(),
        "started"
    );
    if let Some(detail) = health.detail() {
        match health.status() {
            Status::Unhealthy => tracing::warn!("prompts cannot be answered: {detail}{}", cause(health)),
            Status::Healthy | Status::Degraded => tracing::warn!("{detail}"),
        }
    }
    Ok(())
}

/// Cause of the backend's failure, when that is known.
fn cause(health: &Health) -> String {
    health.cause.as_ref().map_or_else(String::new, |cause| format!(" ({cause})"))
}

/// Prints how to get started: on standard output, so that it is there whatever is logged.
fn announce(server: &Server, health: &Health) -> Result<()> {
    let url = format!("http://{}", server.address()?);
    let path = server.key_path();
    let (key, known) = match &server.new_key {
        // Whatever keeps a program's output is no place for a key.
        Some(NewKey(key)) if std::io::stdout().is_terminal() => {
            let key = key.expose().to_owned();
            (key.clone(), format!("{key}  (created just now, saved in {})", path.display()))
        }
        Some(_) => {
            (format!("$(cat '{}')", path.display()), format!("created just now, saved in {}", path.display()))
        }
        None if server.has_own_key() => {
            (format!("$(cat '{}')", path.display()), format!("in {}", path.display()))
        }
        None => ("YOUR_KEY".to_owned(), "one of API_KEYS; replace YOUR_KEY with it".to_owned()),
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut text = match (health.status(), health.detail()) {
        (Status::Unhealthy, Some(detail)) => format!(
            "Simpleton {version} is running on {url}\n  problem  prompts cannot be answered: {detail}{}\n",
            cause(health)
        ),
        (_, Some(detail)) => format!("Simpleton {version} is ready on {url}\n  warning  {detail}\n"),
        (_, None) => format!("Simpleton {version} is ready on {url}\n"),
    };
    text.push_str(&format!("  open     {}\n", dashboard(server)?));
    text.push_str(&format!("  docs     {url}/docs\n  API key  {known}\n"));
    // What is printed to be pasted works.
    if [Health::BACKEND, Health::MODELS].into_iter().all(|at| health.part(at).status == Status::Healthy) {
        text.push_str(&format!(
            "  try      curl {url}/inference/generate -H \"X-API-Key: {key}\" \\
             -H 'Content-Type: application/json' -d '{{\"prompt\": \"What is the capital of France?\"}}'\n"
        ));
    }
    // The parent process may have closed the pipe; the server runs all the same.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// Address of the dashboard; in a terminal it signs in, once. What follows the `#` is never sent to a server, so that no
/// log of a proxy has it.
fn dashboard(server: &Server) -> Result<String> {
    let mut address = server.address()?;
    if address.ip().is_unspecified() {
        let local = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(local);
    }
    let url = format!("http://{address}/dashboard");
    if !std::io::stdout().is_terminal() {
        return Ok(url);
    }
    Ok(format!("{url}#token={}  (signs you in once, within 15 minutes)", server.sign_in_token()?.expose()))
}

/// A file at the limit of `ulimit -f` or `LimitFSIZE` is then as a full disk, which costs only the
/// writes; by default the kernel ends the process. A handler, and not "ignore", as children would
/// inherit that; this one stays for as long as the process lives.
pub(super) fn survive_full_files() -> Result<()> {
    listen(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

/// Completes at the first SIGTERM or SIGINT. A second one ends the process at once.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        let _ = tokio::select! { got = terminate.recv() => got, got = interrupt.recv() => got };
        tracing::info!(
            "shutting down: waiting for running requests to finish; a second signal stops at once"
        );
        tokio::spawn(async move {
            let _ = tokio::select! { got = terminate.recv() => got, got = interrupt.recv() => got };
            std::process::exit(130);
        });
    })
}

pub(super) fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind)
        .map_err(|source| Error::new(Kind::Setup, "Signal handlers cannot be installed.").with_source(source))
}

/// Each connection takes one or two descriptors, and many systems start with 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Best effort: with the old limit the server still works.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
