//! The library as its callers see it, on real folders.

mod create;
mod folders;
mod import;

use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{digest::Digest, gguf::fixture::Writer, *};
use crate::types::{Capability, Role};

/// A library in a folder of its own, and another folder for files to import.
struct Setup {
    model_store: ModelStore,
    models: TempDir,
    files: TempDir,
}

impl Setup {
    fn new() -> Self {
        let models = TempDir::new().expect("a folder");
        let model_store = ModelStore::open(models.path().to_owned()).expect("a library");
        Self { model_store, models, files: TempDir::new().expect("a folder") }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.files.path().join(name);
        // Not written over: an imported file and its blob are one.
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).expect("a file");
        path
    }

    fn verify(&self, entry: &Entry) -> Result<()> {
        self.model_store.verify(entry, &CancellationToken::new())
    }

    fn import(&self, model: &str) -> Arc<Entry> {
        let gguf = self.file("model.gguf", &Writer::decoder().text("general.name", model).bytes());
        take(&self.model_store, &name(model), &gguf, None).expect("an import")
    }

    /// Writes a manifest as Ollama does, with a blob for each layer.
    fn ollama(&self, model: &str, layers: &[(&str, &[u8])]) -> PathBuf {
        let layer = |(media_type, bytes): &(&str, &[u8])| {
            let digest = Digest::of(bytes);
            let folder = self.blobs_folder();
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join(digest.blob_name()), bytes).expect("a blob");
            format!(
                r#"{{"mediaType":"application/vnd.ollama.image.{media_type}","digest":"{digest}","size":{}}}"#,
                bytes.len()
            )
        };
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
            "config":{{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"{}","size":400}},
            "layers":[{}]}}"#,
            Digest::of(b"config"),
            layers.iter().map(layer).collect::<Vec<_>>().join(",")
        );
        self.manifest(model, &manifest)
    }

    fn manifest(&self, model: &str, text: &str) -> PathBuf {
        let path = manifest::path(self.models.path(), &name(model));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a manifest");
        path
    }

    fn listed(&self) -> Vec<String> {
        let entries = self.model_store.list().expect("a list");
        entries.iter().map(|entry| entry.model.name.clone()).collect()
    }

    fn blobs_folder(&self) -> PathBuf {
        blobs_of(self.models.path())
    }

    fn blobs(&self) -> usize {
        fs::read_dir(self.blobs_folder()).map_or(0, Iterator::count)
    }
}

/// Imports, whatever has the name already.
fn take(
    model_store: &ModelStore,
    name: &ModelName,
    gguf: &Path,
    projector: Option<&Path>,
) -> Result<Arc<Entry>> {
    model_store.import(Import { name, gguf, projector, replace: true }, |_, _| {})
}

fn name(text: &str) -> ModelName {
    text.parse().expect("a name")
}

/// Changes one byte and the time, as a failing disk would not but a bad copy does.
fn spoil(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    *bytes.last_mut().expect("a byte") ^= 1;
    fs::remove_file(path).expect("the old file");
    fs::write(path, bytes).expect("the spoilt file");
    touch(path);
}

/// Gives a file another time, without waiting for the clock to move on.
fn touch(path: &Path) {
    let file = fs::File::options().append(true).open(path).expect("a file");
    let before = file.metadata().and_then(|metadata| metadata.modified()).expect("a time");
    file.set_modified(before + Duration::from_secs(10)).expect("a new time");
}

