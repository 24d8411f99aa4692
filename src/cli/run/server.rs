//! A server in this process, for a chat without another one. It listens on a free port of the loopback address.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::running_server::RunningServer,
    config::{Config, ServerSettings},
    error::Result,
    server::Server,
};

pub(super) struct OwnServer {
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl OwnServer {
    pub(super) async fn start(config: &Config) -> Result<(RunningServer, Self)> {
        // As in `simpleton serve`.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let server = ServerSettings { host: "127.0.0.1".to_owned(), port: 0, ..config.server.clone() };
        let config = Config { server, ..config.clone() };
        let server = Server::prepare(&config).await?;
        let running = RunningServer::at(server.address()?, &config)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.run(stop.clone().cancelled_owned()));
        Ok((running, Self { stop, task }))
    }

    /// Ends the server and its engine.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        // All answers have been printed by now.
        let _ = self.task.await;
    }
}
