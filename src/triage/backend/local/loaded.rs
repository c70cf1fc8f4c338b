//! A model in memory.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::{LlamaBackendDevice, LlamaBackendDeviceType, list_llama_ggml_backend_devices};

use super::constrain::Constrainer;
use super::file::{self, Stamp};
use super::quiet::{self, Errors};
use super::template::Template;
use crate::config::settings::LocalSettings;
use crate::text::{clean, front};
use crate::triage::TriageError;
use crate::triage::models::gguf::{self, Header};
use crate::triage::models::{room, size};

/// Prompts whose fixed part is kept.
pub const PREFIXES: usize = 2;
/// Tokens given to one call at most.
pub const BATCH: usize = 512;
/// Tokens of a prompt read at once, on a processor and on a GPU. Between such pieces cancelling is looked at.
const CHUNKS: std::ops::RangeInclusive<u64> = 8..=64;
const CHUNK_GPU: u32 = 256;
/// What one core does in a second at the least, in multiplications with additions of a prompt.
const WORK_PER_CORE: u64 = 12_000_000_000;
/// Rough need beside weights and key-value cache: buffers, vocabulary, what holds answers to a schema.
const OVERHEAD: u64 = 120 << 20;
/// Answers at the same time at most: llama.cpp has 256 sequences.
const SLOTS_MAX: u32 = 64;

pub struct Loaded {
    pub model: Arc<LlamaModel>,
    pub constrainer: Constrainer,
    pub template: Template,
    pub name: String,
    pub path: PathBuf,
    pub stamp: Option<Stamp>,
    /// Tokens of context, all answers together.
    pub context: u32,
    pub slots: usize,
    /// Tokens of a prompt read at once.
    pub chunk: u32,
    pub threads: u32,
    gpu: bool,
    /// For people: size, context, what it runs on.
    pub about: String,
}

fn configuration(path: &Path, what: impl std::fmt::Display) -> TriageError {
    TriageError::Configuration(format!("{}: {what}", path.display()))
}

/// Cores the model may use: all but one, for the screen's.
pub fn threads(asked: u32) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    if asked == 0 { cores.saturating_sub(1).max(1) } else { asked.min(cores) }
}

impl Loaded {
    /// Reads the model. `closing` stops it.
    pub fn new(s: &LocalSettings, dir: &Path, closing: &Arc<AtomicBool>, errors: &Errors) -> Result<Self, TriageError> {
        let backend = backend(s)?;
        let path = file::resolve(&s.model, dir)?;
        // Read by ourselves before llama.cpp does: it ends the process over some of what a broken file can hold.
        let header = gguf::read_file(&path).map_err(|e| configuration(&path, e))?;
        writes_text(&header).map_err(|e| configuration(&path, e))?;
        let len = file::stamp(&path).map_or(0, |s| s.len);
        let (devices, gpus) = devices();
        let gpu = s.gpu_layers > 0 && gpus > 0;
        if !gpu {
            enough_memory(&path, len, &header, s.context_tokens)?;
        }
        errors.take();
        let stop = Arc::clone(closing);
        let params = LlamaModelParams::default()
            .with_n_gpu_layers(if gpu { s.gpu_layers } else { 0 })
            .with_progress_callback(move |_| !stop.load(Ordering::Relaxed));
        let model = LlamaModel::load_from_file(backend, &path, &params);
        if closing.load(Ordering::Relaxed) {
            return Err(TriageError::Unavailable("the desk is closing".into()));
        }
        let model = Arc::new(model.map_err(|e| configuration(&path, why(&errors.take(), &e.to_string())))?);
        usable(&model).map_err(|e| configuration(&path, e))?;
        let context = s.context_tokens.min(model.n_ctx_train()).max(256);
        let constrainer = Constrainer::new(&model).map_err(|e| configuration(&path, e))?;
        let threads = threads(s.threads);
        let loaded = Self {
            template: Template::of(&model),
            name: file::name(&path),
            stamp: file::stamp(&path),
            context,
            slots: s.batch.clamp(1, SLOTS_MAX) as usize,
            chunk: if gpu { CHUNK_GPU } else { chunk(model.n_params(), threads) },
            threads,
            gpu,
            about: about(s, len, context, threads, gpu, &devices),
            constrainer,
            model,
            path,
        };
        tracing::info!(model = %loaded.name, about = %loaded.about, chunk = loaded.chunk, "local model loaded");
        Ok(loaded)
    }

