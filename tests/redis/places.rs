//! Where a Redis may be: behind a socket, behind TLS, in a cluster, behind sentinels.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use simpleton::cache::{EntryType, Store};

use crate::server::{
    SOON, Server, available, finds, free_port, get, key, name, open, put, until, within, written,
};

/// Servers take seconds to agree with each other, and more on a busy machine.
const AGREEMENT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let server = Server::start(&["--unixsocket", socket]).await;
    let store = open(&format!("redis+unix://{socket}")).await;
    put(&store, key(EntryType::Chat, 1), "a");
    written(&store, &server, key(EntryType::Chat, 1)).await;
    assert_eq!(store.clear(None).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn database() {
    let server = Server::start(&[]).await;
    let store = open(&format!("{}/3", server.url())).await;
    let (chat, other) = (key(EntryType::Chat, 1), open(&server.url()).await);
    put(&store, chat, "a");
    until("it is in database 3", || server.cli(&["-n", "3", "exists", &name(&chat)]) == "1").await;
    assert_eq!(get(&other, chat).await, None);
    assert_eq!(other.clear(None).await.unwrap(), 0);
    assert_eq!(get(&store, chat).await.as_deref(), Some("a"));
}

/// The machine's certificates are read from the file an environment variable names, which is set for
/// a second run of this binary.
#[test]
fn tls() {
    let folder = tempfile::tempdir().unwrap();
    make_certificate(folder.path());
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "places::tls_with_a_certificate_of_our_own", "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", folder.path().join("ca.crt"))
        .env("TEST_TLS_FOLDER", folder.path())
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test named tls, with its environment"]
async fn tls_with_a_certificate_of_our_own() {
    let Some(folder) = std::env::var_os("TEST_TLS_FOLDER") else { return };
    let file = |name: &str| Path::new(&folder).join(name).to_str().unwrap().to_owned();
    let port = free_port();
    let (certificate, secret, authority) = (file("redis.crt"), file("redis.key"), file("ca.crt"));
    let port_text = port.to_string();
    let server = Server::start(&[
        "--tls-port",
        &port_text,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &secret,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let store = open(&format!("rediss://localhost:{port}")).await;
    put(&store, key(EntryType::Chat, 1), "a");
    written(&store, &server, key(EntryType::Chat, 1)).await;

    let wrong_name = simpleton::cache::Redis::open(&format!("rediss://127.0.0.1:{port}"), 1 << 20).unwrap();
    until("another host's certificate is refused", || wrong_name.breaker_open()).await;
}

fn make_certificate(folder: &Path) {
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(folder).output();
        let output = output.expect("openssl, to make a certificate");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    ]);
    openssl(&[
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-keyout",
        "redis.key",
        "-out",
        "redis.csr",
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        "redis.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "redis.crt",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster() {
    let mut servers = cluster_of_three().await;
    let url = format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", servers[0].port, servers[1].port);
    let (one, two) = (open(&url).await, open(&format!("{}?cluster=true", servers[2].url())).await);
    let keys: Vec<_> = (0..300).map(|number| key(EntryType::Chat, number)).collect();
    for key in &keys {
        put(&one, *key, "a");
    }
    let total = |servers: &[Server]| -> usize { servers.iter().map(Server::keys).sum() };
    until("all are in the cluster", || total(&servers) == 300).await;
    for server in &servers {
        assert_ne!(server.cli(&["dbsize"]), "0", "entries are spread over the servers");
    }
    // A look that takes a busy machine longer than a request waits is a miss, and may be one of them.
    let found = async || two.get(&keys).await.iter().flatten().count() == 300;
    crate::eventually::eventually(SOON, "the other server finds all of them", found).await;

    put(&two, keys[0], "b");
    finds(&one, keys[0], "b").await;
    assert!(one.get_now(&keys[1]).is_some(), "our own writes do not come back to us");
    assert_eq!(one.clear(Some(EntryType::Chat)).await.unwrap(), 300);
    until("the other forgets", || keys.iter().all(|key| two.get_now(key).is_none())).await;
    assert_eq!(total(&servers), 0);

    // A lost socket to one server is replaced, and the new one tells of changes again.
    put(&one, keys[5], "before");
    finds(&two, keys[5], "before").await;
    for server in &servers {
        server.cli(&["client", "kill", "type", "normal"]);
    }
    put(&one, keys[5], "after");
    finds(&two, keys[5], "after").await;

    servers[1].kill();
    let start = Instant::now();
    for number in 0..100 {
        two.get(&[key(EntryType::Vision, number)]).await;
    }
    let all = start.elapsed();
    assert!(all < Duration::from_millis(400), "{all:?}");
}

async fn cluster_of_three() -> Vec<Server> {
    let mut servers = Vec::new();
    for slots in [["0", "5460"], ["5461", "10922"], ["10923", "16383"]] {
        let server = Server::start(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]).await;
        assert_eq!(server.cli(&["cluster", "addslotsrange", slots[0], slots[1]]), "OK");
        servers.push(server);
    }
    for server in &servers[1..] {
        servers[0].cli(&["cluster", "meet", "127.0.0.1", &server.port.to_string()]);
    }
    let complete = |server: &Server| {
        let info = server.cli(&["cluster", "info"]);
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
    };
    within(AGREEMENT, "every server has heard of every other", || servers.iter().all(complete)).await;
    servers
}

/// A sentinel, which is a redis-server of another kind.
struct Sentinel {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // It may have ended already; what counts is that it is gone and waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sentinel {
    fn start(master: &Server) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let settings = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor house 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds house 500\nsentinel failover-timeout house 3000\n",
            master.port
        );
        fs::write(&settings, text).unwrap();
        let child = Command::new("redis-server")
            .arg(&settings)
            .arg("--sentinel")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port, _folder: folder }
    }

    fn ask(&self, args: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port, "sentinel"]).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinel_with_a_change_of_master() {
    let mut master = Server::start(&[]).await;
    let port = master.port.to_string();
    let replica =
        Server::start(&["--replicaof", &format!("127.0.0.1 {port}"), "--repl-diskless-sync-delay", "0"])
            .await;
    let sentinel = Sentinel::start(&master);
    let replica_port = replica.port.to_string();
    until("the sentinel knows the master", || sentinel.ask(&["master", "house"]).contains(&port)).await;

    let url = format!("redis+sentinel://127.0.0.1:{}/house", sentinel.port);
    let store = open(&url).await;
    put(&store, key(EntryType::Chat, 1), "a");
    written(&store, &master, key(EntryType::Chat, 1)).await;
    let knows = || sentinel.ask(&["replicas", "house"]).contains(&replica_port);
    within(AGREEMENT, "the sentinel knows the replica", knows).await;
    master.kill();
    let names = || sentinel.ask(&["get-master-addr-by-name", "house"]).contains(&replica_port);
    within(AGREEMENT, "the sentinel names the replica", names).await;
    available(&store).await;
    put(&store, key(EntryType::Chat, 2), "b");
    written(&store, &replica, key(EntryType::Chat, 2)).await;
}
