//! The URL of a Qdrant server, in settings.

use tonic::transport::Uri;

const EXAMPLE: &str = "http://localhost:6334";
/// Port of its gRPC API, unless it was changed.
const GRPC_PORT: u16 = 6334;
const REST_PORT: u16 = 6333;

/// Parses the URL of a Qdrant server; without a port it means 6334.
///
/// # Errors
/// Parses a value; the error says what is accepted and what is wrong.
pub fn qdrant_url(text: &str) -> Result<String, String> {
    let uri: Uri = text.trim().parse().map_err(|_| format!("must be a URL like {EXAMPLE}"))?;
    let (Some(scheme @ ("http" | "https")), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(format!("must begin with http:// or https://, like {EXAMPLE}"));
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("must not have a user name or password; set QDRANT_API_KEY".to_owned());
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(format!("must not have a path, like {EXAMPLE}"));
    }
    match uri.port_u16().unwrap_or(GRPC_PORT) {
        REST_PORT => {
            Err("must have the port of Qdrant's gRPC API, 6334, and not that of its REST API, 6333"
                .to_owned())
        }
        port => Ok(format!("{scheme}://{host}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_port_of_the_grpc_api() {
        for (text, accepted) in [
            ("http://localhost:6334", "http://localhost:6334"),
            (" https://qdrant.example/ ", "https://qdrant.example:6334"),
            ("http://[::1]:7000", "http://[::1]:7000"),
            ("https://h:443", "https://h:443"),
        ] {
            assert_eq!(qdrant_url(text).as_deref(), Ok(accepted), "{text}");
        }
        for (text, reason) in [
            ("http://localhost:6333", "6334"),
            ("localhost:6334", "http://"),
            ("ftp://h", "http://"),
            ("", "URL"),
            ("http://a b", "URL"),
            ("http://user:secret@h", "QDRANT_API_KEY"),
            ("http://h/path", "path"),
            ("http://h?x", "path"),
        ] {
            let told = qdrant_url(text).expect_err(text);
            assert!(told.contains(reason) && !told.contains("secret"), "{text}: {told}");
        }
    }
}
