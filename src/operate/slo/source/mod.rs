//! Where series are read: servers of Prometheus' HTTP API, and saved answers of them.
//!
//! Samples are asked for on a grid of whole steps, so that what was read once stays right and a refresh asks only for
//! what is new. As many objectives as fit into [`BY_MINUTE`] samples are read by the minute all along, those of short
//! windows first (30 days: four questions a side). Of the others the past is read coarsely (30 days: 300 s, one question),
//! the last six hours by the minute, and where a counter is lower than a step before, that step by the minute, too, so that
//! nothing around a reset is lost. What is then still estimated: up to a step of events at the start of the window, and
//! resets that were made good within one step; the objective says so in a note. On a grid a sample is the newest one of
//! the five minutes before (the server's look-back), so a series is seen to end that late.

mod judge;
mod kept;
mod own;
pub mod prometheus;
pub mod query;
pub mod saved;
mod signal;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::mpsc;

use self::kept::Kept;
use self::kept::Lie;
use self::prometheus::Fault;
use self::prometheus::Server;
use self::prometheus::Tracks;
use self::query::Selector;
use self::query::Shape;
use super::series::Series;
use super::spec::buckets;
use super::window;
use crate::config::settings::OperateSettings;
use crate::config::settings::PrometheusSettings;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::slo::Indicator;
use crate::model::slo::Method;
use crate::model::slo::MetricQuery;
use crate::model::slo::Slo;
use crate::model::slo::SloState;
use crate::model::slo::SloStatus;
use crate::store::Store;
use crate::text::Untrusted;

/// Turns a reference such as `keyring:prometheus` into the secret.
pub type Secrets = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// Samples made in this process up to a moment (milliseconds), in place of those of a server.
pub type Feed = Arc<dyn Fn(i64) -> Tracks + Send + Sync>;

const MINUTE: i64 = 60_000;
/// How far back samples are a minute apart.
const TAIL: i64 = 6 * 3_600_000;
/// Asked for again, for samples that came late.
const OVERLAP: i64 = 300_000;
/// So many samples of questions that are read by the minute all along, each taken as one series: 64 MB.
const BY_MINUTE: i64 = 4_000_000;
/// What steps may be, in minutes: each divides a day.
const STEPS: [i64; 10] = [1, 2, 5, 10, 15, 30, 60, 120, 360, 1_440];
/// The longest burn window.
const BURN: i64 = 3 * 86_400_000;
/// Samples kept of one query, of all its series together.
const SAMPLES_MAX: usize = 4_000_000;

/// A question: of which source, what, and how far apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ask {
    source: String,
    query: String,
    step: i64,
    /// Its series are counters as scraped: lower than before means started anew.
    counts: bool,
}

/// One request: a query over a time, both ends in. Milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub source: String,
    pub query: String,
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

impl Question {
    /// The body it is sent as.
    pub fn form(&self) -> String {
        prometheus::range_form(&self.query, self.start, self.end, self.step)
    }
}

/// A span of a query at one step.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: i64,
    end: i64,
    step: i64,
}

/// Reads what objectives are judged by, and keeps it from one reading to the next.
pub struct Reader {
    settings: BTreeMap<String, PrometheusSettings>,
    parallel: u32,
    secrets: Secrets,
    feed: Option<Feed>,
    servers: Mutex<BTreeMap<String, Server>>,
    kept: Mutex<BTreeMap<Ask, Kept>>,
    states: Mutex<BTreeMap<String, SourceState>>,
    /// Where the desk's own events are.
    store: Arc<dyn Store>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("sources", &self.settings.keys()).finish_non_exhaustive()
    }
}

/// The span and step an objective needs at a moment, and the questions for its sides.
struct Need {
    from: i64,
    step: i64,
    asks: Vec<(Ask, Shape)>,
}

