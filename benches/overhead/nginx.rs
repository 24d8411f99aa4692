//! nginx as a reverse proxy, set up as Debian does it: every core a worker, an access log in a file.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use crate::support::{
    Result,
    children::{Program, free_address, wait_for},
};

pub struct Nginx {
    pub program: Program,
    pub address: SocketAddr,
}

impl Nginx {
    pub fn start(folder: &Path, upstream: SocketAddr) -> Result<Self> {
        let address = free_address()?;
        let config = folder.join("nginx.conf");
        fs::write(&config, nginx_config(folder, address, upstream))?;
        let mut command = Command::new("nginx");
        command.args(["-e", "nginx-error.log", "-p"]).arg(folder).arg("-c").arg(config);
        let program = Program::start(&mut command)?;
        wait_for(address)?;
        Ok(Self { program, address })
    }
}

/// Connections live as long as Simpleton's do: without `keepalive_requests` nginx closes each after
/// its thousandth request.
fn nginx_config(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    // nginx ignores `user` with a warning when it is not started by root.
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    format!(
        "{user}
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
  sendfile on;
  tcp_nopush on;
  access_log {folder}/nginx-access.log;
  gzip on;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  upstream ollama {{ server {upstream}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen {address};
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    location / {{ proxy_pass http://ollama; }}
    location /stream/ {{ proxy_buffering off; proxy_pass http://ollama/; }}
  }}
}}
"
    )
}
