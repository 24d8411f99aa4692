//! Free space on the disk of the models folder, checked before a download begins.

use std::path::Path;

use super::{blob::is_there, partial::bytes_on_disk, plan::RemoteFile};
use crate::{
    error::{Error, Kind, Result},
    files::readable_size,
    types::ModelName,
};

/// Refuses files that do not fit on the disk, if the system reports its free space.
pub(super) fn check<'a>(
    blobs: &Path,
    name: &ModelName,
    files: impl Iterator<Item = &'a RemoteFile>,
) -> Result<()> {
    let missing = files.map(|file| &file.layer).filter(|layer| !is_there(blobs, layer));
    let needed = missing
        .map(|layer| layer.size.saturating_sub(bytes_on_disk(blobs, &layer.digest)))
        .fold(0, u64::saturating_add);
    // Without that figure, the first write that fails reports a full disk.
    let Ok(disk) = rustix::fs::statvfs(blobs) else { return Ok(()) };
    compare(name, needed, disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// No blob is larger: its record would not fit into memory.
const MAX_BYTES: u64 = 1 << 44;

fn compare(name: &ModelName, needed: u64, free: u64) -> Result<()> {
    if needed <= free.min(MAX_BYTES) {
        return Ok(());
    }
    let (needed, free) = (readable_size(needed), readable_size(free));
    Err(Error::new(
        Kind::Setup,
        format!(
            "{name} needs {needed} more, and the disk of the models directory has {free} free; free some space, or set MODELS_DIR or DATA_DIR to a directory on a larger disk."
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_reported_with_both_numbers() {
        let name = "qwen2.5:7b".parse().expect("a name");
        assert!(compare(&name, 4_700_000_000, 4_700_000_000).is_ok());
        let error = compare(&name, 4_700_000_000, 1_200_000_000).expect_err("it is too small");
        let told = "qwen2.5:7b needs 4.7 GB more, and the disk of the models directory has 1.2 GB free;";
        assert!(error.message().starts_with(told), "{error}");
    }
}
