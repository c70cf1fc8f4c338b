//! Where a demo's desk reads what other desks ask servers for.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;

use super::backups;
use super::cluster;
use super::probes;
use super::series;
use super::world::CLUSTER;
use super::world::World;
use crate::desk::Desk;
use crate::desk::DeskError;
use crate::desk::Result;
use crate::desk::operate_sla;
use crate::model::health::SourceWord;
use crate::model::ids::PersonId;
use crate::model::sla::Exclusion;
use crate::model::sla::ExclusionKind;
use crate::model::sla::ProbeResult;
use crate::operate::backup::Read;
use crate::operate::backup::Source;
use crate::operate::backup::config;
use crate::operate::backup::history;
use crate::operate::rollout::cluster::Reader;
use crate::operate::rollout::read::Snapshot;
use crate::operate::rollout::read::rollouts;
use crate::operate::sla::Service;
use crate::operate::slo::source::Feed;
use crate::text::Untrusted;

/// How often the cluster of the demo is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Scenario seconds between two looks at gates before the demo opened.
const LOOKS: f64 = 30.0;

fn snapshot(world: &World, now: Timestamp) -> Snapshot {
    let mut snapshot = Snapshot { cluster: CLUSTER.to_owned(), ..Snapshot::default() };
    for (kind, objects) in cluster::objects(world, now) {
        snapshot.replace(kind, None, objects);
        snapshot.fresh.insert(kind, (SourceWord::Live, Some(now)));
    }
    snapshot
}

impl Desk {
    /// The demo's platform; `None` on every other desk.
    fn world(&self) -> Option<World> {
        self.exercise.as_ref()?;
        World::read(self.store.as_ref())
    }

    /// Samples instead of those of a Prometheus.
    pub(in crate::desk) fn feed(&self) -> Option<Feed> {
        self.exercise.as_ref()?;
        let store = Arc::clone(&self.store);
        Some(Arc::new(move |at| World::read(store.as_ref()).map(|w| series::tracks(&w, at)).unwrap_or_default()))
    }

    /// The same for gates: what the pods of rollouts answered.
    pub(in crate::desk) fn scrapes(&self) -> Option<Feed> {
        self.exercise.as_ref()?;
        let store = Arc::clone(&self.store);
        Some(Arc::new(move |at| World::read(store.as_ref()).map(|w| series::scrapes(&w, at)).unwrap_or_default()))
    }

