//! Bad days: the file is damaged, the disk is full, the file cannot be opened.

use super::*;

fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("state").join("history.db")
}

fn remove_logs(folder: &TempDir) {
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(folder.path().join("state").join(format!("history.db{suffix}")));
    }
}

#[tokio::test]
async fn a_damaged_file_is_kept_and_the_service_goes_on_until_it_is_restored() {
    let (folder, clock) = (TempDir::new().expect("a folder"), TestClock::at(MORNING));
    let server = Server::start(&folder, &clock);
    for _ in 0..300 {
        server.observe(3);
        clock.forward(1);
    }
    server.written().await;
    server.history.stop().await;
    let good = fs::read(path(&folder)).expect("the file");
    for (what, bytes) in [
        ("garbage", b"this is not a database".repeat(1_000)),
        ("a few bytes", b"SQLite".to_vec()),
        ("only the header", good[..200].to_vec()),
        ("half the file", good[..good.len() / 2].to_vec()),
        ("zeros in the schema", [&good[..100], &[0; 8_000], &good[8_100..]].concat()),
    ] {
        remove_logs(&folder);
        fs::write(path(&folder), &bytes).expect(what);
        let server = Server::start(&folder, &clock);
        server.observe(4);
        // Half a file may only show its damage when it is read.
        assert!(server.requests(10_080).await >= 4, "{what}");
        until(what, async || {
            server.history.standing().trouble.is_some_and(|trouble| {
                trouble.contains("is damaged") && trouble.contains("Stop the server and restore history.db")
            })
        })
        .await;
        let errors = server.history.standing().errors;
        until("it has been tried again", async || server.history.standing().errors > errors).await;
        assert!(server.history.standing().trouble.is_some(), "{what}: it stays damaged");
        assert_eq!(server.requests(10_080).await, 4, "{what}: from memory");
        let names = fs::read_dir(folder.path().join("state")).expect("the folder").flatten();
        let names: Vec<String> = names.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
        assert!(names.iter().all(|name| !name.contains("damaged")), "{what}: {names:?}");
        if what != "half the file" {
            assert_eq!(fs::read(path(&folder)).expect("the file"), bytes, "{what}");
        }
        // The operator restores a backup.
        remove_logs(&folder);
        let backup = folder.path().join("backup.db");
        fs::write(&backup, &good).expect("a backup");
        fs::rename(&backup, path(&folder)).expect("in its place");
        until("it recovers", async || server.history.standing().trouble.is_none()).await;
        assert_eq!(server.requests(10_080).await, 904, "{what}: the backup's and those in memory");
        server.history.stop().await;
        let server = Server::start(&folder, &clock);
        assert_eq!(server.requests(10_080).await, 904, "{what}");
        // Else it would close the file in the middle of the next round.
        server.history.stop().await;
    }
}

/// SQLite does not see what is wrong in a row.
#[tokio::test]
async fn a_damaged_row_costs_no_other_row() {
    let (folder, clock) = (TempDir::new().expect("a folder"), TestClock::at(MORNING));
    let mut connection = minutes(&folder, &clock, 120).await;
    sqlx::query("UPDATE minute SET aggregates = x'ff' WHERE start = (SELECT min(start) FROM minute)")
        .execute(&mut connection)
        .await
        .expect("damage");
    for _ in 0..2 {
        assert_eq!(sum(&mut connection, Span::fine(clock.now(), 1000)).await, 119);
        tables::fold(&mut connection, clock.now()).await.expect("folded");
        assert_eq!(sum(&mut connection, Span::coarse(clock.now(), 2000)).await, 119);
    }
}

/// A limit on pages fails as a full disk does (SQLITE_FULL). It belongs to the connection, and after
/// a failure the writer makes a new one: then there is room again.
#[tokio::test]
async fn a_full_disk_is_said_and_recovers_without_a_loss() {
    let (folder, clock) = (TempDir::new().expect("a folder"), TestClock::at(MORNING));
    fs::create_dir(folder.path().join("state")).expect("a folder");
    let file = tables::database(path(&folder));
    let mut connection = file.open().await.expect("a file");
    sqlx::query("PRAGMA max_page_count = 14").fetch_one(&mut connection).await.expect("a limit");
    let aggregator = clock.aggregator();
    let history = History::over(file, Some(connection), RETENTION_HOURS, Arc::clone(&aggregator));
    let server = Server { clock: clock.clone(), aggregator, history };
    for minute in 0..400 {
        server.observe(minute % 50);
        clock.forward(1);
    }
    let total: u64 = (0..400).map(|minute| minute % 50).sum();
    assert_eq!(server.requests(1000).await, total);
    until("it is said", async || {
        server.history.standing().trouble.is_some_and(|trouble| trouble.contains("the disk is full"))
    })
    .await;
    assert_eq!(server.requests(1000).await, total, "from memory");
    until("it recovers", async || server.history.standing().trouble.is_none()).await;
    server.observe(1);
    server.history.stop().await;
    assert_eq!(Server::start(&folder, &clock).requests(1000).await, total + 1);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_leaves_memory() {
    let (folder, clock) = (TempDir::new().expect("a folder"), TestClock::at(MORNING));
    // A folder in the file's place can neither be opened nor be taken for a damaged file.
    fs::create_dir_all(path(&folder)).expect("a folder");
    let server = Server::start(&folder, &clock);
    server.observe(3);
    server.aggregator.request_ended(&request(503, Duration::from_secs(1), clock.now()));
    until("it is said", async || server.history.standing().trouble.is_some()).await;
    assert_eq!(server.requests(5).await, 4);
    assert_eq!(server.history.failures(10, true).await.len(), 1);
    fs::remove_dir(path(&folder)).expect("out of the way");
    until("it recovers", async || server.history.standing().trouble.is_none()).await;
    server.history.stop().await;
    let server = Server::start(&folder, &clock);
    assert_eq!((server.requests(5).await, server.history.failures(10, true).await.len()), (4, 1));
}
