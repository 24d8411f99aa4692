//! Which Redis is meant: one server, a cluster, or whichever server the sentinels call master. It
//! reads the URL; it opens nothing.

use std::net::Ipv6Addr;

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsMode,
    io::tcp::TcpSettings,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

use crate::error::{Error, Kind, Result};

const ACCEPTED: &str = "must be like redis://:password@host:6379/0, rediss://host, redis+unix:///path, \
     redis+cluster://host1,host2 or redis+sentinel://host1,host2/master";

/// Checks the URL of a Redis, for settings.
///
/// # Errors
/// Parses a value; the error says what is accepted.
pub fn redis_url(text: &str) -> Result<String, String> {
    match Target::parse(text) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(_) => Err(ACCEPTED.to_owned()),
    }
}

/// Redis deployment that a URL names. Holds passwords, so it is never shown.
#[derive(Clone)]
pub(super) enum Target {
    Server(Client),
    /// Some of the cluster's nodes; the others are learnt from them.
    Cluster(Vec<ConnectionInfo>),
    Sentinels(Sentinels),
}

#[derive(Clone)]
pub(super) struct Sentinels {
    sentinels: Vec<ConnectionInfo>,
    master: String,
}

impl Target {
    /// Reads one of the forms that `Redis::open` lists.
    ///
    /// # Errors
    /// `Setup` for anything else. The message never holds the URL, as that may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").ok_or_else(refused)?;
        match scheme {
            "redis+cluster" => Ok(Self::Cluster(nodes("redis", rest, 6379)?)),
            "rediss+cluster" => Ok(Self::Cluster(nodes("rediss", rest, 6379)?)),
            "redis+sentinel" => Ok(Self::Sentinels(sentinels("redis", rest)?)),
            "rediss+sentinel" => Ok(Self::Sentinels(sentinels("rediss", rest)?)),
            _ => {
                let (url, cluster) = without_cluster(url);
                let info = info(&url)?;
                if !cluster {
                    return Ok(Self::Server(Client::open(info).map_err(|_| refused())?));
                }
                if matches!(info.addr(), ConnectionAddr::Unix(_)) {
                    return Err(refused());
                }
                Ok(Self::Cluster(vec![info]))
            }
        }
    }

    /// TLS takes longer to set up: more ways to and fro, and the machine's certificates to read.
    pub(super) fn has_tls(&self) -> bool {
        let tls = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        match self {
            Self::Server(client) => tls(client.get_connection_info()),
            Self::Cluster(nodes) => nodes.iter().any(tls),
            Self::Sentinels(sentinels) => sentinels.sentinels.iter().any(tls),
        }
    }
}

impl Sentinels {
    /// A new one for every question: it then asks the sentinels again instead of trusting a
    /// connection to one that may be gone.
    pub(super) fn client(&self) -> redis::RedisResult<redis::sentinel::SentinelClient> {
        let addresses = self.sentinels.iter().map(|info| info.addr().clone());
        let mut builder = SentinelClientBuilder::new(addresses, &self.master, SentinelServerType::Master)?
            .set_client_to_redis_protocol(ProtocolVersion::RESP3)
            .set_client_to_redis_tcp_settings(nodelay())
            .set_client_to_sentinel_tcp_settings(nodelay());
        if let Some(first) = self.sentinels.first() {
            let settings = first.redis_settings();
            builder = builder.set_client_to_redis_db(settings.db());
            if let Some(user) = settings.username() {
                builder = builder.set_client_to_redis_username(user);
            }
            if let Some(password) = settings.password() {
                // Asked for RESP3, a sentinel without a password takes any; without, it takes none.
                builder = builder
                    .set_client_to_redis_password(password)
                    .set_client_to_sentinel_password(password)
                    .set_client_to_sentinel_protocol(ProtocolVersion::RESP3);
            }
            if let ConnectionAddr::TcpTls { .. } = first.addr() {
                builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
            }
        }
        builder.build()
    }
}

/// `[user:password@]a:1,b:2[/tail]` as one URL's worth of settings for each of the hosts.
fn nodes(scheme: &str, rest: &str, port: u16) -> Result<Vec<ConnectionInfo>> {
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => (format!("{credentials}@"), rest),
        None => (String::new(), rest),
    };
    let (hosts, tail) = rest.split_once('/').map_or((rest, ""), |(hosts, tail)| (hosts, tail));
    hosts
        .split(',')
        .map(|host| {
            let port = if has_port(host) { String::new() } else { format!(":{port}") };
            info(&format!("{scheme}://{credentials}{host}{port}/{tail}"))
        })
        .collect()
}

/// A colon, but not one of a bare or bracketed IPv6 address.
fn has_port(host: &str) -> bool {
    let after_brackets = host.rsplit(']').next().unwrap_or(host);
    after_brackets.contains(':') && host.parse::<Ipv6Addr>().is_err()
}

