//! No child outlives the server, however that ends.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
};

use simpleton::engine::Role;

use crate::harness::{Rig, is_alive, until};

/// Set for the process that plays the server.
const OWNER: &str = "ENGINE_TEST_OWNER";

#[tokio::test(flavor = "multi_thread")]
async fn no_child_is_left_after_kill_9_of_its_owner() {
    let mut owner = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "orphans::owner", "--ignored", "--nocapture", "--test-threads=1"])
        .env(OWNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("an owner");
    let output = BufReader::new(owner.stdout.take().expect("its output"));
    let child: u32 = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("child: ").and_then(|(_, pid)| pid.parse().ok()))
        .expect("the child's pid");
    assert!(is_alive(child));
    owner.kill().expect("killed with SIGKILL");
    owner.wait().expect("reaped");
    until("the orphan is gone", || !is_alive(child)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other process of the test above"]
async fn owner() {
    if env::var_os(OWNER).is_none() {
        return;
    }
    let rig = Rig::new(&[]);
    let _lease = rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None).await.expect("a lease");
    println!("child: {}", rig.pid());
    std::future::pending::<()>().await;
}
