//! A real registry, Debian's docker-registry, on a free port of 127.0.0.1.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use reqwest::{Client, Method, StatusCode};
use tempfile::TempDir;

use crate::{
    eventually::eventually,
    harness::{DEADLINE, Model, digest},
};

pub struct Registry {
    child: Child,
    folder: TempDir,
    pub port: u16,
    has_tls: bool,
}

impl Registry {
    async fn start(has_tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = folder.path().join("data");
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            data.display()
        );
        if has_tls {
            make_certificate(&folder);
            let at = folder.path().display();
            config += &format!("  tls:\n    certificate: {at}/cert.pem\n    key: {at}/key.pem\n");
        }
        fs::write(folder.path().join("config.yml"), config).unwrap();
        let registry = Self { child: spawn(&folder), folder, port, has_tls };
        registry.is_ready().await;
        registry
    }

    pub async fn with(model: &Model, repository: &str, tag: &str) -> Self {
        let registry = Self::start(false).await;
        registry.push(model, repository, tag).await;
        registry
    }

    /// One with a certificate that only it has signed.
    pub async fn with_tls(model: &Model, repository: &str, tag: &str) -> Self {
        let registry = Self::start(true).await;
        registry.push(model, repository, tag).await;
        registry
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub fn url(&self) -> String {
        let scheme = if self.has_tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after `kill`, with what it had.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.folder);
        self.is_ready().await;
    }

    async fn is_ready(&self) {
        let url = format!("{}/v2/", self.url());
        eventually(DEADLINE, "the registry answers", async || self.client().get(&url).send().await.is_ok())
            .await;
    }

    /// Pushes a model as `ollama push` does.
    pub async fn push(&self, model: &Model, repository: &str, tag: &str) {
        let base = format!("{}/v2/{repository}", self.url());
        for (_, bytes) in &model.blobs {
            let begun = self.client().post(format!("{base}/blobs/uploads/")).send().await.unwrap();
            let location = begun.headers()["location"].to_str().unwrap();
            let url = format!("{location}&digest={}", digest(bytes));
            let put = self.client().request(Method::PUT, url).body(bytes.clone()).send().await.unwrap();
            assert_eq!(put.status(), StatusCode::CREATED);
        }
        let manifest = model.manifest();
        let put = self
            .client()
            .request(Method::PUT, format!("{base}/manifests/{tag}"))
            .header("content-type", manifest["mediaType"].as_str().unwrap())
            .body(manifest.to_string());
        assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    }

    fn client(&self) -> Client {
        // An error only says that it is there already: each test has a thread, all one process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder().no_proxy().tls_danger_accept_invalid_certs(self.has_tls).build().unwrap()
    }

    /// Where it keeps a blob.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have been killed.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

fn spawn(folder: &TempDir) -> Child {
    Command::new("docker-registry")
        .arg("serve")
        .arg(folder.path().join("config.yml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("docker-registry is needed: scripts/packages.sh test")
}

/// A certificate for 127.0.0.1 that is its own authority.
fn make_certificate(folder: &TempDir) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}
