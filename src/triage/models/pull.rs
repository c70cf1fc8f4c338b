//! Bringing a model here: first a plan that a person can say yes to, then the bytes, then the checks.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::fetch::{Fetcher, Limits, Remote, write_fault};
use super::gguf::{self, Header};
use super::hub::{About, Hub};
use super::place::{self, Fit, Room};
use super::registry::{Entry, Model, Part, Pin, Registry, check_name, read_entry, read_short, sync_dir};
use super::source::Source;
use super::{Digest, ModelError, Result, size};
use crate::text::Untrusted;

/// Left free on the disk at least.
const SPARE: u64 = 64 << 20;

/// How the network may be used. Nothing is, unless a person pulls.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    /// Base address of the hub.
    pub hub: String,
    pub hub_token: Option<Zeroizing<String>>,
    /// PEM file of authorities besides the system's.
    pub ca: Option<PathBuf>,
    /// Plain http to other hosts too.
    pub insecure_http: bool,
    pub limits: Limits,
}

/// What a person asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub source: Source,
    /// `None`: made of the source's own name.
    pub name: Option<String>,
    pub sha256: Option<Digest>,
    /// Takes the first bytes that come when nobody vouches for a digest.
    pub accept_unpinned: bool,
    /// Takes the place of a model of that name.
    pub replace: bool,
}

/// What would be brought here.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub name: String,
    pub source: Untrusted,
    /// Host that serves it, after redirects.
    pub served_by: Option<Untrusted>,
    pub licence: Option<Untrusted>,
    /// Who says so: `hub`, `file` or `record`.
    pub licence_from: Option<&'static str>,
    /// Terms must be accepted on the hub's page first.
    pub gated: bool,
    pub bytes: Option<u64>,
    /// Of an earlier try, already here.
    pub here: u64,
    pub sha256: Option<Digest>,
    pub pinned: Pin,
    pub header: Option<Header>,
    pub memory: Option<u64>,
    pub fit: Fit,
    pub room: Room,
    /// A model of this name is here and would be replaced.
    pub replaces: bool,
    /// It is here already, byte for byte: only its record is written again.
    pub already: bool,
    #[serde(skip)]
    from: From,
}

#[derive(Clone, Debug)]
enum From {
    File(PathBuf),
    Net(reqwest::Url, bool),
}

/// What is going on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Step {
    Bytes { have: u64, total: Option<u64> },
    Retry { why: String, have: u64, pause_ms: u64 },
    Restart { why: &'static str },
    Checking { have: u64, total: u64 },
}

/// Brings models into a registry.
#[derive(Debug)]
pub struct Puller<'a> {
    registry: &'a Registry,
    out: Outbound,
}

impl<'a> Puller<'a> {
    pub fn new(registry: &'a Registry, out: Outbound) -> Self {
        Self { registry, out }
    }

    /// Asks what it is, how large, under which licence, and whether there is room. A URL's first 256 KiB are read for
    /// that; nothing is kept.
    ///
    /// # Errors
    /// No such thing; no digest to hold it to and none accepted; a model of that name is here; no room on the disk.
    pub async fn plan(&self, wanted: &Wanted) -> Result<Plan> {
        let name = match &wanted.name {
            Some(name) => name.strip_suffix(".gguf").unwrap_or(name).to_owned(),
            None => wanted.source.own_name()?,
        };
        check_name(&name)?;
        let mut plan = match &wanted.source {
            Source::File(path) => self.plan_file(name, path, wanted)?,
            net => self.plan_net(name, net, wanted).await?,
        };
        if plan.header.as_ref().is_some_and(|h| h.parts > 1) {
            let parts = plan.header.as_ref().map_or(0, |h| h.parts);
            return Err(ModelError::No(format!(
                "it is one of {parts} parts of a model; join them first (llama-gguf-split --merge) or take a whole one"
            )));
        }
        plan.memory = plan.bytes.map(|b| place::need(b, plan.header.as_ref(), self.registry.context()));
        plan.fit = plan.memory.map_or(Fit::Unknown, |m| Fit::of(m, &plan.room));
        let more = plan.bytes.map(|b| b.saturating_sub(plan.here).saturating_add(SPARE));
        if let (Some(more), Some(free)) = (more, plan.room.disk_free)
            && more > free
        {
            let (more, free) = (size(more), size(free));
            return Err(ModelError::No(format!(
                "{} has {free} free, {more} are needed",
                self.registry.dir().display()
            )));
        }
        plan.already = plan.replaces && self.is_here(&plan);
        if plan.replaces && !plan.already && !wanted.replace {
            return Err(ModelError::Refused(format!(
                "there is a model {} already; --name gives this one another name, --replace puts it in its place",
                plan.name
            )));
        }
        Ok(plan)
    }

