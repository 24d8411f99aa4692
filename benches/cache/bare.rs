//! The baseline of a hit: an axum route that reads the body and answers with fixed bytes. It runs in
//! a process of its own, this program started once more, so that it has a runtime like the server's.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{ChildStdout, Command, Stdio},
};

use axum::{Router, body::Bytes, http::header, routing::post};

use crate::support::{Result, children::Program};

const MARK: &str = "BARE_ROUTE_REPLY";

pub fn is_wanted() -> bool {
    env::var_os(MARK).is_some()
}

/// Answers each POST with what the environment says.
pub fn serve() -> Result<()> {
    let reply = Bytes::from(env::var(MARK)?);
    let route = post(move |body: Bytes| {
        let reply = reply.clone();
        async move {
            std::hint::black_box(body);
            ([(header::CONTENT_TYPE, "application/json")], reply)
        }
    });
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        axum::serve(listener, Router::new().route("/inference/chat", route)).await?;
        Ok(())
    })
}

pub struct Bare {
    pub address: SocketAddr,
    _program: Program,
    _output: BufReader<ChildStdout>,
}

impl Bare {
    pub fn start(reply: &str) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut program = Program::start(command.env(MARK, reply).stdout(Stdio::piped()))?;
        let (mut output, mut line) = (BufReader::new(program.output()?), String::new());
        output.read_line(&mut line)?;
        Ok(Self { address: line.trim().parse()?, _program: program, _output: output })
    }
}
