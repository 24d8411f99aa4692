//! `simpleton doctor`: looks at everything the server needs and says what to do about what is amiss.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{say, serve::runtime};
use crate::{
    backend::{Backend, ollama::Ollama},
    config::Config,
    data_dir::DataDir,
    engine::locate,
    error::{Error, Kind, Result},
    library::Library,
    ocr::{OcrEngine, Tesseract},
    setting::authority,
};

/// # Errors
/// `Kind::Setup` when something is amiss; every finding has been printed by then.
pub(super) fn run(config: &Config) -> Result<()> {
    let mut report = Report::default();
    report.note("data folder", data_folder(config));
    runtime()?.block_on(async {
        report.note("address", address(config).await);
        if config.ocr.ocr_engine == OcrEngine::Tesseract {
            report.note("OCR", ocr(config).await);
        }
        match &config.ollama.ollama_base_url {
            Some(url) => report.note("Ollama", ollama(url, config).await),
            None => {
                report.note("engine", engine(config).await);
                report.note("models", models(config));
            }
        }
    });
    match report.amiss {
        0 => Ok(()),
        1 => Err(Error::new(Kind::Setup, "One thing is amiss; see above.")),
        amiss => Err(Error::new(Kind::Setup, format!("{amiss} things are amiss; see above."))),
    }
}

#[derive(Default)]
struct Report {
    amiss: usize,
}

impl Report {
    fn note(&mut self, what: &str, finding: Result<String>) {
        match finding {
            Ok(finding) => say(format_args!("ok     {what:12} {finding}")),
            Err(error) => {
                self.amiss += 1;
                say(format_args!("amiss  {what:12} {}", error.chain()));
            }
        }
    }
}

fn data_folder(config: &Config) -> Result<String> {
    let path = &config.server.data_dir;
    match DataDir::open(path) {
        Ok(_) => Ok(path.display().to_string()),
        // A server that runs holds the lock, and that is as it should be.
        Err(error) if error.message().starts_with("Another Simpleton") => {
            Ok(format!("{} (a server is running on it)", path.display()))
        }
        Err(error) => Err(error),
    }
}

async fn address(config: &Config) -> Result<String> {
    let (host, port) = (config.server.host.as_str(), config.server.port);
    let shown = authority(host, port);
    match TcpListener::bind((host, port)).await {
        Ok(_) => Ok(format!("{shown} is free")),
        Err(source) if source.kind() == std::io::ErrorKind::AddrInUse => {
            super::serve::health_of(config).await.map(|_| format!("a healthy server answers on {shown}"))
        }
        Err(source) => {
            Err(Error::new(Kind::Setup, format!("cannot listen on {shown}; check HOST and PORT"))
                .because(source))
        }
    }
}

async fn ollama(url: &str, config: &Config) -> Result<String> {
    let ollama = Ollama::new(url, (&config.client).into())?;
    let version = ollama.version().await?;
    let models = ollama.models().await?;
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    Ok(format!("version {version}; models: {}", names.join(", ")))
}

async fn engine(config: &Config) -> Result<String> {
    let located = locate(&config.engine, &config.server.data_dir).await?;
    Ok(format!("llama-server {} in {}", located.version, located.path.display()))
}

async fn ocr(config: &Config) -> Result<String> {
    let tesseract = Tesseract::new(&config.ocr);
    let version = tesseract.version().await?;
    Ok(format!("{version}, languages: {}", tesseract.languages()))
}

fn models(config: &Config) -> Result<String> {
    let library = Library::open(config.library.folder(&config.server.data_dir))?;
    library.install_demo()?;
    let entries = library.list()?;
    for entry in &entries {
        library.verify(entry, &CancellationToken::new())?;
    }
    let names: Vec<&str> = entries.iter().map(|entry| entry.model.name.as_str()).collect();
    Ok(names.join(", "))
}