#[test]
fn a_model_from_import_to_removal() {
    let setup = Setup::new();
    assert_eq!(setup.listed(), [""; 0]);
    let imported = setup.import("mine:v1");
    assert_eq!(setup.listed(), ["mine:v1"]);
    let entry = setup.model_store.find(&name("mine:v1")).expect("a search").expect("a model");
    assert!(Arc::ptr_eq(&entry, &imported), "it is read once");
    assert_eq!(entry.model.capabilities, [Capability::Completion, Capability::Tools]);
    assert_eq!(entry.model.quantization.as_deref(), Some("F16"));
    assert_eq!(entry.model.parameter_size.as_deref(), Some("1.1K"));
    assert_eq!(entry.model.context.trained, Some(128));
    assert_eq!(entry.weights_digest, Digest::of(&fs::read(&entry.weights).expect("the blob")).hex());
    let manifest = manifest::path(setup.models.path(), &name("mine:v1"));
    assert_eq!(entry.model.digest, Digest::of(&fs::read(&manifest).expect("the manifest")).hex());
    assert!(entry.model.modified_at.is_some());
    setup.verify(&entry).expect("it is whole");

    spoil(&entry.weights);
    for _ in 0..2 {
        let error = setup.verify(&entry).expect_err("it is damaged");
        assert_eq!(error.kind(), Kind::Setup);
        assert_eq!(
            error.message(),
            "The model mine:v1 is damaged (its file does not match its checksum); remove it and pull it again."
        );
        assert!(error.chain().contains(&*entry.weights.to_string_lossy()), "the path is in the log");
    }

    setup.model_store.remove(&name("mine:v1")).expect("a removal");
    assert_eq!(setup.listed(), [""; 0]);
    assert_eq!(setup.blobs(), 0);
    assert!(!setup.models.path().join("manifests/registry.ollama.ai/library/mine").exists());
    assert!(setup.model_store.find(&name("mine:v1")).expect("a search").is_none());
    assert_eq!(setup.model_store.remove(&name("mine:v1")).expect_err("gone").kind(), Kind::NotFound);
    setup.verify(&entry).expect_err("its file is gone");
}

#[test]
fn no_tag_means_latest() {
    let setup = Setup::new();
    setup.import("mine");
    for spelling in ["mine", "mine:latest", "library/mine", "registry.ollama.ai/library/mine:latest"] {
        assert!(setup.model_store.find(&name(spelling)).expect("a search").is_some(), "{spelling}");
    }
    for other in ["mine:v2", "me/mine", "yours"] {
        assert!(setup.model_store.find(&name(other)).expect("a search").is_none(), "{other}");
    }
}

#[test]
fn what_ollama_pulled_serves_here() {
    let setup = Setup::new();
    let (weights, projector) = (Writer::decoder().bytes(), Writer::projector().bytes());
    let manifest = setup.ollama(
        "hf.co/someone/llava:Q4_K_M",
        &[
            ("model", &weights),
            ("projector", &projector),
            ("template", b"{{ if .Tools }}{{ .Tools }}{{ end }}{{ .Prompt }}"),
            ("params", b"{\"stop\":[\"<|im_end|>\"]}"),
            ("license", b"Apache-2.0"),
            ("something.new", b"?"),
        ],
    );
    let entries = setup.model_store.list().expect("a list");
    let [entry] = entries.as_slice() else { panic!("one model, not {}", entries.len()) };
    assert_eq!(entry.model.name, "hf.co/someone/llava:Q4_K_M");
    assert!(entry.model.can(Capability::Vision));
    assert_eq!(entry.projector_digest.as_deref(), Some(Digest::of(&projector).hex()));
    assert!(entry.model.size > (weights.len() + projector.len() + 400) as u64);
    setup.verify(entry).expect("it is whole");

    spoil(entry.projector.as_deref().expect("a projector"));
    setup.verify(entry).expect_err("the projector is checked too");
    fs::remove_file(manifest).expect("a removal by Ollama");
    assert_eq!(setup.listed(), [""; 0]);
}

