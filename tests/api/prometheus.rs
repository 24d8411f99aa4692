//! A real Prometheus that scrapes real servers under load: every query of the dashboard and of the
//! rules finds data, and its numbers are those of `/analytics/stats` and of what was sent.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use simpleton::telemetry::labels::Purpose;
use tempfile::TempDir;

use crate::{
    harness::{TestServer, eventually, json as body, start, start_with},
    ollama::scripted::Script,
};

struct Prometheus {
    child: Child,
    url: String,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Prometheus {
    /// With deploy/alerts.yml, scraping these each second.
    async fn start(servers: &[&TestServer]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = Path::new("deploy/alerts.yml").canonicalize().unwrap();
        let targets: Vec<String> = servers.iter().map(|server| server.address.to_string()).collect();
        // JSON is YAML.
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "simpleton", "static_configs": [{"targets": targets}]}],
        });
        std::fs::write(folder.path().join("prometheus.yml"), config.to_string()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--log.level=error");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.expect("prometheus is needed: run `make test`, which installs it");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let prometheus = Self { child, url: format!("http://127.0.0.1:{port}"), client, _folder: folder };
        eventually("Prometheus is ready", async || {
            let ready = prometheus.client.get(format!("{}/-/ready", prometheus.url)).send().await;
            ready.is_ok_and(|ready| ready.status() == 200)
        })
        .await;
        prometheus
    }

    async fn get(&self, path: &str, query: &str) -> Value {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/{path}", self.url)).unwrap();
        if !query.is_empty() {
            url.query_pairs_mut().append_pair("query", query);
        }
        let answer = body(self.client.get(url).send().await.unwrap()).await;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"].clone()
    }

    /// The values that a query finds, those left out that are no number.
    async fn values(&self, query: &str) -> Vec<f64> {
        let data = self.get("query", query).await;
        let values = data["result"].as_array().unwrap().iter();
        let values = values.map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap());
        values.filter(|value: &f64| !value.is_nan()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All queries of the dashboard, with its variables set.
fn dashboard() -> Vec<String> {
    let text = std::fs::read_to_string("deploy/grafana-dashboard.json").unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<String> = targets
        .map(|target| {
            let query = target["expr"].as_str().unwrap().replace("$job", "simpleton");
            query.replace("$instance", ".*").replace("$__rate_interval", "30s")
        })
        .collect();
    assert!(queries.len() > 30 && !queries.iter().any(|query| query.contains('$')), "{queries:#?}");
    queries
}

/// A rule's query without its comparisons, which find nothing while all is well.
fn compared(query: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut tokens = query.split_whitespace();
    while let Some(token) = tokens.next() {
        if [">", ">=", "==", "<"].contains(&token) {
            tokens.next();
        } else {
            words.push(token);
        }
    }
    words.join(" ")
}

fn engine() -> PathBuf {
    let named = std::env::var_os("SIMPLETON_TEST_ENGINE").map(PathBuf::from);
    let usual = std::env::home_dir().unwrap().join(".local/share/simpleton/engine/llama-server");
    let path = named.unwrap_or(usual);
    assert!(path.is_file(), "llama-server is needed: run `make test`, which builds it");
    path
}

fn chat(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}], "max_tokens": 8})
}

/// Counts of the requests sent to the server in front of Ollama.
#[derive(Default)]
struct ImageInput {
    chats: u64,
    /// Chats that were answered by the model and not by the cache.
    made: u64,
    failed: u64,
    unauthenticated: u64,
}

/// A round of everything that can happen.
async fn load(ollama: &TestServer, embedded: &TestServer, round: u64, sent: &mut ImageInput) {
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    for n in 0..4 {
        // The second of each pair is known already.
        let question = chat(&format!("question {round} {n}"));
        for _ in 0..2 {
            assert_eq!(status(ollama.post("/inference/chat", &question)).await, 200);
        }
        (sent.chats, sent.made) = (sent.chats + 2, sent.made + 1);
    }
    let prompt = json!({"prompt": format!("prompt {round}")});
    assert_eq!(status(ollama.post("/inference/generate", &prompt)).await, 502);
    assert_eq!(status(ollama.get(&format!("/nowhere/{round}"))).await, 404);
    assert_eq!(status(ollama.client.post(ollama.url("/inference/chat")).body("{}")).await, 401);
    (sent.failed, sent.unauthenticated) = (sent.failed + 1, sent.unauthenticated + 2);
    assert_eq!(status(embedded.post("/inference/chat", &chat(&format!("What is {round}?")))).await, 200);
}

