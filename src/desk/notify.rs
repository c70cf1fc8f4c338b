//! Those who are told of what happens to requests: how it goes with them, and the background work that tells them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use super::Desk;
use super::DeskError;
use super::Result;
use super::live::stopped_within;
use crate::model::happening::Bulletin;
use crate::model::happening::Happening;
use crate::model::ids::PersonId;
use crate::respond::execute::Clock;
use crate::respond::notify::Configured;
use crate::respond::notify::configured;
use crate::respond::notify::deliver;
use crate::respond::notify::deliver::Told;
use crate::respond::notify::outbox;

const ROUND: Duration = Duration::from_secs(1);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotifierState {
    pub name: String,
    pub kind: String,
    /// Nothing arrives at present, and something waits or was given up.
    pub failing: bool,
    pub waiting: usize,
    pub sent: u64,
    pub dead: usize,
    /// Given up because too many waited.
    pub dropped: u64,
    pub last_sent: Option<Timestamp>,
    pub last_error: Option<String>,
    pub last_error_at: Option<Timestamp>,
}

impl Desk {
    /// None where nothing is real.
    fn notifiers(&self) -> Vec<Configured> {
        if self.exercise.is_some() {
            return Vec::new();
        }
        let (good, bad) = configured(&self.settings.notify);
        for w in bad {
            tracing::warn!(notifier = w.name, "{}", w.what);
        }
        good
    }

    fn telling(&self, notifiers: Vec<Configured>) -> deliver::Desk {
        deliver::Desk {
            store: self.store.clone(),
            audit: Arc::clone(&self.audit),
            secrets: Arc::clone(&self.secrets),
            name: self.settings.desk.name.clone(),
            notifiers,
        }
    }

    /// How it goes with each.
    pub fn notifier_states(&self) -> Result<Vec<NotifierState>> {
        let mut all = Vec::new();
        for c in self.notifiers() {
            let waiting = outbox::waiting(&*self.store, &c.name, outbox::QUEUE)?.len();
            let dead = outbox::dead_letters(&*self.store, &c.name, outbox::DEAD)?.len();
            let s = outbox::state(&*self.store, &c.name)?;
            all.push(NotifierState {
                kind: c.notifier.kind().to_owned(),
                name: c.name,
                failing: s.failing > 0,
                waiting,
                sent: s.sent,
                dead,
                dropped: s.dropped,
                last_sent: s.last_sent,
                last_error_at: s.last_error.as_ref().map(|e| e.0),
                last_error: s.last_error.map(|e| e.1),
            });
        }
        Ok(all)
    }

    fn notifier(&self, name: &str) -> Result<Configured> {
        let all = self.notifiers();
        let names: Vec<String> = all.iter().map(|c| c.name.clone()).collect();
        all.into_iter().find(|c| c.name == name).ok_or_else(|| {
            let near = crate::config::fault::nearest(name, names.iter().map(String::as_str));
            let near = near.map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
            DeskError::Usage(format!("no notifier {name:?} can be used{near} (see `watchfloor notify list`)"))
        })
    }

    /// Tells one of them that nothing happened. The answer is a sentence; the error says what went wrong.
    pub async fn notify_test(&self, by: &PersonId, name: &str) -> Result<String> {
        self.authorise(by)?;
        let to = self.notifier(name)?;
        let now = Timestamp::now();
        let bulletin = Bulletin {
            id: format!("test-{}", now.as_millisecond()),
            what: Happening::Test,
            at: now,
            desk: self.settings.desk.name.clone(),
            by: Some(by.clone()),
            request: None,
            action: None,
            tier: None,
            targets: Vec::new(),
            to: Vec::new(),
            text: "Nothing happened. Somebody tries whether bulletins of this desk arrive.".into(),
        };
        match deliver::tell(&to, &bulletin, None, &self.secrets, Clock::starting(now)).await {
            Told::Delivered(made) => {
                let made = made.map(|m| format!(", and made {m}")).unwrap_or_default();
                Ok(format!("{name} took it{made}"))
            }
            Told::Nothing => Ok(format!("{name} has nothing to hear of it")),
            Told::Refused { why } | Told::Failed { why, .. } => Err(DeskError::Unreachable(format!("{name}: {why}"))),
        }
    }

    /// Bulletins that one of them never took, oldest first: what, when, and why it was given up.
    pub fn notify_dead(&self, name: &str) -> Result<Vec<(Bulletin, String)>> {
        let c = self.notifier(name)?;
        let dead = outbox::dead_letters(&*self.store, &c.name, outbox::DEAD)?;
        Ok(dead.into_iter().map(|(_, w)| (w.bulletin, w.last)).collect())
    }

    /// They wait again. Returns how many.
    pub fn notify_retry(&self, by: &PersonId, name: &str) -> Result<usize> {
        self.authorise(by)?;
        let c = self.notifier(name)?;
        Ok(outbox::revive(&*self.store, &c.name, Timestamp::now())?)
    }

    /// Tells what is due now, unless a process that does so by itself is there. Returns how many were told.
    pub async fn notify_now(&self) -> Result<usize> {
        let notifiers = self.notifiers();
        if notifiers.is_empty() || self.read_only || self.is_led() {
            return Ok(0);
        }
        let clock = Clock::starting(Timestamp::now());
        deliver::round(&self.telling(notifiers), clock).await.map_err(DeskError::Unreachable)
    }
}

/// Tells by itself. Only one process does.
pub(super) async fn keep(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    let notifiers = desk.notifiers();
    if notifiers.is_empty() {
        return;
    }
    let telling = desk.telling(notifiers);
    let mut said = String::new();
    while !stopped_within(&mut stop, ROUND).await {
        let round = deliver::round(&telling, Clock::starting(Timestamp::now()));
        let ended = tokio::select! {
            ended = round => ended,
            // What was on its way is told again: whoever hears it twice can tell.
            _ = stop.wait_for(|s| *s) => return,
        };
        match ended {
            Ok(_) => said.clear(),
            Err(e) if e != said => {
                tracing::warn!(error = %e, "bulletins");
                said = e;
            }
            Err(_) => {}
        }
    }
}