impl Reader {
    pub fn new(settings: &OperateSettings, secrets: Secrets, store: Arc<dyn Store>) -> Self {
        let state = |(name, s): (&String, &PrometheusSettings)| {
            let kind = if s.file.is_some() { "file" } else { "prometheus" };
            let state = SourceState {
                name: name.clone(),
                kind: kind.into(),
                state: SourceWord::Starting,
                detail: "".into(),
                last_good: None,
                next_try: None,
            };
            (name.clone(), state)
        };
        Self {
            settings: settings.prometheus.clone(),
            parallel: settings.parallel,
            secrets,
            feed: None,
            servers: Mutex::default(),
            kept: Mutex::default(),
            states: Mutex::new(settings.prometheus.iter().map(state).collect()),
            store,
        }
    }

    /// Asks no server: every source has the samples of `feed`.
    #[must_use]
    pub fn fed_by(mut self, feed: Feed) -> Self {
        self.feed = Some(feed);
        self
    }

    /// How the servers are doing, by name.
    pub fn sources(&self) -> Vec<SourceState> {
        self.states.lock().map(|s| s.values().cloned().collect()).unwrap_or_default()
    }

    /// Reads what is new and judges each objective as of the last whole minute, worst first.
    pub async fn refresh(&self, slos: &[Slo], now: Timestamp) -> Vec<(Slo, SloStatus)> {
        let at = now.as_millisecond().div_euclid(MINUTE) * MINUTE;
        let needs = self.needs(slos, at);
        let asks = asks(&needs);
        if let Ok(mut kept) = self.kept.lock() {
            kept.retain(|ask, _| asks.contains_key(ask));
        }
        let sources: BTreeSet<&str> = asks.keys().map(|a| a.source.as_str()).collect();
        // Room for one word of each question: telling never waits.
        let (answered, told) = mpsc::channel(asks.len().max(1));
        let read = |source| self.read_source(source, &asks, at, answered.clone());
        let reads: Vec<_> = sources.into_iter().map(read).collect();
        drop(answered);
        let (_, mut all) = tokio::join!(join_all(reads), judge::as_answered(self, slos, &needs, told, at));
        all.sort_by(|(_, a), (_, b)| rank(b).total_cmp(&rank(a)).then_with(|| a.id.cmp(&b.id)));
        all
    }

    /// What a reading at this time would ask, request by request.
    pub fn questions(&self, slos: &[Slo], now: Timestamp) -> Vec<Question> {
        let at = now.as_millisecond().div_euclid(MINUTE) * MINUTE;
        let mut out = Vec::new();
        for (ask, (_, from)) in asks(&self.needs(slos, at)) {
            for span in self.spans(&ask, from, at).1 {
                for (start, end) in prometheus::pages(span.start, span.end, span.step) {
                    let (source, query) = (ask.source.clone(), ask.query.clone());
                    out.push(Question { source, query, start, end, step: span.step });
                }
            }
        }
        out
    }

    /// What each objective needs; those of short windows are the first to be read by the minute.
    fn needs(&self, slos: &[Slo], at: i64) -> Vec<Result<Need, String>> {
        let length = |slo: &Slo| {
            let bounds = window::bounds(&slo.window, super::series::stamp(at)).ok();
            bounds.map_or(0, |b| b.end.as_millisecond() - b.from.as_millisecond()).max(BURN)
        };
        let mut order: Vec<(i64, usize)> = slos.iter().map(length).zip(0..).collect();
        order.sort_unstable();
        let mut left = BY_MINUTE;
        let mut fine = vec![false; slos.len()];
        for (length, i) in order {
            let sides = if matches!(slos[i].indicator, Indicator::Ratio { .. }) { 2 } else { 1 };
            left -= length / MINUTE * sides;
            fine[i] = left >= 0;
        }
        slos.iter().zip(fine).map(|(slo, fine)| self.need(slo, at, fine)).collect()
    }

