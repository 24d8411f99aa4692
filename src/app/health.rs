//! Whether the service can do its work now.

use std::time::Duration;

use tokio::time::timeout;

use super::App;

/// A check never waits longer: liveness must not depend on a slow backend.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The backend's name.
    pub backend: &'static str,
    /// Its version, or why it cannot be used, in one plain sentence.
    pub state: Result<String, String>,
}

impl App {
    /// Asks the backend, for at most one second.
    pub async fn health(&self) -> Health {
        let state = match timeout(PATIENCE, self.backend.version()).await {
            Ok(Ok(version)) => Ok(version),
            Ok(Err(error)) => Err(error.message().to_owned()),
            Err(_) => Err("It did not answer within 1 s.".to_owned()),
        };
        Health { backend: self.backend.name(), state }
    }
}
