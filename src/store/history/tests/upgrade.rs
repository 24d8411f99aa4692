//! The week of statistics that a program of version 0.1.0 has written, as tests/fixtures/ tells of it.

use super::*;
use crate::types::{EntryType, PerType};

/// 2026-01-08, 10:30 UTC.
const A_WEEK_LATER: u64 = 1_767_868_200;

/// A data folder with a copy of the file.
fn old_folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::create_dir(folder.path().join("state")).expect("a folder");
    let old = Path::new("tests/fixtures/data-folder-0.1.0/state/history.db");
    fs::copy(old, folder.path().join("state/history.db")).expect("a copy");
    folder
}

/// Requests, errors and tokens of the last `minutes`.
async fn totals(server: &Server, minutes: u64) -> (u64, u64, Tokens) {
    let aggregates = server.history.aggregates(minutes).await.aggregates;
    (aggregates.requests(), aggregates.errors(), aggregates.tokens())
}

#[tokio::test]
async fn an_upgrade_keeps_the_week_of_an_older_program() {
    let (folder, clock) = (old_folder(), TestClock::at(A_WEEK_LATER));
    let tokens = |prompt_tokens, completion_tokens| Tokens { prompt_tokens, completion_tokens };
    let server = Server::start(&folder, &clock);
    for round in ["upgraded", "again"] {
        assert_eq!(totals(&server, 60).await, (366, 0, tokens(420, 180)), "{round}");
        assert_eq!(totals(&server, 1440).await, (645, 2, tokens(742, 318)), "{round}");
        assert_eq!(totals(&server, 10_080).await, (2385, 17, tokens(2758, 1182)), "{round}");
        assert_eq!(server.history.standing().trouble, None, "{round}");
    }
    let week = server.history.aggregates(10_080).await.aggregates;
    let by_type = |[embedding, inference, chat, vision]: [u64; 4]| {
        PerType::from([
            (EntryType::Embedding, embedding),
            (EntryType::Inference, inference),
            (EntryType::Chat, chat),
            (EntryType::Vision, vision),
        ])
    };
    assert_eq!(week.cache_hits, by_type([394, 788, 1182, 1576]));
    assert_eq!(week.cache_misses, by_type([788, 1182, 1576, 1970]));
    assert_eq!(week.unauthenticated[&401], 17);
    assert_eq!((week.durations().max(), week.keys[&[1, 2, 3, 4]].requests), (2.0, 2385));
    let failures = (server.history.failures(100, true).await, server.history.failures(100, false).await);
    assert_eq!((failures.0.len(), failures.1.len()), (34, 17));
    // The week goes on, and the backup is the old file.
    server.observe(5);
    server.written().await;
    server.history.stop().await;
    let server = Server::start(&folder, &clock);
    assert_eq!(totals(&server, 10_080).await.0, 2390);
    server.history.stop().await;
    let state = folder.path().join("state");
    fs::rename(state.join("history.db.backup-v1"), state.join("history.db")).expect("restored");
    assert_eq!(totals(&Server::start(&folder, &clock), 10_080).await.0, 2385);
}

/// A new file and an upgraded one differ in nothing but what is in them.
#[tokio::test]
async fn an_upgraded_file_has_the_tables_of_a_new_one() {
    let (old, new) = (old_folder(), TempDir::new().expect("a folder"));
    let mut schemas = Vec::new();
    for folder in [&old, &new] {
        let database = tables::database(folder.path().join("state/history.db"));
        let mut connection = database.open().await.expect("a file");
        let schema = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
        let statements: Vec<String> =
            sqlx::query_scalar(schema).fetch_all(&mut connection).await.expect("the schema");
        let words = |sql: &String| sql.split_whitespace().collect::<Vec<_>>().join(" ");
        schemas.push(statements.iter().map(words).collect::<Vec<_>>());
    }
    assert_eq!(schemas[0], schemas[1]);
}

#[tokio::test]
async fn the_doctor_tells_the_versions_of_the_file() {
    let (folder, clock) = (old_folder(), TestClock::at(A_WEEK_LATER));
    let settings = Settings { metrics_retention_hours: 168, metrics_file: None };
    let describe = async || History::describe(&settings, folder.path()).await;
    assert_eq!(describe().await.expect("an old file"), "file version 1, upgraded at the next start");
    Server::start(&folder, &clock).history.stop().await;
    assert_eq!(describe().await.expect("a new file"), "file version 2");
    let mut newer = tables::database(folder.path().join("state/history.db")).open().await.expect("a file");
    sqlx::raw_sql("PRAGMA user_version = 7").execute(&mut newer).await.expect("another version");
    sqlx::Connection::close(newer).await.expect("closed");
    let error = describe().await.expect_err("a newer file");
    assert!(error.message().contains("file version 7; this program reads up to 2"), "{error}");
    // The server says the same, and writes nothing to it.
    let server = Server::start(&folder, &clock);
    server.observe(3);
    until("it is said", async || {
        server.history.standing().trouble.is_some_and(|trouble| trouble.contains("file version 7"))
    })
    .await;
    assert_eq!(server.requests(60).await, 3);
}