    /// The memory answers are made in.
    pub fn context<'m>(&'m self, s: &LocalSettings, errors: &Errors) -> Result<LlamaContext<'m>, TriageError> {
        let backend = backend(s)?;
        let threads = i32::try_from(self.threads).unwrap_or(1);
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(self.context))
            .with_n_batch(BATCH as u32)
            .with_n_ubatch(self.chunk)
            .with_n_seq_max((self.slots + PREFIXES) as u32)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            // One pool of cells for all sequences, or each would have its share only.
            .with_kv_unified(true)
            // A cache of the last tokens only could not be shared between requests.
            .with_swa_full(true)
            .with_offload_kqv(self.gpu)
            .with_op_offload(self.gpu)
            .with_no_perf(true);
        errors.take();
        self.model.new_context(backend, params).map_err(|e| {
            let why = why(&errors.take(), &e.to_string());
            configuration(&self.path, format!("{why}; a smaller triage.local.context_tokens may help"))
        })
    }
}

/// llama.cpp, made ready once for the process.
fn backend(s: &LocalSettings) -> Result<&'static LlamaBackend, TriageError> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    processor().map_err(TriageError::Configuration)?;
    if s.backends.is_some() && !cfg!(feature = "dynamic-backends") {
        return Err(TriageError::Configuration(
            "triage.local.backends: this build has its backend built in; one made with `--features dynamic-backends` loads them from a folder".into(),
        ));
    }
    let made = BACKEND.get_or_init(|| {
        quiet::redirect();
        #[cfg(feature = "dynamic-backends")]
        load_backends(s)?;
        LlamaBackend::init().map_err(|e| e.to_string())
    });
    made.as_ref().map_err(|e| TriageError::Configuration(format!("llama.cpp does not start: {e}")))
}

#[cfg(feature = "dynamic-backends")]
fn load_backends(s: &LocalSettings) -> Result<(), String> {
    use llama_cpp_2::llama_backend::{load_backends, load_backends_from_path};
    match &s.backends {
        Some(dir) if dir.is_dir() && dir.to_str().is_some_and(|d| !d.contains('\0')) => load_backends_from_path(dir),
        Some(dir) => return Err(format!("triage.local.backends: there is no folder {}", dir.display())),
        None => load_backends(),
    }
    if list_llama_ggml_backend_devices().is_empty() {
        return Err("no backend library was found: set triage.local.backends to the folder that holds them".into());
    }
    Ok(())
}

/// The model's code is built for processors of 2013 on; on an older one it would end the process.
fn processor() -> Result<(), String> {
    #[cfg(all(target_arch = "x86_64", not(feature = "dynamic-backends")))]
    {
        let has = [
            ("AVX2", std::is_x86_feature_detected!("avx2")),
            ("FMA", std::is_x86_feature_detected!("fma")),
            ("F16C", std::is_x86_feature_detected!("f16c")),
            ("BMI2", std::is_x86_feature_detected!("bmi2")),
        ];
        let missing: Vec<_> = has.iter().filter(|h| !h.1).map(|h| h.0).collect();
        if !missing.is_empty() {
            return Err(format!(
                "triage.backend: a local model needs a processor with {}; use `openai` with a model server, or `rules`",
                missing.join(", ")
            ));
        }
    }
    Ok(())
}

/// What there is to run on, in words, and how many of these are GPUs.
fn devices() -> (String, usize) {
    let gpu = |d: &LlamaBackendDevice| {
        matches!(d.device_type, LlamaBackendDeviceType::Gpu | LlamaBackendDeviceType::IntegratedGpu)
    };
    let all = list_llama_ggml_backend_devices();
    let words = |d: &LlamaBackendDevice| {
        if gpu(d) {
            format!("{} ({}, {} free)", d.name, d.description.trim(), size(d.memory_free as u64))
        } else {
            d.name.clone()
        }
    };
    let words: Vec<String> = all.iter().map(words).collect();
    (words.join(", "), all.iter().filter(|d| gpu(d)).count())
}

fn about(s: &LocalSettings, len: u64, context: u32, threads: u32, gpu: bool, devices: &str) -> String {
    let cores = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    let on = match (s.gpu_layers, gpu) {
        (_, true) => format!("up to {} layers on the GPU", s.gpu_layers),
        (0, _) => format!("CPU, {cores}"),
        (n, _) => format!("CPU, {cores} ({n} layers were to be on a GPU, but there is none)"),
    };
    format!("{}, {context} tokens of context, {on}; devices: {devices}", size(len))
}

