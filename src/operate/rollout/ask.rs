//! Asking for what a look at a rollout needs: counters of a Prometheus server, addresses of the new side.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::config::ErrorRules;
use super::config::Smoke;
use super::gate::ratio::Counter;
use super::gate::ratio::Reading;
use super::look::Ask;
use super::look::Asks;
use super::look::Counted;
use super::look::OldSide;
use crate::config::settings::OperateSettings;
use crate::config::settings::PrometheusSettings;
use crate::model::health::SourceWord;
use crate::operate::sla::ProbeOf;
use crate::operate::sla::probe::Prober;
use crate::operate::slo::source::Feed;
use crate::operate::slo::source::Secrets;
use crate::operate::slo::source::prometheus::Fault;
use crate::operate::slo::source::prometheus::Server;
use crate::operate::slo::source::prometheus::Tracks;
use crate::operate::slo::source::query::Selector;
use crate::operate::slo::source::saved;

/// Longest time all questions about one rollout may take together.
const LIMIT: Duration = Duration::from_secs(45);

/// Keeps connections from one look to the next.
pub struct Asker {
    settings: BTreeMap<String, PrometheusSettings>,
    parallel: u32,
    secrets: Secrets,
    feed: Option<Feed>,
    servers: Mutex<BTreeMap<String, Server>>,
    prober: Result<Prober, String>,
}

impl Asker {
    pub fn new(settings: &OperateSettings, secrets: Secrets) -> Self {
        Self {
            settings: settings.prometheus.clone(),
            parallel: settings.parallel,
            secrets,
            feed: None,
            servers: Mutex::default(),
            prober: Prober::new(),
        }
    }

    /// Asks no server: every source has the samples of `feed`.
    #[must_use]
    pub fn fed_by(mut self, feed: Feed) -> Self {
        self.feed = Some(feed);
        self
    }

    /// Both sides' counters. Never fails: what could not be asked says so in its place. The second value: whether a
    /// server could not be reached.
    pub async fn count(&self, rules: &ErrorRules, asks: &Asks, now: Timestamp) -> (Counted, bool) {
        let counted = tokio::time::timeout(LIMIT, self.sides(rules, asks, now)).await;
        counted.unwrap_or_else(|_| {
            let late = || Err(format!("no answer within {} s", LIMIT.as_secs()));
            (Counted { new: (late(), late()), old: Some((late(), late())) }, true)
        })
    }

    async fn sides(&self, rules: &ErrorRules, asks: &Asks, now: Timestamp) -> (Counted, bool) {
        let old = match &asks.old {
            OldSide::Live(ask) => Some(ask),
            OldSide::Frozen(..) | OldSide::Nothing(_) => None,
        };
        let source = match self.source(rules.prometheus.as_deref(), now).await {
            Ok(source) => source,
            Err(fault) => {
                let no = || Err(fault.why.clone());
                return (Counted { new: (no(), no()), old: old.map(|_| (no(), no())) }, unreachable(&fault));
            }
        };
        let old = async {
            match old {
                Some(ask) => Some(self.side(&source, ask, asks.seconds, now).await),
                None => None,
            }
        };
        let (new, old) = tokio::join!(self.side(&source, &asks.new, asks.seconds, now), old);
        let all = [Some(&new), old.as_ref()];
        let faults = all.iter().flatten().flat_map(|(e, t)| [e.as_ref().err(), t.as_ref().err()]).flatten();
        let lost = faults.into_iter().any(unreachable);
        let plain = |(e, t): Pair| -> (Reading, Reading) { (e.map_err(|f| f.why), t.map_err(|f| f.why)) };
        (Counted { new: plain(new), old: old.map(plain) }, lost)
    }

    /// Errors and requests of one side.
    async fn side(&self, source: &Source, ask: &Ask, seconds: i64, now: Timestamp) -> Pair {
        if !ask.is_plain() {
            let no = || Err(Fault::new(SourceWord::Unreadable, "the revision's name cannot stand in a query"));
            return (no(), no());
        }
        tokio::join!(self.one(source, &ask.errors, seconds, now), self.one(source, &ask.total, seconds, now))
    }

