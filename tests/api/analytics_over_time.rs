//! Figures over time, and as they come.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    analytics::{ask, load, stats},
    harness::{KEY, eventually, start, start_uncached},
};

#[tokio::test]
async fn a_series_ends_with_what_has_just_happened() {
    let server = start_uncached().await;
    load(&server).await;
    let last = async |metric: &str| {
        let series =
            ask(&server, &format!("/analytics/series?metric={metric}&since_minutes=120&step=120")).await;
        assert!(series["points"].as_array().unwrap().len() <= 2, "{series}");
        series["points"].as_array().unwrap().iter().filter_map(|point| point["value"].as_f64()).next_back()
    };
    assert_eq!(last("completion_tokens").await, Some(16.0));
    assert_eq!(last("cache_hit_rate").await, None);
    assert!(last("p95_response_time").await.unwrap() > 0.0);
    let series = ask(&server, "/analytics/series").await;
    assert_eq!((&series["metric"], &series["step"]), (&json!("requests"), &json!(1)));
    assert!(series["points"].as_array().unwrap().len() >= 60);
}

#[tokio::test]
async fn the_live_view_tells_each_second_and_is_no_slow_request() {
    let server = start_uncached().await;
    let mut live = server.get("/analytics/live").header("x-api-key", KEY).send().await.unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    load(&server).await;
    let mut events = 0;
    loop {
        let chunk = live.chunk().await.unwrap().unwrap();
        let text = std::str::from_utf8(&chunk).unwrap();
        let event: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap().trim()).unwrap();
        events += 1;
        let rate = |name: &str| event[name].as_f64().unwrap();
        if rate("requests_per_second") == 0.0 {
            assert!(event["p99_response_time"].is_null() && event["p50_time_to_first_token"].is_null());
        }
        if rate("requests_per_second") == 0.8 {
            assert_eq!((rate("prompt_tokens_per_second"), rate("error_rate")), (4.2, 0.25));
            assert_eq!(event["requests_in_progress"], 0, "the view itself is none");
            assert!(rate("avg_response_time") > 0.0);
            assert_eq!(rate("errors_per_second"), 0.2);
            let ordered = ["p50_response_time", "p95_response_time", "p99_response_time"].map(rate);
            assert!(ordered.is_sorted() && ordered[0] > 0.0, "{event}");
            assert!(rate("p95_time_to_first_token") >= rate("p50_time_to_first_token"), "{event}");
            break;
        }
        assert!(events < 20, "{event}");
    }
    drop(live);
    let series = "simpleton_requests_total{method=\"GET\",endpoint=\"/analytics/live\",status=\"200\"}";
    eventually("it is counted", async || server.metric(series).await == 1.0).await;
    let stats = stats(&server).await;
    let live = &stats["metrics"]["service"]["endpoint_breakdown"]["GET /analytics/live"];
    assert_eq!((&live["errors"], &stats["metrics"]["client_closed"]), (&json!(0), &json!(0)));
    assert!(live["max_time"].as_f64().unwrap() < 1.0, "the time to its beginning");
    // A view that is open does not hold up the end of the server.
    let mut live = server.get("/analytics/live").header("x-api-key", KEY).send().await.unwrap();
    live.chunk().await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.stop())
        .await
        .expect("it stops before its patience ends");
}

/// They never end, and would take all connections.
#[tokio::test]
async fn live_views_are_limited() {
    let server = start().await;
    let view = async || server.get("/analytics/live").header("x-api-key", KEY).send().await.unwrap();
    let mut open = Vec::new();
    let refused = loop {
        let reply = view().await;
        if reply.status() != 200 {
            break reply;
        }
        open.push(reply);
        assert!(open.len() < 1000, "there is no limit");
    };
    assert_eq!((open.len(), refused.status().as_u16()), (32, 429));
    assert!(refused.headers().contains_key("retry-after"));
    drop(open);
    eventually("there is room again", async || view().await.status() == 200).await;
}

#[tokio::test]
async fn a_rate_over_time_is_a_share() {
    let server = start().await;
    load(&server).await;
    // One wrong request of eight; three chats and a text were known, the other two were not.
    for (metric, share) in [("error_rate", 1.0 / 8.0), ("cache_hit_rate", 5.0 / 7.0)] {
        let path = format!("/analytics/series?metric={metric}&since_minutes=120&step=120");
        let series = ask(&server, &path).await;
        let mut values =
            series["points"].as_array().unwrap().iter().filter_map(|point| point["value"].as_f64());
        assert_eq!(values.next_back(), Some(share), "{metric}: {series}");
    }
}