    fn need(&self, slo: &Slo, at: i64, fine: bool) -> Result<Need, String> {
        let bounds = window::bounds(&slo.window, super::series::stamp(at))?;
        let window = bounds.end.as_millisecond() - bounds.from.as_millisecond();
        let fits = |minutes: &i64| window / (minutes * MINUTE) <= prometheus::PAGE;
        let mut step = match fine {
            true => MINUTE,
            false => STEPS.into_iter().find(fits).unwrap_or(1_440) * MINUTE,
        };
        if let Method::Timeslices { slice_seconds, .. } | Method::RatioTimeslices { slice_seconds } = slo.method {
            let slice = i64::try_from(slice_seconds).unwrap_or(60) * 1000;
            step = step.min((slice / MINUTE * MINUTE).max(MINUTE));
        }
        let from = bounds.from.as_millisecond().min(at - BURN).div_euclid(step) * step;
        let asks = match &slo.indicator {
            Indicator::Ratio { good, bad, total } => {
                let part = bad.as_ref().or(good.as_ref()).ok_or("neither good nor bad events are counted")?;
                vec![self.ask(part, step, true)?, self.ask(total, step, true)?]
            }
            Indicator::ErrorRatio { query } | Indicator::Threshold { query, .. } => {
                vec![self.ask(query, step, false)?]
            }
            Indicator::Desk { .. } => Vec::new(),
        };
        Ok(Need { from, step, asks })
    }

    /// The server a question is for.
    fn source(&self, q: &MetricQuery) -> Result<String, String> {
        match &q.source {
            Some(name) if self.settings.contains_key(name) => Ok(name.clone()),
            Some(name) => Err(format!("operate.prometheus has no {name}")),
            None => match self.settings.len() {
                1 => Ok(self.settings.keys().next().cloned().unwrap_or_default()),
                0 => Err("operate.prometheus has no server to ask".into()),
                _ => Err("operate.prometheus has several servers: say which one is asked".into()),
            },
        }
    }

    /// What this objective asks for that is no bucket of the histogram on its server now, a line each. Err: a server
    /// could not be asked, and which.
    pub async fn no_buckets(&self, slo: &Slo) -> Result<Vec<String>, String> {
        let mut known = buckets::Known::new();
        for (q, metric) in buckets::asked(slo) {
            let source = self.source(q)?;
            let Some(settings) = self.settings.get(&source).filter(|s| s.file.is_none()) else { continue };
            let said = |f: Fault| format!("{source}: {}", f.why);
            let server = self.server(&source, settings).await.map_err(said)?;
            let values = server.label_values("le", &metric).await.map_err(said)?;
            known.insert(metric, values.iter().filter_map(|v| prometheus::number(v)).collect());
        }
        Ok(buckets::check(slo, &known))
    }

    fn ask(&self, q: &MetricQuery, step: i64, is_counter: bool) -> Result<(Ask, Shape), String> {
        let source = self.source(q)?;
        let shape = if is_counter { query::counter(&q.query) } else { query::gauge(&q.query) };
        let query = match &shape {
            Shape::Selector(q) | Shape::Rate(q) | Shape::Other(q) => q.clone(),
            Shape::Templated { query, .. } => query.replace(query::WINDOW, &range(step)),
        };
        let counts = matches!(shape, Shape::Selector(_)) && is_counter;
        Ok((Ask { source, query, step, counts }, shape))
    }