#[tokio::test]
async fn every_query_finds_data_and_the_numbers_agree() {
    let ollama = start().await;
    ollama.ollama.on("/api/chat", Script::chat(&["Hel", "lo"], Duration::from_millis(2)));
    ollama.ollama.on("/api/generate", Script::error(500, "no"));
    let engine = engine();
    let settings = [
        ("OLLAMA_BASE_URL", ""),
        ("LLAMA_SERVER", engine.to_str().unwrap()),
        ("ENGINE_PARALLEL", "1"),
        ("ENGINE_QUEUE", "0"),
    ];
    let embedded = start_with(&settings).await;
    let prometheus = Prometheus::start(&[&ollama, &embedded]).await;
    let (began, mut sent, mut round) = (Instant::now(), ImageInput::default(), 0);
    // Prometheus takes seconds until it scrapes at all, rates need two scrapes and an increase between
    // them, and a model takes its time to load.
    let mut empty = queries(&prometheus).await;
    while !empty.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "these find nothing: {empty:#?}");
        let round_began = Instant::now();
        load(&ollama, &embedded, round, &mut sent).await;
        fill_the_queue(&embedded, round).await;
        round += 1;
        tokio::time::sleep(Duration::from_millis(1100).saturating_sub(round_began.elapsed())).await;
        empty = without_data(&prometheus, empty).await;
    }
    the_numbers_agree(&prometheus, &ollama, &sent).await;
    ollama.stop().await;
    embedded.stop().await;
}

/// Every query of the dashboard and of the rules.
async fn queries(prometheus: &Prometheus) -> Vec<String> {
    let mut rules = Vec::new();
    eventually("the rules have been evaluated", async || {
        let groups = prometheus.get("rules", "").await["groups"].clone();
        rules = groups[0]["rules"].as_array().unwrap().clone();
        rules.iter().all(|rule| rule["health"] != "unknown")
    })
    .await;
    assert_eq!(rules.len(), 9);
    let mut queries = dashboard();
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        queries.push(compared(rule["query"].as_str().unwrap()));
    }
    queries
}

/// Those that find nothing.
async fn without_data(prometheus: &Prometheus, queries: Vec<String>) -> Vec<String> {
    let mut empty = Vec::new();
    for query in queries {
        if prometheus.values(&query).await.is_empty() {
            empty.push(query);
        }
    }
    empty
}

/// With one slot and no queue, some of those who come together are refused.
async fn fill_the_queue(embedded: &TestServer, round: u64) {
    let requests =
        (0..6).map(|n| embedded.post("/inference/chat", &chat(&format!("Who is {round} {n}?"))).send());
    let statuses = futures_util::future::join_all(requests).await;
    assert!(statuses.iter().any(|reply| reply.as_ref().unwrap().status() == 429), "nobody was refused");
}

