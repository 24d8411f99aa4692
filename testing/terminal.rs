//! A program in a terminal, with keys that are pressed.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::eventually::eventually;

const DEADLINE: Duration = Duration::from_secs(50);

/// A program in a pseudo-terminal, which `script` makes.
pub struct Terminal {
    script: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    pub fn open(mut command: Command) -> Self {
        let words: Vec<&str> = [command.get_program()]
            .into_iter()
            .chain(command.get_args())
            .map(|word| word.to_str().unwrap())
            .collect();
        let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        // A shell that stays would itself end by Ctrl-C.
        let line = format!("exec {line}");
        let environment: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let folder = command.get_current_dir().unwrap().to_owned();
        command = Command::new("script");
        command
            .args(["-qefc", &line, "/dev/null"])
            .env_clear()
            .envs(environment)
            .env("TERM", "xterm")
            .current_dir(folder);
        let mut script = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is needed, of util-linux");
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut output, copy) = (script.stdout.take().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut piece) {
                copy.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        });
        Self { script, shown }
    }

    pub fn press(&mut self, keys: &str) {
        self.script.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits for a text, and forgets what was shown before.
    pub async fn wait_for(&self, text: &str) {
        eventually(DEADLINE, text, async || self.shown().contains(text)).await;
        let mut shown = self.shown.lock().unwrap();
        let end = shown.find(text).unwrap() + text.len();
        shown.drain(..end);
    }

    pub async fn ends(mut self) -> Option<i32> {
        eventually(DEADLINE, "it ends", async || self.script.try_wait().unwrap().is_some()).await;
        self.script.wait().unwrap().code()
    }
}
