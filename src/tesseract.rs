//! OCR by the system's Tesseract instead of a vision model: one process for each image, which gets the image on
//! its standard input and writes the text to its standard output. Independent of requests.

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use clap::Args;
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    sync::{Mutex, OnceCell, Semaphore},
    time::{Instant, timeout},
};

use crate::{
    error::{Error, Kind, Result},
    images::Image,
    value_parser::{path, word},
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Vision")]
#[group(skip)]
pub struct Settings {
    /// OCR engine for requests that name no model: the default vision model (model), Tesseract (tesseract), which reads documents better than small models do, or the best one there is (auto): an installed vision model other than the demo, else Tesseract, else the demo
    #[arg(long, env = "OCR_ENGINE", default_value = "auto", value_parser = word(OcrEngine::WORDS))]
    pub ocr_engine: OcrEngine,
    /// Languages for Tesseract, joined by a plus, such as eng+deu. Each one needs its package, such as tesseract-ocr-deu
    #[arg(long, env = "OCR_LANGUAGES", default_value = "eng", value_parser = languages)]
    pub ocr_languages: String,
    /// Path of the tesseract program. Defaults to the one on PATH
    #[arg(long, env = "TESSERACT", value_parser = path)]
    pub tesseract: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcrEngine {
    /// A vision model other than the demo, else Tesseract, else the demo.
    Auto,
    Model,
    Tesseract,
}

impl OcrEngine {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("model", Self::Model), ("tesseract", Self::Tesseract)];
}

fn languages(text: &str) -> Result<String, String> {
    let sane = |language: &str| {
        (2..=32).contains(&language.len())
            && language.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if text.len() <= 256 && text.split('+').all(sane) {
        Ok(text.to_owned())
    } else {
        Err("must be Tesseract languages joined by a plus, such as eng or eng+deu".to_owned())
    }
}

/// Timeout for `--version`, which prints a few lines.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for which `trouble` returns the same: anyone may ask for the server's health, and each check starts processes.
const CHECK_PACE: Duration = Duration::from_secs(10);
/// A full page takes a few seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// Timeout for waiting until other images have been read.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(60);

pub struct Tesseract {
    program: PathBuf,
    languages: String,
    /// Asked once: a program that is not there may still be installed.
    version: OnceCell<String>,
    /// Result of the last check, with its time.
    checked: Mutex<Option<(Instant, Option<String>)>>,
    /// One child for each processor.
    room: Arc<Semaphore>,
}

impl Tesseract {
    pub fn new(settings: &Settings) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        Self {
            program: settings.tesseract.clone().unwrap_or_else(|| "tesseract".into()),
            languages: settings.ocr_languages.clone(),
            version: OnceCell::new(),
            checked: Mutex::default(),
            room: Arc::new(Semaphore::new(processors)),
        }
    }

    pub fn languages(&self) -> &str {
        &self.languages
    }

    /// Whether the program runs; a language may still be missing.
    pub async fn is_installed(&self) -> bool {
        self.version.initialized() || self.ask("--version").await.is_ok()
    }

    /// Its version, if OCR with this setting uses it.
    ///
    /// # Errors
    /// As `version`.
    pub async fn wanted(&self, engine: OcrEngine) -> Result<Option<&str>> {
        match engine {
            OcrEngine::Model => Ok(None),
            OcrEngine::Auto if !self.is_installed().await => Ok(None),
            OcrEngine::Auto | OcrEngine::Tesseract => self.version().await.map(Some),
        }
    }

    /// Returns why OCR with this setting does not work; `None` if it does.
    pub async fn trouble(&self, engine: OcrEngine) -> Option<String> {
        if self.version.initialized() {
            return None;
        }
        let mut checked = self.checked.lock().await;
        match &*checked {
            Some((at, trouble)) if at.elapsed() < CHECK_PACE => trouble.clone(),
            _ => {
                let trouble = self.wanted(engine).await.err().map(|error| error.message().to_owned());
                *checked = Some((Instant::now(), trouble.clone()));
                trouble
            }
        }
    }

    /// As it names itself: `tesseract 5.3.0`.
    ///
    /// # Errors
    /// `Setup`, saying what to do, when it is not installed or a language is missing.
    pub async fn version(&self) -> Result<&str> {
        let asked = async {
            let version = self.ask("--version").await?;
            let languages = self.ask("--list-langs").await?;
            let missing =
                self.languages.split('+').find(|&wanted| !languages.lines().any(|has| has == wanted));
            if let Some(missing) = missing {
                return Err(Error::new(
                    Kind::Setup,
                    format!(
                        "Tesseract has no language {missing}; install it (Debian and Ubuntu: tesseract-ocr-{missing}), or change OCR_LANGUAGES."
                    ),
                ));
            }
            Ok(version.lines().next().unwrap_or("tesseract").trim().to_owned())
        };
        self.version.get_or_try_init(|| asked).await.map(String::as_str)
    }

    /// The text in the image, without blank space around it; empty when there is none.
    ///
    /// # Errors
    /// `Setup` when it is not installed, `Busy` when too many others wait, `GatewayTimeout` and
    /// `BadGateway` when it takes too long or fails.
    pub async fn read(&self, image: &Image) -> Result<String> {
        let room = timeout(QUEUE_TIMEOUT, self.room.acquire()).await;
        let _room = room.map_err(|_| {
            Error::new(Kind::Busy, "Too many images are being read; try again later.")
                .retry_after(Duration::from_secs(5))
        })?;
        let arguments = ["stdin", "stdout", "-l", &self.languages];
        let reading = self.run(&arguments, image.file());
        let text = timeout(READ_TIMEOUT, reading).await.map_err(|_| {
            Error::new(Kind::GatewayTimeout, "Tesseract did not read the image in time; send a smaller one.")
        })??;
        // A form feed ends each page.
        Ok(text.trim_matches(|c: char| c.is_whitespace() || c == '\u{c}').to_owned())
    }

    async fn ask(&self, flag: &str) -> Result<String> {
        let unusable = |what: &str| {
            let message = format!("The tesseract program {what}; check TESSERACT, or set OCR_ENGINE=model.");
            Error::new(Kind::Setup, message)
        };
        match timeout(VERSION_TIMEOUT, self.run(&[flag], &[])).await {
            Ok(Err(error)) if error.kind() == Kind::BadGateway => {
                Err(unusable("does not work").with_source(error.causes().unwrap_or_default()))
            }
            Ok(said) => said,
            Err(_) => Err(unusable("does not respond")),
        }
    }

    /// Runs it to its end with `input`, and kills it when the request is cancelled.
    async fn run(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            // Its own threads only get into each other's way: one for each image is faster.
            .env("OMP_THREAD_LIMIT", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| missing().with_source(source))?;
        let failed = |source: std::io::Error| {
            Error::new(Kind::BadGateway, "Communication with Tesseract failed.").with_source(source)
        };
        let stdin = child.stdin.take();
        let write = async move {
            if let Some(mut stdin) = stdin {
                // One that does not read to the end says itself what is wrong.
                let _ = stdin.write_all(input).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), write);
        let output = output.map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::new(Kind::BadGateway, "Tesseract could not read the image.").with_source(said));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn missing() -> Error {
    Error::new(
        Kind::Setup,
        "Tesseract is not installed: install it (Debian and Ubuntu: apt-get install tesseract-ocr), set TESSERACT to its program, or set OCR_ENGINE=model.",
    )
}