    /// The server, or the whole of a saved answer.
    async fn source(&self, named: Option<&str>, now: Timestamp) -> Result<Source, Fault> {
        if let Some(feed) = self.feed.clone() {
            let read = tokio::task::spawn_blocking(move || feed(now.as_millisecond())).await;
            return read.map(Source::Saved).map_err(|e| Fault::new(SourceWord::Unreadable, e.to_string()));
        }
        let wrong = |why: String| Fault::new(SourceWord::Unreadable, why);
        let name = match named {
            Some(name) => name.to_owned(),
            None if self.settings.len() == 1 => self.settings.keys().next().cloned().unwrap_or_default(),
            None => {
                return Err(wrong(format!("operate.prometheus has {} servers: say which one", self.settings.len())));
            }
        };
        let settings =
            self.settings.get(&name).ok_or_else(|| wrong(format!("operate.prometheus has no server {name:?}")))?;
        if let Some(path) = settings.file.clone() {
            let read = tokio::task::spawn_blocking(move || saved::read(&path)).await;
            return read.map_err(|e| wrong(e.to_string()))?.map(Source::Saved);
        }
        if let Some(server) = self.servers.lock().ok().and_then(|s| s.get(&name).cloned()) {
            return Ok(Source::Server(name, server));
        }
        let server = Server::open(settings, self.parallel, &self.secrets).await?;
        if let Ok(mut servers) = self.servers.lock() {
            servers.insert(name.clone(), server.clone());
        }
        Ok(Source::Server(name, server))
    }

    async fn one(&self, source: &Source, selector: &str, seconds: i64, now: Timestamp) -> Result<Vec<Counter>, Fault> {
        let until = now.as_millisecond();
        let tracks = match source {
            Source::Server(name, server) => {
                let read = server.samples(selector, seconds, until, &mut Vec::new()).await;
                // A password that is no longer the right one is looked up again the next time.
                if read.as_ref().is_err_and(|f| f.word == SourceWord::Forbidden)
                    && let Ok(mut servers) = self.servers.lock()
                {
                    servers.remove(name);
                }
                read?
            }
            Source::Saved(all) => {
                let wanted = Selector::parse(selector).map_err(|why| Fault::new(SourceWord::Unreadable, why))?;
                let from = until - seconds * 1000;
                let within = |t: &crate::operate::slo::series::Track| -> crate::operate::slo::series::Track {
                    t.iter().filter(|s| s.at > from && s.at <= until).cloned().collect()
                };
                let mine = all.iter().filter(|(labels, _)| wanted.takes(labels));
                mine.map(|(labels, t)| (labels.clone(), within(t))).filter(|(_, t)| !t.is_empty()).collect()
            }
        };
        let wrong = || Fault::new(SourceWord::Unreadable, "a sample at a time there is not");
        let mut out = Vec::new();
        for (labels, track) in tracks {
            let samples = track.iter().map(|s| Some((Timestamp::from_millisecond(s.at).ok()?, s.value)));
            out.push(Counter { labels, samples: samples.collect::<Option<_>>().ok_or_else(wrong)? });
        }
        Ok(out)
    }

    /// Asks each address once, all at the same time.
    pub async fn smoke(&self, rules: &Smoke) -> Vec<(String, Result<String, String>)> {
        let mut asked = Vec::new();
        for url in &rules.urls {
            asked.push(self.ask_one(rules, url));
        }
        join_all(asked).await
    }

    async fn ask_one(&self, rules: &Smoke, url: &str) -> (String, Result<String, String>) {
        let probe = ProbeOf::Http { url: url.into(), statuses: rules.statuses.clone(), body: rules.body.clone() };
        let answer = match &self.prober {
            Ok(prober) => prober.answer(&probe, Duration::from_secs(rules.timeout)).await,
            Err(why) => Err(why.clone()),
        };
        (url.to_owned(), answer)
    }
}

/// What errors and requests were counted.
type Pair = (Result<Vec<Counter>, Fault>, Result<Vec<Counter>, Fault>);

enum Source {
    Server(String, Server),
    Saved(Tracks),
}

fn unreachable(fault: &Fault) -> bool {
    matches!(fault.word, SourceWord::Lost | SourceWord::Forbidden)
}

/// So that a desk can hold one and say what it is.
impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("servers", &self.settings.keys()).finish_non_exhaustive()
    }
}