    fn plan_file(&self, name: String, path: &Path, wanted: &Wanted) -> Result<Plan> {
        let fault = |e: &dyn std::fmt::Display| ModelError::No(format!("{}: {e}", path.display()));
        let header = gguf::read_file(path).map_err(|e| fault(&e))?;
        let bytes = fs::metadata(path).map_err(|e| fault(&e))?.len();
        let beside = beside(path)?;
        let told = beside.as_ref().and_then(|b| b.licence.clone());
        let (sha256, pinned) = match (&wanted.sha256, beside.as_ref().map(|b| b.sha256.clone())) {
            (Some(given), _) => (Some(given.clone()), Pin::Person),
            (None, Some(listed)) => (Some(listed), Pin::Beside),
            (None, None) => (None, Pin::First),
        };
        let licence_from = if told.is_some() { Some("record") } else { header.licence.as_ref().map(|_| "file") };
        Ok(Plan {
            source: beside.and_then(|b| b.source).unwrap_or_else(|| path.display().to_string().into()),
            served_by: None,
            licence: told.or_else(|| header.licence.clone()),
            licence_from,
            bytes: Some(bytes),
            sha256,
            pinned,
            header: Some(header),
            ..self.blank(name, From::File(path.to_owned()))
        })
    }

    async fn plan_net(&self, name: String, source: &Source, wanted: &Wanted) -> Result<Plan> {
        let fetcher = Fetcher::new(&self.out)?;
        let (url, about, with_token) = match source {
            Source::Hub(file) => {
                let hub = Hub::new(&self.out.hub)?;
                let about = hub.about(&fetcher, file, self.token()).await?;
                (hub.url(file)?, about, true)
            }
            Source::Url(url) => (url.clone(), About::default(), false),
            Source::File(path) => return self.plan_file(name, path, wanted),
        };
        let (sha256, pinned) = match (&wanted.sha256, about.sha256) {
            (Some(given), Some(hub)) if *given != hub => {
                return Err(ModelError::No(format!("the hub's digest is {hub}, not the one given, {given}")));
            }
            (Some(given), _) => (Some(given.clone()), Pin::Person),
            (None, Some(hub)) => (Some(hub), Pin::Hub),
            (None, None) => (None, Pin::First),
        };
        if sha256.is_none() && !wanted.accept_unpinned {
            return Err(ModelError::Usage(
                "nobody vouches for what comes: give its digest with --sha256, or --accept-unpinned to take the first \
                 bytes that come and hold later ones to them"
                    .into(),
            ));
        }
        let seen = fetcher.look(&url, if with_token { self.token() } else { None }).await?;
        if let (Some(said), Some(has)) = (about.bytes, seen.bytes)
            && said != has
        {
            return Err(ModelError::No(format!("the hub says {said} bytes, its server {has}")));
        }
        let in_file = seen.header.as_ref().and_then(|h| h.licence.clone());
        let licence_from = if about.licence.is_some() { Some("hub") } else { in_file.as_ref().map(|_| "file") };
        Ok(Plan {
            source: source.shown().into(),
            served_by: Some(seen.host.into()),
            licence: about.licence.or(in_file),
            licence_from,
            gated: about.gated,
            bytes: about.bytes.or(seen.bytes),
            sha256,
            pinned,
            header: seen.header,
            ..self.blank(name, From::Net(url, with_token))
        })
    }

