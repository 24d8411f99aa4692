//! `simpleton run` of a model that is not installed.

use crate::{harness::Model, program::simpleton, registry::Registry, terminal::Terminal};

const QUESTION: &str = "Download demo now? [y/N] ";

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_installed_is_downloaded_if_the_user_agrees() {
    let registry = Registry::with(&Model::demo(), "library/demo", "latest").await;
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let mut command = simpleton(&folder, &registry.url());
        command.args(["run", "demo"]);
        Terminal::open(command)
    };
    for refusal in ["n\r", "\r", "\u{4}"] {
        let mut terminal = open();
        terminal.wait_for("The model demo is not installed").await;
        terminal.wait_for(QUESTION).await;
        terminal.press(refusal);
        // The next output begins on a line of its own.
        terminal.wait_for("\n").await;
        assert_eq!(terminal.ends().await, Some(1), "{refusal:?}");
    }
    let mut terminal = open();
    terminal.wait_for(QUESTION).await;
    terminal.press("Y\r");
    terminal.wait_for("success").await;
    terminal.wait_for(">>> ").await;
    terminal.press("/bye\r");
    assert_eq!(terminal.ends().await, Some(0));
}