    /// `answered` is told of each question when what is kept of it is as new as it gets.
    async fn read_source(
        &self,
        source: &str,
        asks: &BTreeMap<Ask, (Shape, i64)>,
        at: i64,
        answered: mpsc::Sender<Ask>,
    ) {
        let Some(settings) = self.settings.get(source) else { return };
        let mine = asks.iter().filter(|(ask, _)| ask.source == source);
        let faults: Vec<Fault> = if let Some(feed) = &self.feed {
            let read = Ok(feed(at));
            mine.filter_map(|(ask, (_, from))| self.keep_saved(ask, *from, at, &read)).collect()
        } else if let Some(path) = settings.file.clone() {
            let read = tokio::task::spawn_blocking(move || saved::read(&path)).await;
            let lost = |_| Err(Fault::new(SourceWord::Lost, "the file could not be read"));
            let read = read.unwrap_or_else(lost);
            mine.filter_map(|(ask, (_, from))| self.keep_saved(ask, *from, at, &read)).collect()
        } else {
            match self.server(source, settings).await {
                Ok(server) => {
                    let read = async |(ask, (_, from)): (&Ask, &(Shape, i64))| {
                        let fault = self.read_one(&server, ask, *from, at).await;
                        // Nobody listens any more: the reading was given up.
                        let _ = answered.try_send(ask.clone());
                        fault
                    };
                    join_all(mine.map(read)).await.into_iter().flatten().collect()
                }
                Err(fault) => mine.map(|(ask, _)| self.fail(ask, fault.clone())).collect(),
            }
        };
        self.report(source, &faults);
    }

    async fn server(&self, name: &str, settings: &PrometheusSettings) -> Result<Server, Fault> {
        let known = self.servers.lock().ok().and_then(|s| s.get(name).cloned());
        if let Some(server) = known {
            return Ok(server);
        }
        let server = Server::open(settings, self.parallel, &self.secrets).await?;
        if let Ok(mut servers) = self.servers.lock() {
            servers.insert(name.to_owned(), server.clone());
        }
        Ok(server)
    }

    fn report(&self, source: &str, faults: &[Fault]) {
        let Ok(mut states) = self.states.lock() else { return };
        let Some(state) = states.get_mut(source) else { return };
        match faults.first() {
            None => {
                state.state = SourceWord::Live;
                state.last_good = Some(Timestamp::now());
                state.detail = "".into();
            }
            Some(fault) => {
                // One query that cannot be read does not make the server unreadable.
                let worst = faults.iter().find(|f| f.word != SourceWord::Unreadable).unwrap_or(fault);
                state.state = worst.word;
                state.detail = Untrusted::new(worst.why.clone());
            }
        }
    }

    fn fail(&self, ask: &Ask, fault: Fault) -> Fault {
        if let Ok(mut kept) = self.kept.lock() {
            kept.entry(ask.clone()).or_default().fault = Some(fault.clone());
        }
        fault
    }

    fn keep_saved(&self, ask: &Ask, from: i64, at: i64, read: &Result<Tracks, Fault>) -> Option<Fault> {
        let picked = read.as_ref().map_err(Clone::clone).and_then(|all| {
            let selector = Selector::parse(&ask.query).map_err(|why| Fault::new(SourceWord::Unreadable, why))?;
            let taken = all.iter().filter(|(labels, _)| selector.takes(labels));
            Ok(taken.map(|(labels, track)| (labels.clone(), track.clone())).collect())
        });
        match picked {
            Ok(tracks) => {
                if let Ok(mut kept) = self.kept.lock() {
                    kept.insert(ask.clone(), Kept::new(tracks, from, at));
                }
                None
            }
            Err(fault) => Some(self.fail(ask, fault)),
        }
    }

    /// What of a question is not kept yet, and whether that is all of it.
    fn spans(&self, ask: &Ask, from: i64, at: i64) -> (bool, Vec<Span>) {
        let kept = self.kept.lock().ok();
        let known = kept.as_ref().and_then(|k| k.get(ask)).map(|k| (k.from, k.until));
        match known.filter(|(known, until)| *until > 0 && *known <= from && at - until < TAIL - OVERLAP) {
            Some((_, until)) => (false, vec![Span { start: until - OVERLAP, end: at, step: MINUTE }]),
            None if ask.step == MINUTE => (true, vec![Span { start: from, end: at, step: MINUTE }]),
            None => {
                let tail = ((at - TAIL).div_euclid(ask.step) * ask.step).max(from);
                let coarse = Span { start: from, end: tail, step: ask.step };
                (true, vec![coarse, Span { start: tail + MINUTE, end: at, step: MINUTE }])
            }
        }
    }

