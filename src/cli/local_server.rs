//! Server for commands that need one: the running one or, without one, a server in this process, which listens on a free
//! port of the loopback address.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::running_server::RunningServer;
use crate::{
    config::{Config, ServerSettings},
    error::Result,
    server::Server,
};

pub(super) struct LocalServer {
    api: RunningServer,
    /// The server of this process, if that is the one.
    own: Option<OwnServer>,
}

struct OwnServer {
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl LocalServer {
    /// # Errors
    /// Those of `RunningServer::find`, and those of a server that cannot start.
    pub(super) async fn find_or_start(config: &Config) -> Result<Self> {
        match RunningServer::find(config)? {
            Some(api) => Ok(Self { api, own: None }),
            None => Self::start(config).await,
        }
    }

    async fn start(config: &Config) -> Result<Self> {
        // As in `simpleton serve`.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let server = ServerSettings { host: "127.0.0.1".to_owned(), port: 0, ..config.server.clone() };
        let config = Config { server, ..config.clone() };
        let server = Server::prepare(&config).await?;
        let api = RunningServer::at(server.address()?, &config)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.run(stop.clone().cancelled_owned()));
        Ok(Self { api, own: Some(OwnServer { stop, task }) })
    }

    /// The server's API.
    pub(super) fn api(&self) -> &RunningServer {
        &self.api
    }

    /// Takes another server if the running one has ended: it may have been that of another command.
    ///
    /// # Errors
    /// Those of `find_or_start`.
    pub(super) async fn replace_if_gone(&mut self, config: &Config) -> Result<()> {
        if self.own.is_some() {
            return Ok(());
        }
        let found = RunningServer::find(config)?;
        if found.is_none_or(|found| found.address() != self.api.address()) {
            *self = Self::find_or_start(config).await?;
        }
        Ok(())
    }

    /// Takes the server that runs now, if there is one, in place of one that has ended.
    ///
    /// # Errors
    /// Those of `RunningServer::find`.
    pub(super) fn find_again(&mut self, config: &Config) -> Result<()> {
        if self.own.is_none()
            && let Some(api) = RunningServer::find(config)?
        {
            self.api = api;
        }
        Ok(())
    }

    /// Ends a server of this process, and its engine.
    pub(super) async fn stop(self) {
        if let Some(OwnServer { stop, task }) = self.own {
            stop.cancel();
            // All requests have been answered or interrupted by now.
            let _ = task.await;
        }
    }
}
