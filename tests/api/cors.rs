//! Tests of CORS: the requests browsers send before a page of another origin may use the API.

use reqwest::{Method, Response};

use crate::harness::{KEY, TestServer, start, start_with};

const ORIGIN: &str = "https://app.example.com";

async fn preflight(server: &TestServer, origin: &str) -> Response {
    preflight_of(server, origin, "/inference/chat", "content-type,x-api-key").await
}

async fn preflight_of(server: &TestServer, origin: &str, path: &str, headers: &str) -> Response {
    let request = server.client.request(Method::OPTIONS, server.url(path)).header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    request.header("access-control-request-headers", headers).send().await.unwrap()
}

fn allowed(response: &Response) -> Option<&str> {
    Some(response.headers().get("access-control-allow-origin")?.to_str().unwrap())
}

#[tokio::test]
async fn no_origin_is_allowed_unless_it_is_named() {
    let server = start().await;
    let answer = preflight(&server, "https://app.example.com").await;
    assert_eq!((answer.status().as_u16(), allowed(&answer)), (401, None));
    let server = start_with(&[("CORS_ORIGINS", "https://App.example.com:443, http://localhost:3000")]).await;
    for (origin, answered) in [
        ("https://app.example.com", Some("https://app.example.com")),
        ("http://localhost:3000", Some("http://localhost:3000")),
        ("http://app.example.com", None),
        ("https://app.example.com.evil.example", None),
        ("null", None),
    ] {
        let answer = preflight(&server, origin).await;
        assert_eq!((answer.status().as_u16(), allowed(&answer)), (200, answered), "{origin}");
    }
}

#[tokio::test]
async fn a_browser_is_told_what_it_may_send_and_read() {
    let server = start_with(&[("CORS_ORIGINS", ORIGIN)]).await;
    let header = |response: &Response, name: &str| {
        let values = response.headers().get_all(name).iter().map(|value| value.to_str().unwrap());
        values.collect::<Vec<_>>().join(",").to_lowercase()
    };
    let answer = preflight(&server, "https://app.example.com").await;
    for (name, parts) in [
        ("access-control-allow-methods", ["get", "post", "delete"].as_slice()),
        ("access-control-allow-headers", &["content-type", "x-api-key"]),
        ("vary", &["origin", "access-control-request-headers"]),
    ] {
        let value = header(&answer, name);
        assert!(parts.iter().all(|part| value.contains(part)), "{name}: {value}");
    }
    assert!(!answer.headers().contains_key("access-control-allow-credentials"));
    // A refusal, too, is one that the page can read.
    for (path, key, status) in [("/models", KEY, 200), ("/models", "wrong", 401), ("/nothing", KEY, 404)] {
        let request = server.get(path).header("x-api-key", key).header("origin", "https://app.example.com");
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), allowed(&answer)), (status, Some("https://app.example.com")));
        assert_eq!(header(&answer, "access-control-expose-headers"), "*", "for requests without credentials");
        assert!(header(&answer, "vary").contains("origin"));
    }
}

/// Headers of vendors' SDKs in a browser, which differ with their versions.
#[tokio::test]
async fn sdks_in_a_browser_may_send_their_headers() {
    let server = start_with(&[("CORS_ORIGINS", ORIGIN)]).await;
    for (path, headers) in [
        (
            "/v1/chat/completions",
            "authorization,content-type,openai-organization,openai-project,x-stainless-arch,x-stainless-lang,\
             x-stainless-os,x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,\
             x-stainless-runtime-version,x-stainless-timeout",
        ),
        (
            "/v1/messages",
            "anthropic-beta,anthropic-dangerous-direct-browser-access,anthropic-version,content-type,x-api-key,\
             x-stainless-helper-method,x-stainless-timeout",
        ),
        ("/api/chat", "authorization,content-type,x-a-header-of-tomorrow"),
        ("/api/blobs/sha256:00", "content-type"),
    ] {
        let answer = preflight_of(&server, ORIGIN, path, headers).await;
        assert_eq!((answer.status().as_u16(), allowed(&answer)), (200, Some(ORIGIN)), "{path}");
        assert_eq!(answer.headers()["access-control-allow-headers"], headers, "{path}");
        let stranger = preflight_of(&server, "https://evil.example", path, headers).await;
        assert_eq!(allowed(&stranger), None, "{path}");
    }
}

#[tokio::test]
async fn a_star_is_every_origin() {
    let server = start_with(&[("CORS_ORIGINS", "*")]).await;
    assert_eq!(allowed(&preflight(&server, "https://any.example").await), Some("*"));
}
