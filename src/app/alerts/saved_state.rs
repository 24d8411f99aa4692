//! State that survives a restart, in one small file of the data folder: which alerts are firing, so
//! that they do not fire anew, and which notices are not delivered yet.

use std::{
    collections::VecDeque,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::{
    files::{read, replace},
    types::{Alert, Notification},
};

/// Notices that wait at most. So many changes nobody wants to read; the oldest go.
pub(super) const MOST_WAITING: usize = 64;

/// Far more than all of them take.
const MOST_BYTES: u64 = 16 << 20;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) firing: Vec<Alert>,
    /// In the order in which they came about.
    pub(super) waiting: VecDeque<Notification>,
}

pub(super) struct SavedState {
    path: PathBuf,
    kept: Mutex<Kept>,
    /// Held while the file is written, so that what is written last is what was last true.
    writing: tokio::sync::Mutex<()>,
}

impl SavedState {
    /// Reads what is kept. A file that cannot be read is as good as none: an alert may then be
    /// announced twice, and that is said in the log.
    pub(super) fn open(data_dir: &Path) -> Self {
        let path = data_dir.join("alerts.json");
        let kept = match read(&path, MOST_BYTES) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(%error, "alerts.json is invalid; starting without earlier alerts");
                Kept::default()
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Kept::default(),
            Err(error) => {
                tracing::warn!(%error, "alerts.json cannot be read; starting without earlier alerts");
                Kept::default()
            }
        };
        Self { path, kept: Mutex::new(kept), writing: tokio::sync::Mutex::default() }
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is kept now. A failure is logged and costs at most a notice that comes twice.
    pub(super) async fn save(&self) {
        let _turn = self.writing.lock().await;
        let json = serde_json::to_vec(&*self.kept());
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || replace(&path, &json?)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "alerts.json cannot be written"),
            Err(error) => tracing::warn!(%error, "writing alerts.json failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jiff::Timestamp;

    use super::*;
    use crate::types::{AlertKind, Change};

    #[tokio::test]
    async fn what_was_kept_is_there_again_and_damage_is_no_obstacle() {
        let folder = tempfile::tempdir().expect("a folder");
        let saved_state = SavedState::open(folder.path());
        assert_eq!(*saved_state.kept(), Kept::default());
        let alert = Alert {
            kind: AlertKind::BackendDown,
            message: "Gone.".to_owned(),
            value: 0.0,
            threshold: 1.0,
            since: Timestamp::UNIX_EPOCH,
        };
        let notification =
            Notification { alert: alert.clone(), at: Timestamp::UNIX_EPOCH, change: Change::Firing };
        let kept = Kept { firing: vec![alert], waiting: VecDeque::from([notification]) };
        *saved_state.kept() = kept.clone();
        saved_state.save().await;
        assert_eq!(*SavedState::open(folder.path()).kept(), kept);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1, "no temporary file is left");

        fs::write(folder.path().join("alerts.json"), "{\"firing\": [").expect("a damaged file");
        assert_eq!(*SavedState::open(folder.path()).kept(), Kept::default());
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_costs_nothing_but_a_log_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let saved_state = SavedState::open(folder.path());
        folder.close().expect("removed");
        saved_state.save().await;
    }
}
