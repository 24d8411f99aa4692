//! `simpleton doctor`: checks everything the server needs and explains how to fix problems.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{serve::runtime, terminal::say};
use crate::{
    app::health::{self, Part},
    backend::{self, Backend, ollama::Ollama},
    cache::Redis,
    config::Config,
    data_dir::DataDir,
    engine::{GpuLayers, Located, locate},
    error::{Error, Kind, Result},
    model_store::ModelStore,
    store::{History, Responses},
    tesseract::{OcrEngine, Tesseract},
    types::Model,
    value_parser::authority,
    vectors::{self, Qdrant, Sqlite},
};

/// # Errors
/// `Kind::Setup` when there are problems; every finding has been printed by then.
pub(super) fn run(config: &Config) -> Result<()> {
    let mut report = Report::default();
    report.note("data directory", data_directory(config));
    runtime()?.block_on(async {
        report.note("statistics", History::describe(&config.history, &config.server.data_dir).await);
        report.note("responses", Responses::describe(&config.responses, &config.server.data_dir).await);
        report.note("address", address(config).await);
        report.note("OCR", ocr(config).await);
        if let Some(url) = config.cache.redis_url.as_deref().filter(|_| config.cache.cache_enabled) {
            report.note("Redis", Redis::check(url).await);
        }
        match &config.vectors.qdrant_url {
            Some(url) => {
                report.note("Qdrant", Qdrant::check(url, config.vectors.qdrant_api_key.as_ref()).await);
            }
            None => {
                let file = vectors::file(&config.server.data_dir);
                report.note("documents", Sqlite::describe(file).await);
            }
        }
        match &config.ollama.ollama_base_url {
            Some(url) => ollama(url, config, &mut report).await,
            None => {
                engine(config, &mut report).await;
                models(config, &mut report);
            }
        }
    });
    match report.problems {
        0 => Ok(()),
        1 => Err(Error::new(Kind::Setup, "1 problem found; see above.")),
        problems => Err(Error::new(Kind::Setup, format!("{problems} problems found; see above."))),
    }
}

#[derive(Default)]
struct Report {
    problems: usize,
}

impl Report {
    fn note(&mut self, what: &str, finding: Result<String>) {
        match finding {
            Ok(finding) => say(format_args!("ok     {what:14} {finding}")),
            Err(error) => {
                self.problems += 1;
                say(format_args!("error  {what:14} {}", error.chain()));
            }
        }
    }
}

fn data_directory(config: &Config) -> Result<String> {
    let path = &config.server.data_dir;
    match DataDir::open(path) {
        Ok(data_dir) => Ok(data_dir.exposure().unwrap_or_else(|| path.display().to_string())),
        // A server that runs holds the lock, and that is as it should be.
        Err(error) if error.message().starts_with("Another Simpleton") => {
            Ok(format!("{} (in use by a running server)", path.display()))
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
            let health = super::serve::health_of(config).await?;
            match health.problem() {
                None => Ok(format!("a healthy server is running on {shown}")),
                Some(problem) => Err(Error::new(
                    Kind::Setup,
                    format!("the server on {shown} is {}: {problem}", health.status()),
                )),
            }
        }
        Err(source) => Err(Error::new(Kind::Setup, format!("cannot listen on {shown}; check HOST and PORT"))
            .with_source(source)),
    }
}

async fn ollama(url: &str, config: &Config, report: &mut Report) {
    let ollama = match Ollama::new(url, config.ollama.ollama_api_key.as_ref(), (&config.client).into()) {
        Ok(ollama) => ollama,
        Err(error) => return report.note("Ollama", Err(error)),
    };
    let version = ollama.version().await;
    let part = health::of_backend(&backend::ollama::PROFILE, version.as_deref());
    report.note("Ollama", judged(part, version.map(|version| format!("version {version}"))));
    let models = ollama.models().await;
    let part = health::of_models(&backend::ollama::PROFILE, &config.models, models.as_deref());
    report.note("models", judged(part, models.map(|models| names(&models))));
}

async fn engine(config: &Config, report: &mut Report) {
    let located = locate(&config.engine, &config.server.data_dir).await;
    let part = health::of_backend(
        &backend::embedded::PROFILE,
        located.as_ref().map(|located| located.version.as_str()),
    );
    let gpu = match &located {
        Ok(located) => Some(gpu(located, config.engine.engine_gpu_layers).await),
        Err(_) => None,
    };
    let found = located.map(|found| format!("llama-server {} in {}", found.version, found.path.display()));
    report.note("engine", judged(part, found));
    gpu.into_iter().for_each(|gpu| report.note("GPU", gpu));
}

/// The GPUs that the engine can use, and how many layers of a model go there.
async fn gpu(engine: &Located, layers: GpuLayers) -> Result<String> {
    let gpus = engine.gpus().await?;
    if gpus.is_empty() {
        return Ok("none that the engine can use; models run on the CPU".to_owned());
    }
    let layers = match layers {
        GpuLayers::Auto => "as many layers of each model as fit".to_owned(),
        GpuLayers::AtMost(0) => "not used, because ENGINE_GPU_LAYERS is 0".to_owned(),
        GpuLayers::AtMost(layers) => format!("up to {layers} layers of each model"),
    };
    Ok(format!("{}: {layers}", gpus.join(", ")))
}

/// Findings, in the words of `/health` when something is wrong.
fn judged(part: Part, found: Result<String>) -> Result<String> {
    let Some(detail) = part.detail else { return found };
    let problem = Error::new(Kind::Setup, detail);
    match found.as_ref().err().and_then(Error::causes) {
        Some(causes) => Err(problem.with_source(causes)),
        None => Err(problem),
    }
}

fn names(models: &[Model]) -> String {
    models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ")
}

async fn ocr(config: &Config) -> Result<String> {
    let (tesseract, engine) = (Tesseract::new(&config.ocr), config.ocr.ocr_engine);
    Ok(match (tesseract.wanted(engine).await?, engine) {
        (None, OcrEngine::Model) => "the default vision model".to_owned(),
        (None, _) => "the default vision model, since Tesseract is not installed".to_owned(),
        (Some(version), _) => {
            let auto = "a vision model if one besides the demo is installed, else ";
            let before = if engine == OcrEngine::Auto { auto } else { "" };
            format!("{before}{version}, languages: {}", tesseract.languages())
        }
    })
}

fn models(config: &Config, report: &mut Report) {
    let model_store = match ModelStore::configured(&config.model_store, &config.server.data_dir) {
        Ok(model_store) => model_store,
        Err(error) => return report.note("models", Err(error)),
    };
    if let Some(named) = model_store.check_named().transpose() {
        report.note("MODELS_DIR", named.map(|path| path.display().to_string()));
    }
    report.note("models", installed(&model_store, config));
}

fn installed(model_store: &ModelStore, config: &Config) -> Result<String> {
    model_store.install_demo()?;
    let entries = model_store.list()?;
    for entry in &entries {
        model_store.verify(entry, &CancellationToken::new())?;
    }
    let models: Vec<Model> = entries.iter().map(|entry| entry.model.clone()).collect();
    judged(health::of_models(&backend::embedded::PROFILE, &config.models, Ok(&models)), Ok(names(&models)))
}
