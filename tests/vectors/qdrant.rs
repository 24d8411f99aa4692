//! Bad days of Qdrant: stopped, restarted, slow, with another key, at another port.

use std::time::{Duration, Instant};

use serde_json::json;
use simpleton::{
    error::{Error, Kind},
    types::Secret,
    vectors::{Embedding, NewDocument, Qdrant, Search, VectorStore, content_hash},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    eventually::eventually,
    harness::{collection, document, hits, id, model, near, put, query, texts},
    scripted_qdrant::{self as scripted, Halt},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn open(server: &scripted::Qdrant) -> Qdrant {
    Qdrant::new(&server.url(), None).unwrap()
}

fn words(text: &str) -> Search {
    Search::Keyword(text.to_owned())
}

/// A version of the document `a`, of two chunks.
fn version(word: &str) -> NewDocument {
    let (one, two) = (format!("{word} one. "), format!("{word} two."));
    document(Some("a"), &[(&one, &[1.0, 0.0]), (&two, &[1.0, 0.1])])
}

/// The version that is there, which has to be there wholly: found by its vectors and words, listed, and read.
async fn whole(store: &Qdrant) -> String {
    let found = hits(store, "docs", query(near(&[1.0, 0.0]))).await;
    let content: String = texts(&found).concat();
    assert_eq!(content, store.content(&id("a")).await.unwrap());
    let by_words = hits(store, "docs", query(words("one two"))).await;
    assert_eq!(by_words.len(), found.len(), "{by_words:?}");
    let kept = store.document(&id("a")).await.unwrap();
    assert_eq!((kept.content_hash.as_str(), kept.chunks_count), (content_hash(&content).as_str(), 2));
    let listed = store.collection(&collection("docs")).await.unwrap();
    assert_eq!((listed.documents_count, listed.chunks_count), (1, 2));
    content.split(' ').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qdrant_stopped_at_any_request_of_a_put_leaves_the_old_version_or_the_new_one() {
    let mut server = scripted::Qdrant::start(None).await;
    let store = open(&server);
    store.put(&collection("docs"), &model(2), version("old")).await.unwrap();
    let size = server.size();
    // As many requests as a put takes that has to look after a failed one.
    server.halt(None);
    open(&server).put(&collection("docs"), &model(2), version("old")).await.unwrap();
    let requests = server.requests();
    assert_eq!(server.size(), size);
    let mut outcomes = (0, 0);
    for at in 0..requests {
        for is_applied in [false, true] {
            server.halt(Some(Halt { at, is_applied }));
            let store = open(&server);
            let docs = collection("docs");
            let embedding = model(2);
            let putting = store.put(&docs, &embedding, version("new"));
            tokio::pin!(putting);
            tokio::select! {
                outcome = &mut putting => panic!("{outcome:?} at {at}"),
                () = server.has_halted() => server.stop(),
            }
            // What the commit has replaced may still be there when it is told to have succeeded.
            let is_told = putting.await.inspect_err(assert_unavailable).is_ok();
            server.restart().await;
            let found = whole(&open(&server)).await;
            assert!(!is_told || found == "new", "{found} at {at}");
            if found == "new" {
                outcomes.1 += 1
            } else {
                outcomes.0 += 1
            }
            // The next write leaves nothing of it.
            open(&server).put(&docs, &model(2), version("old")).await.unwrap();
            assert_eq!((whole(&open(&server)).await.as_str(), server.size()), ("old", size), "at {at}");
        }
    }
    assert!(outcomes.0 > 5 && outcomes.1 > 2, "{outcomes:?}");
}

fn assert_unavailable(error: &Error) {
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    assert!(error.message().starts_with("Qdrant cannot be reached"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qdrant_stopped_in_the_middle_of_a_first_put_and_of_a_search_is_unavailable_until_it_is_back() {
    let mut server = scripted::Qdrant::start(None).await;
    let store = open(&server);
    let docs = collection("docs");
    // Neither 404 nor an empty list, although nothing has been stored yet.
    server.stop();
    assert_unavailable(&store.collections().await.unwrap_err());
    assert_unavailable(&store.search(&docs, query(near(&[1.0, 0.0]))).await.unwrap_err());
    assert_unavailable(&store.document(&id("a")).await.unwrap_err());
    server.restart().await;
    eventually(PATIENCE, "it is asked again", async || store.collections().await.is_ok()).await;
    assert_eq!(store.search(&docs, query(near(&[1.0, 0.0]))).await.unwrap_err().kind(), Kind::NotFound);
    put(&store, "a", json!({})).await;
    server.halt(Some(Halt { at: 1, is_applied: false }));
    let searching = store.search(&docs, query(near(&[1.0, 0.0])));
    tokio::pin!(searching);
    tokio::select! {
        outcome = &mut searching => panic!("{outcome:?}"),
        () = server.has_halted() => server.stop(),
    }
    assert_unavailable(&searching.await.unwrap_err());
    for error in [
        store.stats().await.err(),
        store.documents(&docs, None, 10).await.err(),
        store.content(&id("a")).await.err(),
        store.delete_document(&id("a")).await.err(),
        store.delete_collection(&docs).await.err(),
        store.begin_reindex(&docs, &model(3)).await.err(),
        store.put(&docs, &model(2), version("new")).await.err(),
        store.previous(&docs, None, "a").await.err(),
    ] {
        assert_unavailable(&error.unwrap());
    }
    server.restart().await;
    eventually(PATIENCE, "it is asked again", async || store.stats().await.is_ok()).await;
    assert_eq!(texts(&hits(&store, "docs", query(near(&[1.0, 0.0]))).await), ["a"]);
    store.put(&docs, &model(2), version("new")).await.unwrap();
    assert_eq!(whole(&store).await, "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_qdrant_that_does_not_answer_costs_one_wait() {
    let server = scripted::Qdrant::start(None).await;
    let store = open(&server);
    put(&store, "a", json!({})).await;
    server.halt(Some(Halt { at: 0, is_applied: false }));
    let error = store.collections().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().starts_with("Qdrant did not respond in time"), "{}", error.chain());
    let asked = Instant::now();
    assert_eq!(store.collections().await.unwrap_err().kind(), Kind::Unavailable);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    server.halt(None);
    eventually(PATIENCE, "it is asked again", async || store.collections().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_told_and_never_shown() {
    let server = scripted::Qdrant::start(Some("right-key")).await;
    let right = Secret::new("right-key");
    let wrong = Secret::new("wrong-key");
    assert_eq!(Qdrant::check(&server.url(), Some(&right)).await.unwrap(), server.url());
    put(&Qdrant::new(&server.url(), Some(&right)).unwrap(), "a", json!({})).await;
    for key in [None, Some(&wrong)] {
        let error = Qdrant::check(&server.url(), key).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Setup);
        let expected =
            format!("Qdrant rejected the API key ({}); set QDRANT_API_KEY to its key.", server.url());
        assert_eq!(error.message(), expected);
        let store = Qdrant::new(&server.url(), key).unwrap();
        for error in [store.collections().await.err(), store.document(&id("a")).await.err()] {
            let error = error.unwrap();
            assert_eq!(error.kind(), Kind::Unavailable);
            assert!(error.message().starts_with("Qdrant rejected the API key"), "{}", error.message());
            assert!(!error.chain().contains("wrong-key"), "{}", error.chain());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_cannot_work_is_told_with_the_remedy() {
    let mut server = scripted::Qdrant::start(None).await;
    let with_tls = server.url().replace("http://", "https://");
    let told = async |url: &str| Qdrant::check(url, None).await.unwrap_err().message().to_owned();
    let message = told(&with_tls).await;
    assert!(message.starts_with("The TLS connection to Qdrant failed"), "{message}");
    let url = server.url();
    server.stop();
    let message = told(&url).await;
    let expected =
        "start it, or correct QDRANT_URL: the port is that of its gRPC API, 6334 unless it was changed.";
    assert_eq!(message, format!("Qdrant cannot be reached ({url}); {expected}"));
    // A REST API.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let message = told(&url).await;
    assert!(message.contains("gRPC API, 6334 unless it was changed"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_larger_than_a_message_are_stored_in_parts() {
    let server = scripted::Qdrant::start(None).await;
    let store = open(&server);
    let content = "größer als eine Nachricht, ".repeat(400_000);
    let new = NewDocument { content: content.clone(), ..version("large") };
    store.put(&collection("docs"), &model(2), new).await.unwrap();
    assert!(store.content(&id("a")).await.unwrap() == content);
    let (points, _) = server.size();
    assert!(points > 10, "{points}");
    store.put(&collection("docs"), &model(2), version("small")).await.unwrap();
    assert_eq!(whole(&store).await, "small");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_what_was_deleted() {
    let server = scripted::Qdrant::start(None).await;
    let store = open(&server);
    let docs = collection("docs");
    put(&store, "a", json!({})).await;
    let size = server.size();
    put(&store, "b", json!({})).await;
    let reindex = store.begin_reindex(&docs, &model(3)).await.unwrap();
    store.delete_document(&id("b")).await.unwrap();
    store.abandon_reindex(&reindex).await.unwrap();
    assert_eq!(server.size(), size);
    store.delete_collection(&docs).await.unwrap();
    assert_eq!(server.size(), (0, 1));
}

/// Moves the collection `docs` to the model `large`.
async fn move_over(store: &Qdrant) -> Result<(), Error> {
    let large = Embedding { model: "large".to_owned(), dimension: 3 };
    let reindex = store.begin_reindex(&collection("docs"), &large).await?;
    for pending in store.pending(&reindex, 10).await? {
        let content = store.content(&pending.id).await?;
        let chunks =
            document(Some("a"), &[(&content[..9], &[1.0, 0.0, 0.0]), (&content[9..], &[1.0, 0.0, 0.1])]);
        store.put_reindexed(&reindex, &pending.id, &pending.content_hash, chunks.chunks).await?;
    }
    assert_eq!(store.finish_reindex(&reindex).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qdrant_stopped_at_any_request_of_a_reindex_leaves_one_that_goes_on() {
    let mut server = scripted::Qdrant::start(None).await;
    let docs = collection("docs");
    let begin_anew = async |server: &scripted::Qdrant| {
        let store = open(server);
        let _ = store.delete_collection(&docs).await;
        store.put(&docs, &model(2), version("old")).await.unwrap();
        server.halt(None);
    };
    begin_anew(&server).await;
    move_over(&open(&server)).await.unwrap();
    let (requests, size) = (server.requests(), server.size());
    for at in 0..requests {
        begin_anew(&server).await;
        server.halt(Some(Halt { at, is_applied: at % 2 == 0 }));
        let store = open(&server);
        let moving = move_over(&store);
        tokio::pin!(moving);
        tokio::select! {
            outcome = &mut moving => panic!("{outcome:?} at {at}"),
            () = server.has_halted() => server.stop(),
        }
        let is_told = moving.await.inspect_err(assert_unavailable).is_ok();
        server.restart().await;
        let store = open(&server);
        let found = hits(&store, "docs", query(words("one two"))).await;
        assert_eq!(texts(&found).concat(), "old one. old two.", "at {at}");
        let is_moved = store.collection(&docs).await.unwrap().embedding.model == "large";
        assert!(is_moved || !is_told, "at {at}");
        move_over(&store).await.unwrap();
        let moved = store.collection(&docs).await.unwrap();
        assert_eq!((moved.embedding.model.as_str(), moved.chunks_count), ("large", 2), "at {at}");
        assert_eq!(server.size(), size, "at {at}");
    }
}
