//! Measuring what the rules judge. Every measurement has a limit in time, and one that fails is an
//! unknown and not an alarm.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

use super::{App, rules::Signals};
use crate::app::health::Health;

/// Timeout for asking about the disk: a network file system may never answer.
const DISK_TIMEOUT: Duration = Duration::from_secs(2);

impl Signals {
    pub(super) async fn gather(app: &App, data_dir: &Path) -> Self {
        let (health, stats, disk_free) =
            tokio::join!(app.health(), app.cache.stats(), disk_free(data_dir.to_owned()));
        let state = health.part(Health::BACKEND).detail.clone().map_or(Ok(()), Err);
        let recent = app.monitoring.aggregator.recent(super::WINDOW_MINUTES);
        Self {
            requests: recent.requests,
            failures: recent.failures,
            response_time: recent.mean(),
            backend: Some((health.backend, state)),
            crashes: app.engine().and_then(|engine| engine.crash_loop),
            cache: (app.cache.is_enabled() && stats.status != "available").then_some(stats.status),
            disk_free,
        }
    }
}

async fn disk_free(data_dir: PathBuf) -> Option<u64> {
    let asked = spawn_blocking(move || rustix::fs::statvfs(&data_dir));
    let stat = timeout(DISK_TIMEOUT, asked).await.ok()?.ok()?.ok()?;
    // What an ordinary user may still use.
    stat.f_bavail.checked_mul(stat.f_frsize)
}