#[test]
fn a_broken_model_does_not_hide_the_others() {
    let setup = Setup::new();
    setup.import("good");
    let whole = Writer::decoder().text("general.name", "another").bytes();
    setup.manifest("not-json", "{");
    setup.manifest("escaping", r#"{"schemaVersion":2,"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:../../x","size":1}]}"#);
    setup.manifest("cloud", r#"{"schemaVersion":2,"config":null,"layers":null}"#);
    setup.ollama("not-gguf", &[("model", b"PK")]);
    setup.ollama("cut-off", &[("model", &whole[..whole.len() - 3])]);
    setup.ollama("adapted", &[("model", &whole), ("adapter", b"GGUF")]);
    setup.ollama("split", &[("model", &whole), ("model", &Writer::decoder().bytes())]);
    setup.ollama("blind", &[("model", &Writer::projector().bytes())]);
    setup.ollama("odd-eye", &[("model", &whole), ("projector", &whole)]);
    let missing = Writer::decoder().text("general.name", "missing").bytes();
    setup.ollama("missing", &[("model", &missing)]);
    fs::remove_file(setup.blobs_folder().join(Digest::of(&missing).blob_name())).expect("a blob");
    let short = Writer::decoder().text("general.name", "short").bytes();
    setup.ollama("short", &[("model", &short)]);
    fs::write(setup.blobs_folder().join(Digest::of(&short).blob_name()), b"GGUF").expect("a blob");
    fs::write(setup.models.path().join("manifests/.DS_Store"), b"x").expect("a stray file");

    assert_eq!(setup.listed(), ["good"]);
    for (model, part) in [
        ("not-json", "its manifest is not valid"),
        ("escaping", "its manifest is not valid"),
        ("cloud", "cannot run in the embedded engine: it has no GGUF file."),
        ("not-gguf", "it is not a GGUF file"),
        ("cut-off", "is damaged (it is cut off, at least 3 bytes are missing"),
        ("adapted", "it needs a LoRA adapter"),
        ("split", "its files are not the parts of one split model"),
        ("blind", "cannot run in the embedded engine: it is only a part of a language model"),
        ("odd-eye", "it is not a vision projector"),
        ("missing", "a file is missing"),
        ("short", "a file has 4 bytes instead of"),
    ] {
        let error = setup.model_store.find(&name(model)).expect_err(model);
        assert_eq!(error.kind(), Kind::Setup, "{model}");
        assert!(error.message().contains(part) && error.message().contains(model), "{model}: {error}");
        assert!(!error.message().contains('/'), "no path in {error}");
        setup.model_store.remove(&name(model)).expect("even a broken model can be removed");
    }
    assert_eq!(setup.listed(), ["good"]);
    let good = setup.model_store.find(&name("good")).expect("a search").expect("a model");
    setup.verify(&good).expect("the others were left alone");
}

#[test]
fn a_manifest_gives_its_model_defaults() {
    let setup = Setup::new();
    let whole = Writer::decoder().bytes();
    let found = |model: &str| setup.model_store.find(&name(model));
    setup.ollama("plain", &[("model", &whole), ("license", b"MIT")]);
    let plain = found("plain").expect("a search").expect("a model");
    assert_eq!(plain.modelfile, Modelfile { license: Some("MIT".to_owned()), ..Modelfile::default() });
    let messages: &[u8] = br#"[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello!"}]"#;
    setup.ollama(
        "full",
        &[
            ("model", &whole),
            ("system", b"You are Mario."),
            ("template", b"{{ .Prompt }}"),
            ("params", br#"{"stop":["USER:"],"num_ctx":512}"#),
            ("messages", messages),
        ],
    );
    let entry = found("full").expect("a search").expect("a model");
    let Modelfile { defaults, context, template, .. } = &entry.modelfile;
    assert_eq!(defaults.system.as_deref(), Some("You are Mario."));
    assert_eq!((template.as_deref(), *context), (Some("{{ .Prompt }}"), Some(512)));
    assert_eq!(defaults.sampling.stop, ["USER:"]);
    let turns = [(Role::User, "Hi"), (Role::Assistant, "Hello!")];
    assert_eq!(defaults.messages, turns.map(|(role, text)| (role, text.to_owned())));
    assert_eq!(&entry.model.defaults, defaults);
    setup.ollama("broken", &[("model", &whole), ("params", b"[]")]);
    let error = found("broken").expect_err("its parameters are no object");
    assert!(error.message().contains("its parameters are not valid"), "{error}");
}

#[test]
fn only_what_changed_is_read_again() {
    let setup = Setup::new();
    setup.import("same");
    let other = setup.import("other");
    let before = setup.model_store.list().expect("a list");
    touch(&other.weights);
    let after = setup.model_store.list().expect("a list");
    assert!(!Arc::ptr_eq(&before[0], &after[0]), "other was touched");
    assert!(Arc::ptr_eq(&before[1], &after[1]), "same was not");
}

#[test]
fn a_complaint_is_logged_once() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (setup, log) = (Setup::new(), Log::default());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let lines = || String::from_utf8_lossy(&lock(&log.0)).lines().count();
    tracing::subscriber::with_default(subscriber, || {
        setup.manifest("broken", "{");
        setup.listed();
        setup.listed();
        assert_eq!(lines(), 1);
        setup.manifest("broken", "{}");
        setup.listed();
        assert_eq!(lines(), 2, "it is another fault");
    });
}

#[test]
fn the_demo_model_is_installed_once() {
    let setup = Setup::new();
    let entry = setup.model_store.install_demo().expect("an installation");
    assert_eq!(entry.model.name, DEMO_MODEL);
    assert_eq!(entry.model.parameter_size.as_deref(), Some("2.6M"));
    assert_eq!(entry.model.capabilities, [Capability::Completion, Capability::Vision, Capability::Tools]);
    // 5 layers × 3 heads × (64 + 64) × 2 bytes
    assert_eq!(entry.architecture.kv_bytes_per_token, 3840);
    setup.verify(&entry).expect("it is whole");
    let again = setup.model_store.install_demo().expect("an installation");
    assert!(Arc::ptr_eq(&entry, &again), "nothing was written");

    fs::remove_file(&entry.weights).expect("a blob");
    setup.manifest(DEMO_MODEL, "{}");
    let mended = setup.model_store.install_demo().expect("an installation");
    setup.verify(&mended).expect("it is whole again");
    assert_eq!(mended.model.digest, entry.model.digest);
    let refused =
        setup.model_store.remove(&name("SIMPLETON-DEMO")).expect_err("the next start would bring it back");
    assert!(refused.message().contains("is built into the program"), "{refused}");
    setup.verify(&mended).expect("nothing was removed");
}

#[test]
fn an_unusable_folder_is_a_setup_error() {
    let setup = Setup::new();
    let file = setup.file("file", b"x");
    assert_eq!(ModelStore::open(file.join("models")).expect_err("a file").kind(), Kind::Setup);
    assert_eq!(ModelStore::open(file).expect_err("a file").kind(), Kind::Setup);
}

#[test]
fn a_check_that_is_stopped_says_nothing_of_the_file() {
    let setup = Setup::new();
    let entry = setup.import("mine:v1");
    let stop = CancellationToken::new();
    stop.cancel();
    let error = setup.model_store.verify(&entry, &stop).expect_err("it was stopped");
    assert_eq!(error.kind(), Kind::Unavailable);
    setup.verify(&entry).expect("it is whole");
}

#[test]
fn a_model_is_found_in_any_case() {
    let setup = Setup::new();
    setup.import("Mine:V1");
    for spelt in ["Mine:V1", "mine:v1", "LIBRARY/MINE:v1"] {
        let found = setup.model_store.find(&name(spelt)).expect("readable").expect(spelt);
        assert_eq!(found.model.name, "Mine:V1", "{spelt}");
    }
    setup.import("mine:v1");
    assert_eq!(setup.model_store.list().expect("readable").len(), 1, "it takes its place");
    setup.model_store.remove(&name("MINE:V1")).expect("removed");
    assert!(setup.model_store.list().expect("readable").is_empty());
}