    /// Asks for what is not kept yet.
    async fn read_one(&self, server: &Server, ask: &Ask, from: i64, at: i64) -> Option<Fault> {
        let (anew, spans) = self.spans(ask, from, at);
        let mut notes = Vec::new();
        let read = async {
            let mut all = Tracks::new();
            for span in &spans {
                for (labels, mut track) in server.range(&ask.query, span.start, span.end, span.step, &mut notes).await?
                {
                    all.entry(labels).or_default().append(&mut track);
                }
            }
            if ask.counts && ask.step > MINUTE {
                for (start, end) in kept::resets(&all, ask.step) {
                    let (start, end) = (start + MINUTE, end - MINUTE);
                    for (labels, track) in server.range(&ask.query, start, end, MINUTE, &mut notes).await? {
                        kept::merge(all.entry(labels).or_default(), track);
                    }
                }
            }
            Ok(all)
        };
        let read: Result<Tracks, Fault> = read.await;
        let new = match read {
            Ok(new) => new,
            Err(fault) => return Some(self.fail(ask, fault)),
        };
        let (mut kept, since) = if anew {
            (Kept::new(new, from, at), None)
        } else {
            let mut kept = self.kept.lock().ok()?.remove(ask).unwrap_or_default();
            let since = kept.until - TAIL;
            kept.add(new, from, at);
            (kept, Some(since))
        };
        (kept.notes, kept.fault) = (notes, None);
        kept.thin(Lie { step: ask.step, counts: ask.counts }, since);
        if kept.samples() > SAMPLES_MAX {
            let why = format!("{} series are too many to keep: sum them in a recording rule", kept.tracks.len());
            return Some(self.fail(ask, Fault::new(SourceWord::Unreadable, why)));
        }
        self.kept.lock().ok()?.insert(ask.clone(), kept);
        None
    }

    async fn series(&self, slo: &Slo, need: &Result<Need, String>, at: i64) -> Series {
        match (need, &slo.indicator) {
            (Ok(need), Indicator::Desk { sli, threshold }) => {
                own::read(&self.store, *sli, *threshold, need.from, at).await
            }
            (Ok(need), _) => self.kept_series(slo, need, at),
            (Err(why), _) => Series::failed(why.as_str()),
        }
    }

    fn kept_series(&self, slo: &Slo, need: &Need, at: i64) -> Series {
        let Ok(kept) = self.kept.lock() else { return Series::failed("the samples cannot be reached") };
        let sides: Vec<&Kept> = need.asks.iter().filter_map(|(ask, _)| kept.get(ask)).collect();
        let file = self.feed.is_some()
            || need.asks.iter().any(|(a, _)| self.settings.get(&a.source).is_some_and(|s| s.file.is_some()));
        signal::series(slo, need, &sides, file, at)
    }
}

/// The questions of all needs, each once, and from when on.
fn asks(needs: &[Result<Need, String>]) -> BTreeMap<Ask, (Shape, i64)> {
    let mut asks: BTreeMap<Ask, (Shape, i64)> = BTreeMap::new();
    for need in needs.iter().flatten() {
        for (ask, shape) in &need.asks {
            let slot = asks.entry(ask.clone()).or_insert_with(|| (shape.clone(), need.from));
            slot.1 = slot.1.min(need.from);
        }
    }
    asks
}

/// Worst first: what blocks, then by what is spent.
fn rank(status: &SloStatus) -> f64 {
    match status.spent.filter(|_| status.state.is_known()) {
        Some(spent) if spent >= 1.0 => 1e6 + spent,
        Some(spent) => spent,
        None if status.state == SloState::Quiet => -1.0,
        None => 1e5,
    }
}

/// The range of a step in PromQL; at least five minutes, in which there are samples.
fn range(step: i64) -> String {
    format!("{}s", (step / 1000).max(300))
}
