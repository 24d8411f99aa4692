//! An open connection, to one server or to a cluster, with one way to use both. It knows commands
//! and nodes; when to connect and what to do when it breaks is the link's business.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, ProtocolVersion, PushInfo, RedisResult,
    RetryMethod, Value,
    aio::MultiplexedConnection,
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo},
    cmd,
};

use super::{format::PREFIX, target::Target};

/// How long setting up a connection may take. No request waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);
const TLS_CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);
/// How long a call in the background may take. Requests have a shorter patience of their own.
pub(super) const BACKGROUND_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Cheap to clone; all clones share one socket per server.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// One server that holds keys of its own.
pub(super) enum Node {
    Only,
    At { host: String, port: u16 },
}

impl Connection {
    /// Connects, and subscribes to changes of our keys by other clients.
    ///
    /// `pushed` is called for every such message, and when the connection is lost; it must not wait.
    pub(super) async fn open(
        target: &Target,
        pushed: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<Self> {
        let pushed = Arc::new(pushed);
        let sender = move |info: PushInfo| -> Result<(), std::convert::Infallible> {
            pushed(info);
            Ok(())
        };
        let limit = if target.has_tls() { TLS_CONNECT_TIMEOUT } else { CONNECT_TIMEOUT };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(BACKGROUND_TIMEOUT));
        let mut connection = match target {
            Target::Server(client) => {
                let config = config.set_push_sender(sender);
                Self::One(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Target::Sentinels(sentinels) => {
                let config = config.set_push_sender(sender);
                let mut client = sentinels.client()?;
                Self::One(
                    with_timeout(BACKGROUND_TIMEOUT, client.get_async_connection_with_config(&config))
                        .await?,
                )
            }
            Target::Cluster(nodes) => {
                let client = ClusterClient::builder(nodes.clone())
                    .use_protocol(ProtocolVersion::RESP3)
                    .retries(1)
                    .min_retry_wait(10)
                    .max_retry_wait(100)
                    .connection_timeout(limit)
                    .response_timeout(BACKGROUND_TIMEOUT)
                    .push_sender(sender)
                    .build()?;
                Self::Cluster(with_timeout(BACKGROUND_TIMEOUT * 2, client.get_async_connection()).await?)
            }
        };
        connection.track().await?;
        Ok(connection)
    }

    pub(super) async fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Runs a command on one of the `nodes`, whatever keys it names.
    pub(super) async fn run_on<T: FromRedisValue>(&mut self, node: &Node, command: Cmd) -> RedisResult<T> {
        match (self, node) {
            (Self::Cluster(connection), Node::At { host, port }) => {
                let route = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
                let value = connection.route_command(command, RoutingInfo::SingleNode(route)).await?;
                Ok(T::from_redis_value(value)?)
            }
            (connection, _) => connection.run(&command).await,
        }
    }

    /// Runs commands together and gives each one's own result.
    ///
    /// # Errors
    /// The first that is broken: the others may then have been carried out or not.
    pub(super) async fn run_all(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
        let results: Vec<RedisResult<Value>> = match self {
            Self::One(connection) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command);
                }
                pipeline.ignore_errors().query_async(connection).await?
            }
            // A cluster's pipeline may hold one slot only, and ours are spread over all of them.
            Self::Cluster(connection) => {
                let calls = commands.into_iter().map(|command| {
                    let mut connection = connection.clone();
                    async move { command.query_async::<Value>(&mut connection).await }
                });
                join_all(calls).await
            }
        };
        match results.iter().find_map(|result| result.as_ref().err().filter(|error| is_broken(error))) {
            Some(error) => Err(error.clone()),
            None => Ok(results),
        }
    }

    /// Whether every server answers and still tells of changes. A cluster's connection replaces lost
    /// sockets behind our back, and a new one tells nothing.
    pub(super) async fn probe(&mut self) -> RedisResult<bool> {
        match self {
            Self::One(connection) => cmd("PING").query_async::<Value>(connection).await.map(|_| true),
            Self::Cluster(connection) => {
                let mut ask = cmd("CLIENT");
                ask.arg("TRACKINGINFO");
                let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                connection.route_command(ask, all).await.map(|told| !says(&told, "off"))
            }
        }
    }

    /// The servers that hold keys.
    pub(super) async fn nodes(&mut self) -> RedisResult<Vec<Node>> {
        let Self::Cluster(connection) = self else { return Ok(vec![Node::Only]) };
        let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answers = connection.route_command(cmd("PING"), all).await?;
        let answers: Vec<(String, Value)> = redis::from_redis_value(answers)?;
        let node = |(address, _): (String, Value)| {
            let (host, port) = address.rsplit_once(':')?;
            Some(Node::At { host: host.to_owned(), port: port.parse().ok()? })
        };
        Ok(answers.into_iter().filter_map(node).collect())
    }

    /// `BCAST` and not the default mode, which only tells of keys this connection has read and would
    /// miss those it has written. `NOLOOP`: what we write ourselves we know already.
    async fn track(&mut self) -> RedisResult<()> {
        let mut track = cmd("CLIENT");
        track.arg("TRACKING").arg("ON").arg("BCAST").arg("PREFIX").arg(PREFIX).arg("NOLOOP");
        match self {
            Self::One(connection) => track.query_async(connection).await,
            // Masters only: a replica repeats its master's writes as another client's, ours included.
            Self::Cluster(connection) => {
                let all = MultipleNodeRoutingInfo::AllMasters;
                let all = RoutingInfo::MultiNode((all, Some(ResponsePolicy::AllSucceeded)));
                connection.route_command(track, all).await.map(|_| ())
            }
        }
    }
}

/// Whether an error says that the connection or the server is gone or not the right one just now, and
/// not that one command was refused. While a cluster's lost sockets are replaced, a command may end up
/// at a server that only knows where it belongs.
pub(super) fn is_broken(error: &redis::RedisError) -> bool {
    let elsewhere_or_later = matches!(
        error.retry_method(),
        RetryMethod::MovedRedirect | RetryMethod::AskRedirect | RetryMethod::WaitAndRetry
    );
    elsewhere_or_later || error.is_io_error() || error.is_unrecoverable_error()
}

pub(super) async fn with_timeout<T>(
    limit: Duration,
    call: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

/// Whether a word stands anywhere in an answer.
fn says(value: &Value, word: &str) -> bool {
    match value {
        Value::SimpleString(text) => text == word,
        Value::BulkString(bytes) => bytes == word.as_bytes(),
        Value::Array(values) | Value::Set(values) => values.iter().any(|value| says(value, word)),
        Value::Map(pairs) => pairs.iter().any(|(key, value)| says(key, word) || says(value, word)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, RedisError, ServerErrorKind as Server};

    use super::*;

    #[test]
    fn what_another_server_or_a_later_moment_would_take_is_not_refused() {
        let broken = |kind: ErrorKind| is_broken(&RedisError::from((kind, "so it is")));
        for kind in [Server::Moved, Server::Ask, Server::TryAgain, Server::ClusterDown, Server::BusyLoading] {
            assert!(broken(ErrorKind::Server(kind)), "{kind:?}");
        }
        assert!(broken(ErrorKind::Io) && broken(ErrorKind::ClusterConnectionNotFound));
        for kind in [Server::ResponseError, Server::NoPerm, Server::CrossSlot] {
            assert!(!broken(ErrorKind::Server(kind)), "{kind:?}");
        }
    }
}
