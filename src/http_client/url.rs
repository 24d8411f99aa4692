//! URLs in settings, checked when the server starts.

use std::net::IpAddr;

use reqwest::Url;

/// Parses the URL of a server in a setting: an http(s) URL with a host; surrounding spaces and the final
/// slash are removed. `example` is a valid URL, and `own_path` the prefix of the server's API, which is added
/// to each request.
///
/// # Errors
/// Parses a value; the error says what is accepted and what is wrong.
pub fn server_url(
    example: &'static str,
    own_paths: &'static [&'static str],
) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static {
    move |text| {
        let url = http_url(text, example)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("must not have a query (?) or fragment (#), like {example}"));
        }
        let path = url.path().trim_end_matches('/');
        let own = own_paths.iter().find(|own| path.ends_with(*own) || path.contains(&format!("{own}/")));
        match own {
            Some(own) => Err(format!("must not include {own}, like {example}")),
            None => Ok(text.trim().trim_end_matches('/').to_owned()),
        }
    }
}

/// Parses the URL of one resource in a setting: an http(s) URL with a host, unchanged except for surrounding
/// spaces.
///
/// # Errors
/// Parses a value; the error says what is accepted and what is wrong.
pub fn parse_endpoint(text: &str) -> Result<String, String> {
    http_url(text, "https://example.org/hook").map(|_| text.trim().to_owned())
}

fn http_url(text: &str, example: &str) -> Result<Url, String> {
    let text = text.trim();
    // The parser passes over line ends and tabs.
    if text.contains(|char: char| char.is_whitespace() || char.is_control()) {
        return Err(format!("must be a URL without spaces, like {example}"));
    }
    let has_scheme = ["http://", "https://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
    if !has_scheme {
        return Err(format!("must begin with http:// or https://, like {example}"));
    }
    let reason = |fault: &dyn std::fmt::Display| format!("must be a URL like {example} ({fault})");
    let url = Url::parse(text).map_err(|fault| reason(&fault))?;
    if url.has_host() { Ok(url) } else { Err(reason(&"empty host")) }
}

/// Scheme, host and port, without secrets.
pub fn origin(url: &str) -> String {
    let shown = |url: Url| {
        let port = url.port_or_known_default().map_or(String::new(), |port| format!(":{port}"));
        Some(format!("{}://{}{port}", url.scheme(), url.host_str()?))
    };
    Url::parse(url).ok().and_then(shown).unwrap_or_default()
}

/// Whether there is a user name or a password in it.
pub fn has_password(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
}

/// Whether the host is this machine, which needs no proxy and which a proxy cannot reach: also for the
/// unspecified address, which people copy from a server's settings.
pub(super) fn is_loopback(url: &str) -> bool {
    let Some(host) = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_ascii_lowercase)) else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback() || address.is_unspecified(),
        Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "http://localhost:11434";

    #[test]
    fn what_cannot_work_is_refused_with_its_reason() {
        let ollama = server_url(EXAMPLE, &["/v1", "/api"]);
        for (text, accepted) in [
            ("http://h:1", "http://h:1"),
            (" http://h:1/ \n", "http://h:1"),
            ("HTTPS://u:p@h/ollama/", "HTTPS://u:p@h/ollama"),
            ("http://[::1]:1", "http://[::1]:1"),
            ("http://api.example.org", "http://api.example.org"),
        ] {
            assert_eq!(ollama(text).as_deref(), Ok(accepted), "{text:?}");
        }
        for (text, reason) in [
            ("http://h:1/v1", "not include /v1"),
            ("http://h:1/v1/", "not include /v1"),
            ("http://h:1/api/chat", "not include /api"),
            ("h:1", "begin with http://"),
            ("127.0.0.1:4317", "begin with http://"),
            ("ftp://h", "begin with http://"),
            ("http://h?a=b", "query (?)"),
            ("http://h#a", "fragment (#)"),
            ("http://", "empty host"),
            ("http://h:99999", "invalid port number"),
            ("http://1.2.3.4.5", "invalid IPv4 address"),
            ("http://[::1", "invalid IPv6 address"),
            ("http://h o", "without spaces"),
            ("http://h\nx", "without spaces"),
            ("", "begin with http://"),
        ] {
            let error = ollama(text).expect_err(text);
            assert!(error.contains(reason) && error.contains(EXAMPLE), "{text:?}: {error}");
        }
        assert_eq!(parse_endpoint(" https://h/a?b=c ").as_deref(), Ok("https://h/a?b=c"));
        assert!(parse_endpoint("h/a").is_err_and(|error| error.contains("https://example.org/hook")));
    }

    #[test]
    fn this_machine_is_known_by_all_its_names() {
        for url in [
            "http://localhost:1",
            "http://LOCALHOST.",
            "http://ollama.localhost",
            "http://127.0.0.1",
            "https://127.9.8.7/a",
            "http://[::1]:1",
            "http://[::ffff:127.0.0.1]",
            "http://0.0.0.0:11434",
            "http://[::]:11434",
            "http://u:p@localhost",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://localhost.example.org",
            "http://128.0.0.1",
            "http://ollama",
            "http://10.0.0.1",
            "nonsense",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn an_origin_has_no_password() {
        assert_eq!(origin("https://user:secret@h/path?key=1"), "https://h:443");
        assert_eq!(origin("http://[::1]:8/x"), "http://[::1]:8");
    }
}