    fn blank(&self, name: String, from: From) -> Plan {
        let here = fs::metadata(self.registry.part(&name)).map_or(0, |m| m.len());
        Plan {
            here: if matches!(from, From::Net(..)) { here } else { 0 },
            replaces: self.registry.file(&name).exists(),
            already: false,
            name,
            source: Untrusted::default(),
            served_by: None,
            licence: None,
            licence_from: None,
            gated: false,
            bytes: None,
            sha256: None,
            pinned: Pin::First,
            header: None,
            memory: None,
            fit: Fit::Unknown,
            room: self.registry.room(),
            from,
        }
    }

    fn token(&self) -> Option<&str> {
        self.out.hub_token.as_deref().map(String::as_str)
    }

    /// The model is here already, and its bytes are those planned.
    fn is_here(&self, plan: &Plan) -> bool {
        let path = self.registry.file(&plan.name);
        let long = fs::metadata(&path).is_ok_and(|m| Some(m.len()) == plan.bytes);
        let same_path = |from: &PathBuf| fs::canonicalize(from).ok() == fs::canonicalize(&path).ok();
        long && match (&plan.sha256, &plan.from) {
            (Some(want), _) => Digest::of_file(&path, &mut |_| {}).is_ok_and(|d| d == *want),
            // A file that lies in the folder is taken up where it is.
            (None, From::File(from)) => same_path(from),
            (None, From::Net(..)) => false,
        }
    }

    /// Does what was planned. Nothing is kept that fails a check.
    ///
    /// # Errors
    /// [`ModelError::Unreachable`]: what came is kept, and the next pull goes on from there.
    pub async fn pull(&self, plan: &Plan, told: &(dyn Fn(Step) + Send + Sync)) -> Result<Model> {
        self.registry.make_dir()?;
        let here = self.registry.file(&plan.name);
        if plan.already {
            let header = gguf::read_file(&here).map_err(|e| ModelError::No(format!("{}: {e}", here.display())))?;
            let digest = match &plan.sha256 {
                Some(digest) => digest.clone(),
                None => self.hash(&here, plan.bytes.unwrap_or(0), told)?,
            };
            self.registry.write_entry(&plan.name, &entry(plan, digest, plan.bytes.unwrap_or(0), &header))?;
            return self.registry.get(&plan.name);
        }
        let mut part = Part::open(self.registry, &plan.name)?;
        let state = self.registry.part_record(&plan.name);
        let bytes = match &plan.from {
            From::File(path) => copy(path, &mut part, told)?,
            From::Net(url, with_token) => {
                let token = if *with_token { self.token() } else { None };
                let remote = Remote { url, token, bytes: plan.bytes, pinned: plan.sha256.is_some(), state: &state };
                let brought = Fetcher::new(&self.out)?.download(&mut part, &remote, told).await;
                if brought.is_err() && part.file.metadata().is_ok_and(|m| m.len() == 0) {
                    let _ = fs::remove_file(&part.path);
                    let _ = fs::remove_file(&state);
                }
                brought?
            }
        };
        match self.check(plan, &part, bytes, told) {
            Ok((digest, header)) => self.keep(plan, &part, &entry(plan, digest, bytes, &header)),
            Err(e) => {
                // Gone while the lock is still held, so that nobody goes on with it.
                let _ = fs::remove_file(&part.path);
                let _ = fs::remove_file(&state);
                Err(e)
            }
        }
    }

    fn hash(&self, path: &Path, total: u64, told: &(dyn Fn(Step) + Send + Sync)) -> Result<Digest> {
        Digest::of_file(path, &mut |have| told(Step::Checking { have, total }))
            .map_err(|e| ModelError::No(format!("{}: {e}", path.display())))
    }

