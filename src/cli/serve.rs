//! `simpleton serve` and `simpleton health`.

use std::{io::Write, time::Duration};

use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use super::say;
use crate::{
    app::keys::NewKey,
    client::{Client, Method, Target, Timeouts},
    config::Config,
    error::{Error, Kind, Result},
    serve::Server,
    setting::authority,
    telemetry::logs,
};

/// How long work on other threads may go on when everything else has ended.
const LAST_WORK: Duration = Duration::from_secs(1);

/// With what is doubtful about the names of settings, to be logged.
pub(super) fn run(config: &Config, doubts: &[String]) -> Result<()> {
    logs::start(&config.telemetry);
    doubts.iter().for_each(|doubt| tracing::warn!("{doubt}"));
    raise_file_limit();
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        survive_full_files()?;
        let stop = stop_signal()?;
        let server = Server::prepare(config).await?;
        announce(&server)?;
        server.run(stop).await?;
        tracing::info!("stopped");
        Ok(())
    });
    // Also when it did not start: the lines before say why.
    logs::finish();
    // What matters has been written; a file system that does not answer must not keep us.
    runtime.shutdown_timeout(LAST_WORK);
    served
}

pub(super) fn health(config: &Config) -> Result<()> {
    say(runtime()?.block_on(health_of(config))?);
    Ok(())
}

/// What the server on the configured address says of itself.
pub(super) async fn health_of(config: &Config) -> Result<String> {
    let host = match config.server.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    let patience = Duration::from_secs(3);
    let timeouts = Timeouts { connect: patience, first_byte: patience, idle: patience };
    let authority = authority(host, config.server.port);
    let url = format!("http://{authority}");
    let client = Client::new("Simpleton", Target::Url(url), timeouts)?;
    let response = client.send(Method::GET, "/health", None).await?;
    let status = response.status();
    let body = response.bytes(1024 * 1024).await?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == 200 && text.contains("\"ollama_status\"") {
        Ok(text)
    } else {
        Err(Error::new(Kind::Setup, format!("What answers on {authority} is not Simpleton.")))
    }
}

/// For what goes on behind the scenes: requests are served by threads of their own.
pub(super) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| Error::new(Kind::Setup, "The system gives no threads.").because(source))
}

/// What somebody needs to start: on standard output, so that it is there whatever is logged.
fn announce(server: &Server) -> Result<()> {
    let (url, path) = (format!("http://{}", server.address()?), server.key_path());
    let (key, known) = match &server.new_key {
        Some(NewKey(key)) => {
            let key = key.expose().to_owned();
            (key.clone(), format!("{key}  (made just now, kept in {})", path.display()))
        }
        None if server.has_own_key() => {
            (format!("$(cat '{}')", path.display()), format!("in {}", path.display()))
        }
        None => ("YOUR_KEY".to_owned(), "one of those in API_KEYS; put it in place of YOUR_KEY".to_owned()),
    };
    let text = format!(
        "Simpleton {} is ready on {url}
  docs     {url}/docs
  API key  {known}
  try      curl {url}/inference/generate -H \"X-API-Key: {key}\" \\
             -H 'Content-Type: application/json' -d '{{\"prompt\": \"What is the capital of France?\"}}'
",
        env!("CARGO_PKG_VERSION")
    );
    // Whoever started the server may have closed the pipe: it serves all the same.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// A file at the limit of `ulimit -f` or `LimitFSIZE` is then as a full disk, which costs only the
/// writes; by default the kernel ends the process. A handler, and not "ignore", as children would
/// inherit that; this one stays for as long as the process lives.
fn survive_full_files() -> Result<()> {
    listen(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

/// Completes at the first SIGTERM or SIGINT. A second one ends the process at once.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        let _ = tokio::select! { got = terminate.recv() => got, got = interrupt.recv() => got };
        tracing::info!("stopping: running replies may finish; a second signal stops at once");
        tokio::spawn(async move {
            let _ = tokio::select! { got = terminate.recv() => got, got = interrupt.recv() => got };
            std::process::exit(130);
        });
    })
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|source| Error::new(Kind::Setup, "Signals cannot be received.").because(source))
}

/// Each connection takes one or two descriptors, and many systems start with 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Best effort: with the old limit the server still works.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