/// Small enough that a slow machine looks at cancelling several times a second, large enough to be worth it; the same on
/// every run, since the last bits of a result hang on it.
fn chunk(params: u64, threads: u32) -> u32 {
    let per_second = WORK_PER_CORE * u64::from(threads) / params.max(1);
    let chunk = (per_second / 2).clamp(*CHUNKS.start(), *CHUNKS.end());
    (chunk / 8 * 8) as u32
}

/// Refuses what this machine cannot hold. What it can hold, but not now, is slow, and that is said.
fn enough_memory(path: &Path, len: u64, header: &Header, context: u32) -> Result<(), TriageError> {
    let cache = header.cache_bytes_per_token.unwrap_or(0).saturating_mul(u64::from(context));
    let own = cache.saturating_add(OVERHEAD);
    let need = own.saturating_add(len);
    let room = room(path.parent().unwrap_or(path));
    // The weights are the file's own pages, which come and go; the cache and the buffers must be had.
    if room.memory.is_some_and(|all| need > all) || room.memory_free.is_some_and(|free| own > free) {
        let words = |n: Option<u64>| n.map_or("an unknown amount".to_owned(), size);
        let (all, free) = (words(room.memory), words(room.memory_free));
        let what = format!("the model needs about {} of memory; there is {all}, {free} of it free", size(need));
        return Err(configuration(path, format!("{what}: a smaller model or triage.local.context_tokens may fit")));
    }
    if room.memory_free.is_some_and(|free| need > free) {
        tracing::warn!(need, ?room, "the local model hardly fits into memory: it will be slow");
    }
    Ok(())
}

/// Whether it is a model that writes, and whole.
fn writes_text(header: &Header) -> Result<(), String> {
    let kind = header.architecture.as_ref().map(|a| a.expose().to_owned()).unwrap_or_default();
    if kind.is_empty() {
        return Err("the file does not say what kind of model it holds".into());
    }
    if kind.contains("bert") || kind.starts_with("t5") || kind == "clip" {
        return Err(format!("a model of kind {} does not write text", clean(&front(&kind, 40).into())));
    }
    if header.tensors == 0 {
        return Err("the file holds a vocabulary and no model".into());
    }
    Ok(())
}

fn usable(model: &LlamaModel) -> Result<(), String> {
    if model.meta_val_str("tokenizer.ggml.model").is_ok_and(|kind| kind == "no_vocab") || model.n_vocab() <= 0 {
        return Err("the model has no vocabulary".into());
    }
    if model.n_ctx_train() < 512 {
        return Err(format!("the model reads {} tokens, an alert needs more", model.n_ctx_train()));
    }
    Ok(())
}

/// One sentence of what llama.cpp said when it could not.
fn why(errors: &[String], otherwise: &str) -> String {
    let all = errors.join(" ");
    if all.contains("not within the file bounds") || all.contains("unexpectedly reached end") {
        return "the file is cut off or damaged: get it again".into();
    }
    if let Some((_, name)) = all.split_once("unknown model architecture: '") {
        let name = name.split('\'').next().unwrap_or_default();
        return format!("this build knows no models of kind {}", clean(&front(name, 40).into()));
    }
    // The first line is nearest to the cause; later ones say where it was noticed.
    let first = errors.iter().map(|e| e.trim()).find(|e| !e.is_empty()).unwrap_or(otherwise);
    format!("llama.cpp cannot load it: {}", clean(&front(first, 200).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_is_left_to_the_screen() {
        let cores = std::thread::available_parallelism().unwrap().get() as u32;
        assert_eq!(threads(0), cores.saturating_sub(1).max(1));
        assert_eq!(threads(1), 1);
        assert_eq!(threads(10_000), cores);
    }

    #[test]
    fn large_models_on_few_cores_read_in_small_pieces() {
        assert_eq!(chunk(134_000_000, 1), 40);
        assert_eq!(chunk(134_000_000, 7), 64);
        assert_eq!(chunk(8_000_000_000, 2), 8);
        assert!(chunk(8_000_000_000, 64) <= 64);
    }

    #[test]
    fn what_llama_cpp_said_becomes_one_sentence() {
        let said = |lines: &[&str]| why(&lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>(), "null result");
        assert!(said(&["tensor 'x' data is not within the file bounds, model is corrupted"]).contains("get it again"));
        assert!(said(&["error loading model: unknown model architecture: 'foo9'"]).ends_with("of kind foo9"));
        assert_eq!(said(&[]), "llama.cpp cannot load it: null result");
    }
}