    fn check(
        &self,
        plan: &Plan,
        part: &Part,
        bytes: u64,
        told: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<(Digest, Header)> {
        if let Some(want) = plan.bytes.filter(|want| *want != bytes) {
            return Err(ModelError::No(format!("{bytes} bytes came, expected {want}; nothing was kept")));
        }
        let digest = self.hash(&part.path, bytes, told)?;
        if let Some(want) = plan.sha256.as_ref().filter(|want| **want != digest) {
            return Err(ModelError::No(format!(
                "the digest is not the one expected, nothing was kept\n  expected {want} ({})\n  got      {digest}",
                plan.pinned.words()
            )));
        }
        let header = gguf::read_file(&part.path).map_err(|e| ModelError::No(format!("{e}; nothing was kept")))?;
        if header.parts > 1 {
            return Err(ModelError::No(format!("it is one of {} parts of a model; nothing was kept", header.parts)));
        }
        Ok((digest, header))
    }

    /// Puts the checked file in its place. A record is written after it, so that one never speaks of another's bytes.
    fn keep(&self, plan: &Plan, part: &Part, entry: &Entry) -> Result<Model> {
        let path = self.registry.file(&plan.name);
        let fault = |e: std::io::Error| self.registry.fault("cannot be put in its place", &path, &e);
        part.file.sync_all().map_err(fault)?;
        let _ = fs::remove_file(self.registry.record(&plan.name));
        fs::rename(&part.path, &path).map_err(fault)?;
        sync_dir(self.registry.dir()).map_err(fault)?;
        self.registry.write_entry(&plan.name, entry)?;
        let _ = fs::remove_file(self.registry.part_record(&plan.name));
        self.registry.get(&plan.name)
    }
}

fn entry(plan: &Plan, digest: Digest, bytes: u64, header: &Header) -> Entry {
    Entry {
        source: plan.source.clone(),
        sha256: digest,
        pinned: plan.pinned,
        bytes,
        licence: plan.licence.clone().or_else(|| header.licence.clone()),
        architecture: header.architecture.clone(),
        parameters: header.parameters,
        quantisation: header.quantisation.clone(),
        context_length: header.context_length,
        added_at: Timestamp::now(),
    }
}

/// What stands beside an offline copy.
struct Beside {
    sha256: Digest,
    licence: Option<Untrusted>,
    source: Option<Untrusted>,
}

/// The record of another registry (`NAME.toml`), or the output of `sha256sum` (`FILE.sha256`).
fn beside(path: &Path) -> Result<Option<Beside>> {
    let record = path.with_extension("toml");
    if let Ok(text) = read_short(&record) {
        let entry = read_entry(&text, &record).map_err(ModelError::No)?;
        return Ok(Some(Beside { sha256: entry.sha256, licence: entry.licence, source: Some(entry.source) }));
    }
    let mut sums = path.as_os_str().to_owned();
    sums.push(".sha256");
    let Ok(text) = read_short(Path::new(&sums)) else { return Ok(None) };
    let first = text.split_whitespace().next().unwrap_or_default();
    let sha256 = first.parse().map_err(|e| ModelError::No(format!("{}: {e}", Path::new(&sums).display())))?;
    Ok(Some(Beside { sha256, licence: None, source: None }))
}

fn copy(from: &Path, part: &mut Part, told: &(dyn Fn(Step) + Send + Sync)) -> Result<u64> {
    let fault = |e: std::io::Error| ModelError::No(format!("{}: {e}", from.display()));
    let mut source = File::open(from).map_err(fault)?;
    let total = source.metadata().map_err(fault)?.len();
    part.file.set_len(0).map_err(|e| write_fault(&part.path, 0, &e))?;
    let (mut buf, mut have) = (vec![0; 1 << 20], 0);
    loop {
        let n = source.read(&mut buf).map_err(fault)?;
        if n == 0 {
            return Ok(have);
        }
        if let Err(e) = part.file.write_all(&buf[..n]) {
            let _ = fs::remove_file(&part.path);
            return Err(ModelError::No(format!("{}: cannot be written: {e}; nothing was kept", part.path.display())));
        }
        have += n as u64;
        told(Step::Bytes { have, total: Some(total) });
    }
}
