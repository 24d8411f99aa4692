//! Events that are not delivered yet, in one small file of the data folder, together with the state of
//! their source: a change of that state and its event are saved in one go, or not at all.

use std::{
    collections::VecDeque,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    files::{read, replace},
    types::Event,
};

/// Events that wait at most; beyond that the oldest are dropped.
pub(in crate::app) const QUEUE_LIMIT: usize = 64;

/// Far more than all of them take.
const FILE_LIMIT_BYTES: u64 = 16 << 20;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::app) struct Kept<S> {
    /// State of the source of these events.
    #[serde(flatten)]
    pub(in crate::app) source: S,
    /// In the order in which they happened.
    pub(in crate::app) waiting: VecDeque<Event>,
}

pub(in crate::app) struct Outbox<S> {
    path: PathBuf,
    kept: Mutex<Kept<S>>,
    /// Held while the file is written, so that what is written last is what was last true.
    writing: tokio::sync::Mutex<()>,
}

impl<S: Serialize + DeserializeOwned + Default> Outbox<S> {
    /// Reads what is kept. A file that cannot be read is as good as none: an event may then be
    /// announced twice, and that is said in the log.
    pub(in crate::app) fn open(path: PathBuf) -> Self {
        let name = name(&path);
        let kept = match read(&path, FILE_LIMIT_BYTES) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(%error, "{name} is invalid; starting without earlier events");
                Kept::default()
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Kept::default(),
            Err(error) => {
                tracing::warn!(%error, "{name} cannot be read; starting without earlier events");
                Kept::default()
            }
        };
        Self { path, kept: Mutex::new(kept), writing: tokio::sync::Mutex::default() }
    }

    pub(in crate::app) fn kept(&self) -> MutexGuard<'_, Kept<S>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is kept now. A failure is logged and costs at most an event that comes twice.
    pub(in crate::app) async fn save(&self) {
        let _turn = self.writing.lock().await;
        let json = serde_json::to_vec(&*self.kept());
        let (path, name) = (self.path.clone(), name(&self.path));
        let written = tokio::task::spawn_blocking(move || replace(&path, &json?)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "{name} cannot be written"),
            Err(error) => tracing::warn!(%error, "writing {name} failed"),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jiff::Timestamp;

    use super::*;
    use crate::types::{Alert, AlertKind, Change, Notification};

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Source {
        firing: Vec<Alert>,
    }

    #[tokio::test]
    async fn what_was_kept_is_there_again_and_damage_is_no_obstacle() {
        let folder = tempfile::tempdir().expect("a folder");
        let outbox = Outbox::<Source>::open(folder.path().join("alerts.json"));
        assert_eq!(*outbox.kept(), Kept::default());
        let alert = Alert {
            kind: AlertKind::BackendDown,
            message: "Gone.".to_owned(),
            value: 0.0,
            threshold: 1.0,
            since: Timestamp::UNIX_EPOCH,
        };
        let change = Notification { alert: alert.clone(), at: Timestamp::UNIX_EPOCH, change: Change::Firing };
        let kept = Kept { source: Source { firing: vec![alert] }, waiting: VecDeque::from([change.into()]) };
        *outbox.kept() = kept.clone();
        outbox.save().await;
        assert_eq!(*Outbox::<Source>::open(folder.path().join("alerts.json")).kept(), kept);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1, "no temporary file is left");

        fs::write(folder.path().join("alerts.json"), "{\"firing\": [").expect("a damaged file");
        assert_eq!(*Outbox::<Source>::open(folder.path().join("alerts.json")).kept(), Kept::default());
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_costs_nothing_but_a_log_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let outbox = Outbox::<Source>::open(folder.path().join("alerts.json"));
        folder.close().expect("removed");
        outbox.save().await;
    }
}
