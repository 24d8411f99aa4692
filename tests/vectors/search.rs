//! The three modes, their scores, and the bounds of a search.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use simpleton::vectors::{Chunk, Filter, Found, Metadata, NewDocument, Query, QueryVector, Search};

use crate::harness::{collection, document, hits, id, model, near, object, query, texts, with_each_store};

fn words(text: &str) -> Search {
    Search::Keyword(text.to_owned())
}

fn scores(hits: &[simpleton::vectors::Hit]) -> Vec<f32> {
    hits.iter().map(|hit| (hit.score * 100.0).round() / 100.0).collect()
}

#[tokio::test]
async fn vectors_are_ranked_by_their_cosine() {
    with_each_store(async |store| {
        let chunks: [(&str, &[f32]); 4] =
            [("far", &[-1.0, 0.0]), ("near", &[5.0, 0.0]), ("half", &[0.3, 0.4]), ("none", &[0.0, 0.0])];
        store.put(&collection("docs"), &model(2), document(Some("a"), &chunks)).await.unwrap();
        let found = hits(store, "docs", query(near(&[0.1, 0.0]))).await;
        assert_eq!(texts(&found)[..2], ["near", "half"]);
        assert_eq!(scores(&found), [1.0, 0.6, 0.0, 0.0]);
        let threshold = Query { score_threshold: Some(0.5), ..query(near(&[1.0, 0.0])) };
        assert_eq!(texts(&hits(store, "docs", threshold).await), ["near", "half"]);
        let one = Query { top_k: 1, ..query(near(&[1.0, 0.0])) };
        assert_eq!(texts(&hits(store, "docs", one).await), ["near"]);
        // A vector of another model, or of another length.
        let other = Search::Vector(QueryVector { model: "large".to_owned(), values: vec![1.0, 0.0] });
        for search in [
            other,
            near(&[1.0, 0.0, 0.0]),
            Search::Hybrid(QueryVector { model: "small".to_owned(), values: vec![] }, String::new()),
        ] {
            let found = store.search(&collection("docs"), query(search)).await.unwrap();
            assert_eq!(found, Found::OtherModel(model(2)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_text_is_words_and_no_query_language() {
    with_each_store(async |store| {
        let chunks: [(&str, &[f32]); 5] = [
            ("The café serves crème brûlée.", &[1.0, 0.0]),
            ("A content:filter NEAR the AND gate", &[1.0, 0.0]),
            ("Größe und Maß, 2024-05-01", &[1.0, 0.0]),
            ("gate gate gate", &[1.0, 0.0]),
            ("東京 タワー", &[1.0, 0.0]),
        ];
        store.put(&collection("docs"), &model(2), document(Some("a"), &chunks)).await.unwrap();
        // The same words elsewhere must not be found here.
        let other = document(Some("b"), &[("café gate g1 g2", &[1.0, 0.0])]);
        store.put(&collection("other"), &model(2), other).await.unwrap();
        for (text, expected) in [
            ("CAFE", vec![0]),
            ("creme BRULEE nothing", vec![0]),
            ("grosse GROSSE groesse", vec![]),
            ("GRÖSSE größe", vec![2]),
            ("\"café", vec![0]),
            ("caf*", vec![]),
            ("NEAR(cafe gate, 1)", vec![0, 1, 3]),
            ("content : filter", vec![1]),
            ("{scope} : g1", vec![]),
            ("g1", vec![]),
            ("-gate", vec![1, 3]),
            ("NOT gate", vec![1, 3]),
            ("gate) OR (cafe", vec![0, 1, 3]),
            ("^cafe + 'x' ;--", vec![0]),
            ("2024-05-01", vec![2]),
            ("東京", vec![4]),
            ("", vec![]),
            ("\"", vec![]),
            ("*-()^:{}", vec![]),
            ("—", vec![]),
            ("\0", vec![]),
        ] {
            let mut found: Vec<u64> = hits(store, "docs", query(words(text)))
                .await
                .iter()
                .map(|hit| hit.metadata["chunk_index"].as_u64().unwrap())
                .collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{text:?}");
        }
        let many: String = (0..2_000).map(|at| format!("word{at} ")).collect();
        assert!(hits(store, "docs", query(words(&many))).await.is_empty());
        // The best hit has 1, and the others a share of it.
        let found = hits(store, "docs", query(words("gate"))).await;
        assert_eq!(texts(&found)[0], "gate gate gate");
        assert!((found[0].score - 1.0).abs() < 1e-6 && (0.0..1.0).contains(&found[1].score), "{found:?}");
    })
    .await;
}

#[tokio::test]
async fn stop_words_of_a_question_are_not_searched_for() {
    with_each_store(async |store| {
        let chunks: [(&str, &[f32]); 3] = [
            ("How do I do what I do? The how and the what of it.", &[0.0, 1.0]),
            ("Close the gate at dusk.", &[1.0, 0.0]),
            ("An in-memory store.", &[0.7, 0.7]),
        ];
        store.put(&collection("docs"), &model(2), document(Some("a"), &chunks)).await.unwrap();
        for (text, expected) in [
            ("How do I close the gate?", chunks[1].0),
            ("What's in-memory, and why isn't it?", chunks[2].0),
            // A question of nothing else keeps them.
            ("how to do what", chunks[0].0),
        ] {
            assert_eq!(texts(&hits(store, "docs", query(words(text))).await), [expected], "{text}");
        }
        let vector = QueryVector { model: "small".to_owned(), values: vec![1.0, 0.0] };
        let search = Search::Hybrid(vector, "How do I close the gate?".to_owned());
        let found = hits(store, "docs", query(search)).await;
        assert_eq!((texts(&found)[0], scores(&found)[0]), (chunks[1].0, 1.0));
    })
    .await;
}

#[tokio::test]
async fn words_that_are_everywhere_leave_the_order_to_the_others() {
    with_each_store(async |store| {
        let mut chunks: Vec<(&str, &[f32])> = vec![("common", &[1.0, 0.0]); 10_100];
        chunks[5_000].0 = "common and rare";
        store.put(&collection("docs"), &model(2), document(Some("a"), &chunks)).await.unwrap();
        for text in ["rare", "common rare", "Rare, COMMON!"] {
            assert_eq!(texts(&hits(store, "docs", query(words(text))).await)[0], "common and rare", "{text}");
        }
        assert_eq!(hits(store, "docs", query(words("common"))).await.len(), 10);
    })
    .await;
}

#[tokio::test]
async fn hybrid_ranks_first_what_both_find() {
    with_each_store(async |store| {
        let chunks: [(&str, &[f32]); 4] = [
            ("apples only", &[1.0, 0.0]),
            ("pears", &[0.9, 0.1]),
            ("apples and pears", &[0.8, 0.3]),
            ("plums", &[0.0, 1.0]),
        ];
        store.put(&collection("docs"), &model(2), document(Some("a"), &chunks)).await.unwrap();
        let vector = QueryVector { model: "small".to_owned(), values: vec![0.9, 0.1] };
        let search = Search::Hybrid(vector, "pears".to_owned());
        let found = hits(store, "docs", query(search.clone())).await;
        assert_eq!(texts(&found)[0], "pears");
        assert_eq!(scores(&found)[0], 1.0);
        assert_eq!(found.len(), 4);
        let filter = Filter::parse(&serde_json::json!({"chunk_index": {"gte": 2}})).unwrap();
        let found = hits(store, "docs", Query { filter: Some(filter), ..query(search) }).await;
        assert_eq!(texts(&found), ["apples and pears", "plums"]);
    })
    .await;
}

#[tokio::test]
async fn diversity_leaves_out_near_equal_hits() {
    with_each_store(async |store| {
        let chunks: [(&str, &[f32]); 3] =
            [("one word", &[1.0, 0.0]), ("again word", &[1.0, 0.01]), ("other word", &[0.7, 0.7])];
        store.put(&collection("docs"), &model(2), document(Some("a"), &chunks)).await.unwrap();
        for search in [near(&[1.0, 0.001]), words("word")] {
            let plain = Query { top_k: 2, ..query(search) };
            let diverse = Query { diversity: 0.7, ..plain.clone() };
            let (plain, diverse) = (hits(store, "docs", plain).await, hits(store, "docs", diverse).await);
            assert_eq!(texts(&plain), ["one word", "again word"]);
            assert_eq!(texts(&diverse), ["one word", "other word"]);
        }
    })
    .await;
}

#[tokio::test]
async fn bounds_of_a_search_are_kept() {
    with_each_store(async |store| {
        store.put(&collection("docs"), &model(2), document(Some("a"), &[("a", &[1.0, 0.0])])).await.unwrap();
        let plain = || query(near(&[1.0, 0.0]));
        for (query, pointer) in [
            (Query { top_k: 0, ..plain() }, "/top_k"),
            (Query { top_k: 1001, ..plain() }, "/top_k"),
            (Query { top_k: 1_000_000_000, ..plain() }, "/top_k"),
            (Query { top_k: usize::MAX, ..plain() }, "/top_k"),
            (Query { score_threshold: Some(1.5), ..plain() }, "/score_threshold"),
            (Query { score_threshold: Some(f32::NAN), ..plain() }, "/score_threshold"),
            (Query { diversity: -0.1, ..plain() }, "/diversity"),
        ] {
            let error = store.search(&collection("docs"), query).await.unwrap_err();
            assert_eq!(error.field_errors()[0].pointer, pointer);
        }
        assert_eq!(hits(store, "docs", Query { top_k: 1000, diversity: 1.0, ..plain() }).await.len(), 1);
    })
    .await;
}

/// Beyond the size that a store compares one by one.
#[tokio::test]
async fn a_large_collection_is_searched_as_well_as_a_small_one() {
    const DIMENSION: usize = 1024;
    let mut random = StdRng::seed_from_u64(7);
    let mut vector = |middle: &[f32]| -> Vec<f32> {
        middle.iter().map(|value| value + random.random::<f32>() - 0.5).collect()
    };
    let middles: Vec<Vec<f32>> = (0..40).map(|_| vector(&[0.0; DIMENSION])).collect();
    let vectors: Vec<Vec<f32>> = (0..3_000).map(|at| vector(&middles[at % 40])).collect();
    let queries: Vec<Vec<f32>> = (0..8).map(|at| vector(&middles[at])).collect();
    with_each_store(async |store| {
        for (at, part) in vectors.chunks(500).enumerate() {
            let chunks = part.iter().zip(0_u64..).map(|(vector, position)| Chunk {
                char_start: position,
                char_end: position + 1,
                content: "x".to_owned(),
                metadata: object(serde_json::json!({"tenth": position % 10})),
                vector: vector.clone(),
            });
            let chunks: Vec<Chunk> = chunks.collect();
            let new = NewDocument {
                id: Some(id(&at.to_string())),
                title: None,
                metadata: Metadata::new(),
                content: "x".repeat(500),
                chunks,
            };
            store.put(&collection("docs"), &model(DIMENSION), new).await.unwrap();
        }
        let cosine = |left: &[f32], right: &[f32]| -> f32 {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
        };
        let (mut found, mut wanted) = (0, 0);
        for query_vector in &queries {
            for filter in [None, Some(serde_json::json!({"tenth": 3}))] {
                let mut exact: Vec<(usize, f32)> = vectors
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| filter.is_none() || at % 500 % 10 == 3)
                    .map(|(at, vector)| (at, cosine(query_vector, vector)))
                    .collect();
                exact.sort_by(|left, right| right.1.total_cmp(&left.1));
                let filter = filter.map(|filter| Filter::parse(&filter).unwrap());
                let searched = hits(store, "docs", Query { filter, ..query(near(query_vector)) }).await;
                assert_eq!(searched.len(), 10);
                assert!(searched.windows(2).all(|pair| pair[0].score >= pair[1].score));
                for (at, score) in &exact[..10] {
                    let chunk = format!("{}#{}", at / 500, at % 500);
                    wanted += 1;
                    let hit = searched.iter().find(|hit| hit.chunk_id == chunk);
                    found += usize::from(hit.is_some_and(|hit| (hit.score - score).abs() < 1e-4));
                }
            }
        }
        assert!(found * 100 >= wanted * 98, "{found} of {wanted}");
    })
    .await;
}
