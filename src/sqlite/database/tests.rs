//! Upgrades, and what stops them: another server, a full disk, a disk that is read-only, a kill.

use std::{
    fs as std_fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::*;
use crate::eventually::eventually;

const FIRST: &str = "CREATE TABLE number (value INTEGER); INSERT INTO number VALUES (7)";
const SECOND: &str = "ALTER TABLE number RENAME COLUMN value TO amount";

fn database(folder: &Path, migrations: &'static [&'static str]) -> Database {
    let path = folder.join("numbers.db");
    Database { file: SqliteFile { path, log_bytes: 1 << 20, memory_kilobytes: 100 }, migrations }
}

/// A folder with a file of version 1.
async fn old_file() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let connection = database(folder.path(), &[FIRST]).open().await.expect("a new file");
    connection.close().await.expect("closed");
    folder
}

async fn read(database: &Database, sql: &'static str) -> Vec<i64> {
    let mut connection = database.open().await.expect("it opens");
    let found = sqlx::query_scalar(sql).fetch_all(&mut connection).await.expect("numbers");
    connection.close().await.expect("closed");
    found
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std_fs::read_dir(folder).expect("the folder").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_upgrade_keeps_what_is_in_the_file_and_a_backup_of_it() {
    let folder = old_file().await;
    let new = database(folder.path(), &[FIRST, SECOND]);
    assert_eq!(new.look().await.expect("an old file"), 1);
    assert_eq!(read(&new, "SELECT amount FROM number").await, [7]);
    assert_eq!(new.look().await.expect("a new file"), 2);
    assert_eq!(files(folder.path()), ["numbers.db", "numbers.db.backup-v1"]);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std_fs::metadata(folder.path().join("numbers.db.backup-v1")).expect("the backup").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    // The way back.
    std_fs::rename(folder.path().join("numbers.db.backup-v1"), folder.path().join("numbers.db"))
        .expect("restored");
    assert_eq!(read(&database(folder.path(), &[FIRST]), "SELECT value FROM number").await, [7]);
    // Several versions in one go, and then another one: the last backup stays.
    let newest = database(folder.path(), &[FIRST, SECOND, "CREATE TABLE other (value INTEGER)"]);
    assert_eq!(read(&newest, "SELECT amount FROM number").await, [7]);
    assert_eq!(files(folder.path()), ["numbers.db", "numbers.db.backup-v1"]);
    let last = database(folder.path(), &[FIRST, SECOND, "CREATE TABLE other (value INTEGER)", "SELECT 1"]);
    assert_eq!(read(&last, "SELECT amount FROM number").await, [7]);
    assert_eq!(files(folder.path()), ["numbers.db", "numbers.db.backup-v3"]);
}

#[tokio::test]
async fn servers_that_upgrade_one_file_at_once_do_it_once() {
    for _ in 0..10 {
        let folder = old_file().await;
        let new = database(folder.path(), &[FIRST, SECOND]);
        let opened = tokio::join!(new.open(), new.open(), new.open());
        for connection in [opened.0, opened.1, opened.2] {
            connection.expect("it opens").close().await.expect("closed");
        }
        assert_eq!(read(&new, "SELECT amount FROM number").await, [7]);
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_alone() {
    let folder = old_file().await;
    let (old, new) = (database(folder.path(), &[FIRST]), database(folder.path(), &[FIRST, SECOND]));
    let mut running = old.open().await.expect("an old server");
    new.open().await.expect("a new server").close().await.expect("closed");
    // The old server, which is still running, stops writing.
    assert!(begin(&mut running, old.migrations).await.is_err());
    running.close().await.expect("closed");
    for error in [old.open().await.err(), old.look().await.err()] {
        let said = old.explain(&error.expect("it is newer"), "nothing is written").await;
        assert_eq!(
            said,
            "numbers.db was written by a newer version of Simpleton (file version 2; this program reads up to 1): nothing is written. Run the newer version again, or stop the server and move numbers.db, numbers.db-wal and numbers.db-shm away, and put numbers.db.backup-v1 in the place of numbers.db"
        );
    }
    assert_eq!(
        (new.look().await.expect("as it was"), read(&new, "SELECT amount FROM number").await),
        (2, vec![7])
    );
}

#[tokio::test]
async fn what_is_damaged_or_not_ours_is_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("numbers.db");
    let ours = database(folder.path(), &[FIRST, SECOND]);
    let check = async |what: &str, way_back: &str| {
        let before = std_fs::read(&path).expect("the file");
        let error = ours.open().await.expect_err(what);
        let said = ours.explain(&error, "nothing is written").await;
        assert!(said.contains("is damaged, or is not a file of Simpleton's"), "{what}: {said}");
        assert!(said.contains(way_back), "{what}: {said}");
        assert_eq!(std_fs::read(&path).expect("the file"), before, "{what}");
        assert_eq!(files(folder.path()).iter().filter(|name| !name.contains("backup")).count(), 1, "{what}");
    };
    std_fs::write(&path, b"this is not a database".repeat(1_000)).expect("garbage");
    check("garbage", "restore numbers.db from a backup").await;
    std_fs::write(folder.path().join("numbers.db.backup-v1"), "a backup").expect("a backup");
    check("garbage with a backup", "put numbers.db.backup-v1 in the place of numbers.db").await;
    std_fs::remove_file(&path).expect("removed");
    let options = ours.file.options().create_if_missing(true);
    let mut foreign = SqliteConnection::connect_with(&options).await.expect("another program's file");
    sqlx::raw_sql("PRAGMA journal_mode = WAL; CREATE TABLE precious (value TEXT)")
        .execute(&mut foreign)
        .await
        .expect("a table");
    foreign.close().await.expect("closed");
    check("another program's file", "backup-v1").await;
}

/// A statement inside the migration does to it what the disk would.
#[tokio::test]
async fn a_disk_that_is_full_or_read_only_leaves_the_old_file() {
    const FULL: &str = "CREATE TABLE more (value BLOB); PRAGMA max_page_count = 5;
        INSERT INTO more VALUES (zeroblob(100000))";
    const READ_ONLY: &str = "CREATE TABLE more (value BLOB); PRAGMA query_only = ON;
        INSERT INTO more VALUES (1)";
    let migrations: [(&'static [&'static str], &str); 2] = [
        (&[FIRST, SECOND, FULL], "the disk is full"),
        (&[FIRST, SECOND, READ_ONLY], "cannot be read or written"),
    ];
    for (migrations, told) in migrations {
        let folder = old_file().await;
        let new = database(folder.path(), migrations);
        let error = new.open().await.expect_err(told);
        let said = new.explain(&error, "nothing is written").await;
        assert!(said.contains(told), "{said}");
        assert_eq!(new.look().await.expect("the old file"), 1, "{told}");
        // When there is room again, the same file is upgraded.
        let repaired = database(folder.path(), &[FIRST, SECOND]);
        assert_eq!(read(&repaired, "SELECT amount FROM number").await, [7], "{told}");
    }
}

#[tokio::test]
async fn without_a_backup_there_is_no_upgrade() {
    let folder = old_file().await;
    let new = database(folder.path(), &[FIRST, SECOND]);
    let partial = folder.path().join("numbers.db.backup-partial");
    std_fs::create_dir(&partial).expect("in the way of the backup");
    assert!(new.open().await.is_err());
    assert_eq!(new.look().await.expect("the old file"), 1);
    std_fs::remove_dir(&partial).expect("out of the way");
    // What a kill left of a backup is written anew.
    std_fs::write(&partial, "half of it").expect("a file");
    assert_eq!(read(&new, "SELECT amount FROM number").await, [7]);
    assert_eq!(files(folder.path()), ["numbers.db", "numbers.db.backup-v1"]);
}

/// Writes more than the cache of pages holds, so that some of it is on disk, and goes on for hours.
const ENDLESS: &str = "
    WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 50000)
    INSERT INTO number SELECT n FROM up;
    WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 100000000000)
    SELECT count(*) FROM up";

#[tokio::test]
async fn a_kill_in_the_middle_of_an_upgrade_leaves_the_old_file() {
    const FOLDER: &str = "SIMPLETON_TEST_UPGRADE";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let stuck = database(Path::new(&folder), &[FIRST, SECOND, ENDLESS]).open().await;
        panic!("it ended: {:?}", stuck.err());
    }
    let folder = old_file().await;
    let name = std::thread::current().name().expect("the test's name").to_owned();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([&name, "--exact"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let log = folder.path().join("numbers.db-wal");
    let written = || std_fs::metadata(&log).map_or(0, |log| log.len());
    eventually(Duration::from_secs(60), "the child writes", async || written() >= 100_000).await;
    child.kill().expect("killed");
    child.wait().expect("ended");
    let new = database(folder.path(), &[FIRST, SECOND]);
    assert_eq!(new.look().await.expect("the old file"), 1);
    assert_eq!(read(&new, "SELECT amount FROM number").await, [7]);
    assert_eq!(read(&database(folder.path(), &[FIRST, SECOND]), "SELECT count(*) FROM number").await, [1]);
}
