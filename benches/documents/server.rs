//! Simpleton, asked over one connection.

use std::{path::Path, time::Instant};

use serde_json::Value;

use crate::support::{
    Result,
    children::{KEY, Simpleton},
    client::{Address, Connection, Target},
};

pub struct Server {
    simpleton: Simpleton,
}

/// A reply with the seconds that it took.
pub struct Reply {
    pub body: Value,
    pub seconds: f64,
}

impl Server {
    pub fn start(folder: &Path, variables: &[(&str, &str)]) -> Result<Self> {
        Ok(Self { simpleton: Simpleton::start(folder, variables)? })
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply> {
        let target = Target::post("simpleton", self.address(), path, &key(), &body.to_string());
        self.call(&target).await
    }

    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.call(&Target::get("simpleton", self.address(), path, &key())).await
    }

    /// Sends a file with other fields of a form.
    pub async fn upload(
        &self,
        path: &str,
        name: &str,
        content: &[u8],
        fields: &[(&str, &str)],
    ) -> Result<Reply> {
        self.call(&Target::upload(self.address(), path, &key(), (name, content), fields)).await
    }

    async fn call(&self, target: &Target) -> Result<Reply> {
        // A new connection each, because a server may close one that has waited.
        let mut connection = Connection::open(&target.address).await?;
        let began = Instant::now();
        let reply = connection.call(&target.request).await?;
        let seconds = began.elapsed().as_secs_f64();
        let head = reply.windows(4).position(|four| four == b"\r\n\r\n").ok_or("a reply without an end")?;
        Ok(Reply { body: serde_json::from_slice(&reply[head + 4..])?, seconds })
    }

    fn address(&self) -> Address {
        self.simpleton.address.into()
    }
}

fn key() -> String {
    format!("x-api-key: {KEY}\r\n")
}