    /// Keeps what is known of a cluster up to date until dropped: by watching it, or from the demo.
    pub(in crate::desk) fn watcher(&self, reader: &Arc<Reader>) -> impl Future<Output = ()> + Send + 'static {
        let reader = Arc::clone(reader);
        let store = self.exercise.is_some().then(|| Arc::clone(&self.store));
        async move {
            let Some(store) = store else { return reader.run().await };
            loop {
                let (store, reader) = (Arc::clone(&store), Arc::clone(&reader));
                let look = move || {
                    let now = Timestamp::now();
                    let Some(world) = World::read(store.as_ref()) else { return };
                    for (kind, objects) in cluster::objects(&world, now) {
                        reader.feed(kind, objects);
                    }
                };
                if tokio::task::spawn_blocking(look).await.is_err() {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// `None`: this is no demo, ask the source itself.
    pub(in crate::desk) fn demo_backups(&self, source: &Source, now: Timestamp) -> Option<Read> {
        self.exercise.as_ref()?;
        let none = || Read::none(source, SourceWord::Starting, "the scenario has not begun");
        Some(self.world().map_or_else(none, |w| backups::read(&w, source, now)))
    }

    pub(in crate::desk) fn demo_probes(
        &self,
        service: &Service,
        from: Timestamp,
        until: Timestamp,
    ) -> Option<Vec<ProbeResult>> {
        self.world().map(|w| probes::probes(&w, service, from, until, self.now()))
    }

    /// What people did on the platform before the demo opens: drills, excluded maintenance, ticked items.
    pub(super) fn furnish_platform(&self) -> Result<()> {
        let Some(world) = self.world() else { return Ok(()) };
        self.furnish_drills(&world)?;
        self.furnish_exclusions(&world)?;
        self.furnish_checklists()?;
        self.furnish_gates(&world)
    }

    /// Looks at the rollouts as it would have since the scenario began, so that stages have run for as long.
    fn furnish_gates(&self, world: &World) -> Result<()> {
        let config = self.rollout_rules()?;
        let asker = self.asker();
        let pairs = config.pairs(CLUSTER);
        let looks = async {
            let mut second = 0.0;
            while second < world.clock.second {
                let now = world.clock.real(second);
                for rollout in rollouts(&snapshot(world, now), &pairs, now) {
                    if let Some(rules) = config.of(&rollout.id) {
                        self.look(&asker, &config, rules, &rollout, now).await?;
                    }
                }
                second += LOOKS;
            }
            Ok(())
        };
        // A thread of its own: a caller may be inside a runtime already.
        let run = || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|e| DeskError::Unreachable(format!("no runtime for the demo: {e}")))?.block_on(looks)
        };
        let lost = || DeskError::Unreachable("the demo's gates were not looked at".into());
        std::thread::scope(|s| s.spawn(run).join()).map_err(|_| lost())?
    }

    fn furnish_drills(&self, world: &World) -> Result<()> {
        let Some(path) = &self.settings.operate.backups else { return Ok(()) };
        let now = self.now();
        let config = config::read(path).map_err(|e| DeskError::Usage(e.to_string()))?;
        for source in &config.sources {
            let Some(evidence) = backups::drill(&source.name, now) else { continue };
            let mut all = backups::read(world, source, now).backups;
            all.retain(|b| b.start.is_some_and(|s| s < evidence.at));
            let Some(mut backup) = all.into_iter().max_by_key(|b| b.start) else { continue };
            backup.evidence.push(evidence);
            history::remember(self.store.as_ref(), &[backup], &[], now)?;
        }
        Ok(())
    }

    fn furnish_exclusions(&self, world: &World) -> Result<()> {
        let start = world.clock.start();
        let before = |seconds: i64| start - SignedDuration::from_secs(seconds);
        let (Some(bob), carol) = (PersonId::new("bob"), PersonId::new("carol")) else { return Ok(()) };
        let day = 86_400;
        let all = [
            ("soc-api", probes::MAINTENANCE, 9 * day, carol.clone(), "upgrade of the database to 17.2"),
            ("model", probes::LATE, 3 * day, carol, "driver update on the model servers"),
        ];
        for (service, (from, until), announced, approved_by, reason) in all {
            let exclusion = Exclusion {
                id: format!("demo-{service}"),
                service: service.into(),
                from: before(from),
                until: before(until),
                kind: ExclusionKind::Maintenance,
                reason: Untrusted::new(reason),
                announced: before(announced),
                asked_by: bob.clone(),
                approved_by,
            };
            operate_sla::keep_exclusion(self.store.as_ref(), &exclusion, start)?;
        }
        Ok(())
    }

    fn furnish_checklists(&self) -> Result<()> {
        let (Some(bob), Some(carol)) = (PersonId::new("bob"), PersonId::new("carol")) else { return Ok(()) };
        for run in self.checklists()? {
            let mut open =
                run.list.items.iter().filter(|i| crate::operate::checklist::answer_of(&run, &i.id).1.is_none());
            let share = run.list.items.len() / 4;
            for (i, item) in open.by_ref().take(share).enumerate() {
                let by = if i % 2 == 0 { &bob } else { &carol };
                let evidence = Untrusted::new(format!("seen: {}", item.evidence));
                self.tick(by, &run.list.name, &item.id, i != 2, evidence, None)?;
            }
        }
        Ok(())
    }
}