fn sentinels(scheme: &str, rest: &str) -> Result<Sentinels> {
    let (hosts, path) = split_path(rest);
    let (master, db) = path.split_once('/').unwrap_or((path, ""));
    if master.is_empty() {
        return Err(refused());
    }
    let hosts = if db.is_empty() { hosts.to_owned() } else { format!("{hosts}/{db}") };
    Ok(Sentinels { sentinels: nodes(scheme, &hosts, 26_379)?, master: master.to_owned() })
}

/// At the first slash after the credentials: a password may hold one.
fn split_path(rest: &str) -> (&str, &str) {
    let after = rest.rfind('@').map_or(0, |at| at + 1);
    match rest[after..].find('/') {
        Some(at) => (&rest[..after + at], &rest[after + at + 1..]),
        None => (rest, ""),
    }
}

/// The URL without `cluster=true`, which is ours, and whether it was there.
fn without_cluster(url: &str) -> (String, bool) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), false) };
    let (ours, others): (Vec<&str>, Vec<&str>) =
        query.split('&').partition(|part| matches!(*part, "cluster=true" | "cluster=1"));
    let url = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    (url, !ours.is_empty())
}

/// One server's settings, always with RESP3, without which Redis cannot tell of invalidations, and
/// without Nagle's delay.
fn info(url: &str) -> Result<ConnectionInfo> {
    // The crate's own message is left out: it may quote the URL.
    let info = url.into_connection_info().map_err(|_| refused())?;
    // `#insecure` would be TLS without authentication of the server.
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(refused());
    }
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings).set_tcp_settings(nodelay()))
}

fn nodelay() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn refused() -> Error {
    Error::new(Kind::Setup, format!("REDIS_URL {ACCEPTED}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let node = |info: &ConnectionInfo| {
            let settings = info.redis_settings();
            assert_eq!(settings.protocol(), ProtocolVersion::RESP3, "{url}");
            assert!(info.tcp_settings().nodelay(), "{url}");
            let tls = if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) { "tls " } else { "" };
            let credentials = match (settings.username(), settings.password()) {
                (user, Some(password)) => format!("{}:{password}@", user.unwrap_or_default()),
                _ => String::new(),
            };
            format!("{tls}{credentials}{}/{}", info.addr(), settings.db())
        };
        let all = |nodes: &[ConnectionInfo]| nodes.iter().map(node).collect::<Vec<_>>().join(" ");
        match Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}")) {
            Target::Server(client) => format!("server {}", node(client.get_connection_info())),
            Target::Cluster(nodes) => format!("cluster {}", all(&nodes)),
            Target::Sentinels(sentinels) => {
                sentinels.client().unwrap();
                format!("master {} by {}", sentinels.master, all(&sentinels.sentinels))
            }
        }
    }

    #[test]
    fn every_form_is_understood() {
        for (url, expected) in [
            ("redis://localhost", "server localhost:6379/0"),
            ("redis://:s%2Fecret@h:1/3", "server :s/ecret@h:1/3"),
            ("redis://user:secret@[::1]:7000", "server user:secret@::1:7000/0"),
            ("rediss://h", "server tls h:6379/0"),
            ("redis://h/?protocol=resp2", "server h:6379/0"),
            ("valkey://h", "server h:6379/0"),
            ("redis+unix:///run/redis.sock", "server /run/redis.sock/0"),
            ("unix:///run/redis.sock?db=2&pass=secret", "server :secret@/run/redis.sock/2"),
            ("redis://h?cluster=true", "cluster h:6379/0"),
            ("rediss://u:p@h:1?cluster=true", "cluster tls u:p@h:1/0"),
            ("redis+cluster://a,b:7000", "cluster a:6379/0 b:7000/0"),
            ("redis+cluster://u:p@a:1,[::1],[::1]:2", "cluster u:p@a:1/0 u:p@::1:6379/0 u:p@::1:2/0"),
            ("rediss+cluster://a", "cluster tls a:6379/0"),
            ("redis+sentinel://a,b:1/mymaster", "master mymaster by a:26379/0 b:1/0"),
            ("redis+sentinel://:p@a/mymaster/4", "master mymaster by :p@a:26379/4"),
            ("rediss+sentinel://a/m", "master m by tls a:26379/0"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_repeated() {
        for url in [
            "",
            "localhost:6379",
            "http://:hunter2@h",
            "redis://",
            "redis://:hunter2@h/notanumber",
            "redis://:hunter2@h:99999",
            "redis+cluster://",
            "redis+cluster://:hunter2@a,,b",
            "redis+sentinel://:hunter2@a",
            "redis+sentinel://a/",
            "redis+sentinel://a/m/x",
            "redis+unix:///run/redis.sock?cluster=true",
            "rediss://:hunter2@h#insecure",
        ] {
            let error = Target::parse(url).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert_eq!(error.kind(), Kind::Setup, "{url}");
            assert!(!format!("{error:?}").contains("hunter2"), "{url}");
        }
    }
}