async fn the_numbers_agree(prometheus: &Prometheus, server: &TestServer, sent: &ImageInput) {
    let one = async |query: &str| {
        let query = query.replace("{", &format!("{{instance=\"{}\", ", server.address));
        prometheus.values(&query).await.iter().sum::<f64>()
    };
    let chats = sent.chats as f64;
    let answered = "sum(simpleton_requests_total{endpoint=\"/inference/chat\", status=\"200\"})";
    let refused = "sum(simpleton_requests_total{status=~\"401|404\"})";
    let unauthenticated = sent.unauthenticated as f64;
    eventually("Prometheus has seen the last request", async || one(refused).await == unauthenticated).await;
    assert_eq!(one(answered).await, chats);
    let stats = body(server.get("/analytics/stats?since_minutes=5").send().await.unwrap()).await;
    let metrics = &stats["metrics"];
    let failed = sent.failed as f64;
    let chat = &metrics["endpoint_breakdown"]["POST /inference/chat"];
    assert_eq!(chat["requests"].as_f64(), Some(chats), "{chat}");
    let generate = &metrics["endpoint_breakdown"]["POST /inference/generate"];
    assert_eq!((generate["requests"].as_f64(), generate["errors"].as_f64()), (Some(failed), Some(failed)));
    assert_eq!(one("sum(simpleton_requests_total{status=\"502\"})").await, failed);
    assert_eq!(
        metrics["unauthenticated"]["requests"].as_f64(),
        Some(unauthenticated),
        "{}",
        metrics["unauthenticated"]
    );
    let hits = "sum(simpleton_cache_hits_total{cache_type=\"chat\"})";
    assert_eq!(one(hits).await, chats - sent.made as f64);
    assert_eq!(metrics["cache"]["hits"].as_f64(), Some(chats - sent.made as f64));
    for (kind, each) in [("prompt", 7.0), ("completion", 2.0)] {
        let tokens = one(&format!("sum(simpleton_llm_tokens_total{{token_type=\"{kind}\"}})")).await;
        assert_eq!(tokens, sent.made as f64 * each, "{kind}");
        let told = &metrics["llm"]["qwen2.5:7b"][format!("{kind}_tokens")];
        assert_eq!(told.as_f64(), Some(tokens), "{}", metrics["llm"]);
    }
    let count = one("sum(simpleton_request_duration_seconds_count{endpoint=\"/inference/chat\"})").await;
    // Those without a key are in it, too.
    assert_eq!(count, chats + unauthenticated / 2.0);
}

/// Dashboard and rules leave out exactly the routes that `/analytics` counts apart.
#[test]
fn the_services_own_routes_are_left_out_of_panels_and_rules() {
    let rules = std::fs::read_to_string("deploy/alerts.yml").unwrap();
    let texts = [dashboard().join("\n"), rules.replace("\\\"", "\"")];
    let patterns: Vec<&str> = texts
        .iter()
        .flat_map(|text| text.split("endpoint!~\"/(").skip(1))
        .map(|rest| rest.split_once(")\"").unwrap().0)
        .collect();
    assert!(patterns.len() > 10 && patterns.iter().all(|pattern| *pattern == patterns[0]), "{patterns:?}");
    let left_out = |template: &str| {
        patterns[0].split('|').any(|alternative| match alternative.strip_suffix(".*") {
            Some(start) => template[1..].starts_with(start),
            None => template[1..] == *alternative,
        })
    };
    for route in simpleton::http::route_labels() {
        assert_eq!(left_out(route.template), route.purpose == Purpose::Service, "{}", route.template);
    }
    // Each query about requests says which ones.
    for text in &texts {
        for name in [
            "requests_total{",
            "request_duration_seconds",
            "errors_total{",
            "request_bytes",
            "response_bytes",
        ] {
            for part in text.split(&format!("simpleton_{name}")).skip(1) {
                let labels = part.split_once('}').unwrap().0;
                let about_all = ["status=", "error_type=\"busy\""].iter().any(|only| labels.contains(only));
                assert!(labels.contains("endpoint!~") || about_all, "{name} {labels}");
            }
        }
    }
}

/// Name, type and meaning of each metric in docs/operations.md are those of /metrics.
#[tokio::test]
async fn the_page_for_operators_lists_the_metrics_as_they_are() {
    let server = start_with(&[]).await;
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let lines = |start: &str| -> Vec<(String, String)> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(start)?.split_once(' '));
        lines.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
    };
    let real: Vec<String> = lines("# HELP ")
        .into_iter()
        .zip(lines("# TYPE "))
        .map(|((name, help), (_, kind))| format!("{name}, {kind}: {help}"))
        .collect();
    let page = std::fs::read_to_string("docs/operations.md").unwrap();
    let (_, section) = page.split_once("## Metrics").unwrap();
    let (section, _) = section.split_once("## Alerts").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let told: Vec<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            format!("{}, {}: {}", cells[1].trim_matches('`'), cells[2], cells[4])
        })
        .collect();
    assert_eq!(told, real);
}
