//! What the platform's health is read from: objectives in four dialects, answers of Prometheus, objects of a cluster,
//! what makers of backups write, and our own files. Each starts from a good sample; the answer is a value or a fault.

use std::path::Path;

use bolero::check;
use jiff::Timestamp;
use serde_json::Value;
use watchfloor::config::Faults;
use watchfloor::config::doc::Doc;
use watchfloor::config::fault::Place;
use watchfloor::model::backup::Backup;
use watchfloor::model::slo::Slo;
use watchfloor::operate::backup::config;
use watchfloor::operate::backup::source::Bytes;
use watchfloor::operate::backup::source::opensearch;
use watchfloor::operate::backup::source::pg_dump;
use watchfloor::operate::backup::source::pgbackrest;
use watchfloor::operate::backup::source::report;
use watchfloor::operate::backup::source::restic;
use watchfloor::operate::backup::source::velero;
use watchfloor::operate::rollout::config as rules;
use watchfloor::operate::rollout::read::Kept;
use watchfloor::operate::rollout::read::Kind;
use watchfloor::operate::rollout::read::Pairs;
use watchfloor::operate::rollout::read::Snapshot;
use watchfloor::operate::rollout::read::rollouts;
use watchfloor::operate::sla::Agreement;
use watchfloor::operate::slo::source::saved;
use watchfloor::operate::slo::spec::Folder;
use watchfloor::operate::slo::spec::buckets;
use watchfloor::operate::slo::spec::words;

use super::Mutant;

fn now() -> Timestamp {
    "2026-11-21T02:10:00Z".parse().expect("a time")
}

fn text(mutant: &Mutant, sample: &str) -> String {
    String::from_utf8_lossy(&mutant.changed(sample)).into_owned()
}

/// Every fault has its place, and one in a file has a line of that file.
fn placed(faults: &Faults, source: &str) {
    assert!(!faults.is_empty());
    for fault in &faults.0 {
        assert!(!fault.message.is_empty());
        if let Place::File { line, column, .. } = &fault.place {
            let lines = source.split('\n').count();
            assert!(*line >= 1 && *line <= lines + 1 && *column >= 1, "{fault:?} of {lines} lines");
        }
    }
}

// --- objectives ------------------------------------------------------------------------------

const OBJECTIVES: [(&str, &str); 4] = [
    ("openslo.yaml", include_str!("../fixtures/slo/openslo.yaml")),
    ("sloth.yml", include_str!("../fixtures/slo/sloth.yml")),
    ("pyrra.yaml", include_str!("../fixtures/slo/pyrra.yaml")),
    ("native.toml", include_str!("../fixtures/slo/native.toml")),
];

/// What holds of every objective that is taken: the traps of the formats do not get through.
fn sound(slo: &Slo) {
    assert!(slo.target > 0.0 && slo.target < 1.0, "{}: {}", slo.id, slo.target);
    assert!(words::window_seconds(&slo.window) > 0, "{}", slo.id);
    assert!(!slo.id.is_empty() && !slo.from.is_empty());
    for rule in &slo.burn_rules {
        assert!(rule.factor.is_finite() && rule.factor > 0.0, "{}: {rule:?}", slo.id);
        assert!(rule.short_seconds > 0 && rule.long_seconds > 0, "{}: {rule:?}", slo.id);
    }
    assert!(!words::explain(slo).is_empty());
}

fn objectives(name: &str, source: String) {
    match Folder::parse(vec![(name.into(), source.clone())]) {
        Ok(slos) => slos.iter().for_each(sound),
        Err(faults) => placed(&faults, &source),
    }
}

#[test]
fn fuzz_objectives_on_changed_files() {
    check!().with_iterations(3000).with_type::<Mutant>().for_each(|mutant| {
        let (name, sample) = OBJECTIVES[usize::from(mutant.sample) % OBJECTIVES.len()];
        objectives(name, text(mutant, sample));
    });
}

#[test]
fn fuzz_objectives_on_bytes() {
    check!().with_iterations(2000).for_each(|bytes: &[u8]| {
        let source = String::from_utf8_lossy(bytes).into_owned();
        for name in ["a.yaml", "a.toml"] {
            objectives(name, source.clone());
            // Past the first look: the words that say which dialect it is, with anything behind them.
            let head = ["apiVersion: openslo/v1\nkind: SLO\n", "version: prometheus/v1\n", "[[slo]]\n"];
            head.iter().for_each(|head| objectives(name, format!("{head}{source}")));
        }
    });
}

// --- answers of Prometheus -------------------------------------------------------------------

const SAVED: [&str; 3] = [
    "# TYPE a counter\na_total{p=\"x,\\\"}\",q=\"\"} 5 1700000000.5\na_total 1e3 1700000000 # {} 1\nb NaN 1\n# EOF\n",
    r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"a","code":"200"},"values":[[1700000000,"1"],[1700000060.5,"NaN"],[1700000120,"+Inf"]]}]}}"#,
    r#"{"status":"error","errorType":"bad_data","error":"parse error at char 3"}"#,
];

#[test]
fn fuzz_saved_answers() {
    check!().with_iterations(4000).with_type::<Mutant>().for_each(|mutant| {
        let source = text(mutant, SAVED[usize::from(mutant.sample) % SAVED.len()]);
        match saved::parse(&source) {
            Ok(tracks) => assert!(tracks.len() <= source.len()),
            Err(fault) => assert!(!fault.why.is_empty()),
        }
        let _ = buckets::known(&source);
    });
}

// --- objects of a cluster --------------------------------------------------------------------

const OBJECTS: [(Kind, &str); 6] = [
    (
        Kind::Deployment,
        r#"{"metadata":{"name":"web","namespace":"demo","uid":"u1","generation":2,"labels":{"app":"web"}},"spec":{"replicas":3,"template":{"spec":{"containers":[{"name":"c","image":"r:5000/web:1@sha256:aa"}]}}},"status":{"observedGeneration":2,"replicas":3,"updatedReplicas":3,"readyReplicas":3,"availableReplicas":3,"conditions":[{"type":"Progressing","status":"True","reason":"NewReplicaSetAvailable","message":"m","lastTransitionTime":"2026-01-05T08:00:00Z"}]}}"#,
    ),
    (
        Kind::ReplicaSet,
        r#"{"metadata":{"name":"web-1","namespace":"demo","uid":"u2","labels":{"pod-template-hash":"1","rollouts-pod-template-hash":"1"},"annotations":{"deployment.kubernetes.io/revision":"1","rollout.argoproj.io/revision":"18446744073709551615"},"ownerReferences":[{"uid":"u1","controller":true}]},"spec":{"replicas":3},"status":{"replicas":3,"readyReplicas":3}}"#,
    ),
    (
        Kind::Pod,
        r#"{"metadata":{"name":"web-1-a","namespace":"demo","uid":"u3","ownerReferences":[{"uid":"u2"}]},"spec":{"nodeName":"n1"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"c","restartCount":4294967295,"imageID":"x@sha256:bb","state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}}"#,
    ),
    (
        Kind::Rollout,
        r#"{"metadata":{"name":"web","namespace":"demo","uid":"u1"},"spec":{"replicas":5,"strategy":{"canary":{"steps":[{"setWeight":20},{"pause":{"duration":"10m"}},{"pause":{}},{"setWeight":60},{"analysis":{}}]}}},"status":{"phase":"Paused","currentStepIndex":1,"currentPodHash":"1","stableRS":"2","pauseConditions":[{"reason":"CanaryPauseStep","startTime":"2026-01-05T08:00:00Z"}],"canary":{"weights":{"canary":{"weight":20}}},"replicas":5,"updatedReplicas":1}}"#,
    ),
    (
        Kind::AnalysisRun,
        r#"{"metadata":{"name":"a","namespace":"demo","ownerReferences":[{"uid":"u1"}],"labels":{"rollouts-pod-template-hash":"1"}},"status":{"phase":"Failed","metricResults":[{"name":"errors","phase":"Failed","failed":2,"measurements":[{"value":"0.5","finishedAt":"2026-01-05T08:00:00Z"}]}]}}"#,
    ),
    (
        Kind::Canary,
        r#"{"metadata":{"name":"web","namespace":"demo","uid":"u9"},"spec":{"targetRef":{"kind":"Deployment","name":"web"},"analysis":{"stepWeight":10,"maxWeight":4294967295,"stepWeights":[1,2]}},"status":{"phase":"Progressing","canaryWeight":10,"conditions":[{"type":"Promoted","status":"Unknown","reason":"Progressing"}]}}"#,
    ),
];

#[test]
fn fuzz_objects_of_a_cluster() {
    check!().with_iterations(3000).with_type::<Mutant>().for_each(|mutant| {
        let mut snapshot = Snapshot::default();
        let changed = usize::from(mutant.sample) % OBJECTS.len();
        for (i, (kind, sample)) in OBJECTS.iter().enumerate() {
            let json = if i == changed { text(mutant, sample) } else { (*sample).to_owned() };
            if let Ok(object) = Kept::parse(*kind, &json) {
                snapshot.put(*kind, object);
            }
        }
        for r in rollouts(&snapshot, &Pairs::default(), now()) {
            assert!(r.steps.len() <= 200, "{}", r.steps.len());
            assert!(serde_json::to_string(&r).is_ok());
        }
    });
}

// --- backups ---------------------------------------------------------------------------------

const PGBACKREST: &str = r#"[{"name":"soc","status":{"code":0,"message":"ok"},"repo":[{"key":1,"status":{"code":0,"message":"ok"}}],"backup":[{"label":"20261120-020000F","type":"full","error":false,"prior":null,"reference":null,"timestamp":{"start":1795140000,"stop":1795140300},"info":{"size":100},"archive":{"start":"01","stop":"02"},"database":{"id":1,"repo-key":1}},{"label":"20261119-020000F_20261120-030000I","type":"incr","error":false,"prior":"20261119-020000F","reference":["20261119-020000F"],"timestamp":{"start":1795143600,"stop":1795143700},"info":{"size":100},"archive":{"start":"03","stop":"04"},"database":{"id":1,"repo-key":1}}]}]"#;
const RESTIC: &str = r#"[{"time":"2026-11-20T02:00:00Z","tree":"t","paths":["/srv"],"hostname":"h","username":"root","tags":["nightly"],"id":"8c1f","short_id":"8c1f","summary":{"backup_start":"2026-11-20T02:00:00Z","backup_end":"2026-11-20T02:05:00Z","total_files_processed":10,"total_bytes_processed":1000}}]"#;
const RESTIC_CHECK: &str =
    r#"{"exit_code":0,"read_data":true,"at":"2026-11-20T03:00:00Z","message":"no errors were found"}"#;
const REPORT: &str = r#"{"backups":[{"id":"2026-11-20","phase":"completed","start":"2026-11-20T02:00:00Z","end":"2026-11-20T02:10:00Z","expires":null,"bytes":123,"items":{"total":10,"done":10},"volumes":{"total":1,"done":1},"covers":["vault"],"location":"s3-eu","reachable":true,"schedule":"nightly","errors":0,"warnings":0,"message":"","evidence":[{"what":"verify","at":"2026-11-20T03:00:00Z","ok":true,"seconds":12.5,"detail":"checksums","reference":"job 7"}]}]}"#;
const SNAPSHOTS: &str = r#"{"snapshots":[{"snapshot":"nightly-1","uuid":"x","indices":["alerts-1"],"data_streams":["logs"],"state":"SUCCESS","start_time_in_millis":1795226400000,"end_time_in_millis":1795226460000,"failures":[{"index":"alerts-1","reason":"node left"}],"shards":{"total":2,"failed":0,"successful":2}}]}"#;
const POLICIES: &str = r#"{"policies":[{"_id":"daily-sm-policy","sm_policy":{"name":"daily","enabled":true,"creation":{"schedule":{"cron":{"expression":"0 2 * * *","timezone":"UTC"}}},"deletion":{"condition":{"max_age":"30d"}},"snapshot_config":{"repository":"r"}}}]}"#;
const VELERO: [(velero::Kind, &str); 4] = [
    (
        velero::Kind::Backup,
        r#"{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"name":"nightly-1","namespace":"velero","creationTimestamp":"2026-11-21T02:00:00Z","labels":{"velero.io/schedule-name":"nightly"}},"spec":{"includedNamespaces":["shop"],"storageLocation":"default","ttl":"720h0m0s"},"status":{"phase":"Completed","startTimestamp":"2026-11-21T02:00:00Z","completionTimestamp":"2026-11-21T02:01:00Z","expiration":"2026-12-21T02:00:00Z","progress":{"totalItems":28,"itemsBackedUp":28}}}"#,
    ),
    (
        velero::Kind::Location,
        r#"{"apiVersion":"velero.io/v1","kind":"BackupStorageLocation","metadata":{"name":"default"},"spec":{"provider":"aws"},"status":{"phase":"Available","lastValidationTime":"2026-11-21T02:09:30Z"}}"#,
    ),
    (
        velero::Kind::Schedule,
        r#"{"apiVersion":"velero.io/v1","kind":"Schedule","metadata":{"name":"nightly"},"spec":{"schedule":"CRON_TZ=UTC 0 2 * * *","template":{"ttl":"720h"}},"status":{"phase":"Enabled","lastBackup":"2026-11-21T02:00:00Z"}}"#,
    ),
    (
        velero::Kind::Restore,
        r#"{"apiVersion":"velero.io/v1","kind":"Restore","metadata":{"name":"r1"},"spec":{"backupName":"nightly-1","namespaceMapping":{"shop":"shop-drill"}},"status":{"phase":"Completed","startTimestamp":"2026-11-21T02:05:00Z","completionTimestamp":"2026-11-21T02:06:00Z","progress":{"totalItems":28,"itemsRestored":28}}}"#,
    ),
];

fn told(backups: &[Backup]) {
    for b in backups {
        assert!(b.bytes.is_none_or(|_| b.source == "s"), "{b:?}");
        assert!(serde_json::to_string(b).is_ok());
    }
}

#[test]
fn fuzz_files_of_backups() {
    check!().with_iterations(4000).with_type::<Mutant>().for_each(|mutant| {
        let bytes = |sample: &str| mutant.changed(sample);
        let check = Bytes { bytes: bytes(RESTIC_CHECK), written: Some(now()) };
        for read in [
            pgbackrest::read("s", &bytes(PGBACKREST)),
            report::read("s", &bytes(REPORT)),
            restic::read("s", &bytes(RESTIC), None, now()),
            restic::read("s", RESTIC.as_bytes(), Some(&check), now()),
        ] {
            match read {
                Ok(backups) => told(&backups),
                Err((_, why)) => assert!(!why.is_empty()),
            }
        }
    });
}

#[test]
fn fuzz_heads_of_dumps() {
    check!().with_iterations(3000).with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(head, tail)| {
        let _ = pg_dump::of_bytes(head, tail);
        let custom = [b"PGDMP\x01\x0e\x00\x04\x08\x01", &head[..]].concat();
        let found = pg_dump::of_bytes(&custom, tail).expect("its first bytes say what it is");
        assert!(!found.why.is_empty());
    });
}

#[test]
fn fuzz_answers_of_opensearch() {
    check!().with_iterations(3000).with_type::<Mutant>().for_each(|mutant| {
        let json = |sample: &str| -> Option<Value> { serde_json::from_slice(&mutant.changed(sample)).ok() };
        let mut answers = opensearch::Answers::default();
        if let Some(snapshots) = json(SNAPSHOTS) {
            answers.snapshots = Ok(snapshots);
        }
        if let Some(policies) = json(POLICIES) {
            answers.policies = Ok(policies.clone());
            answers.explained = Some(policies);
        }
        let (read, _) = opensearch::read("s", "r", &answers, None, now());
        told(&read.backups);
        let _ = answers.newest(3);
    });
}

#[test]
fn fuzz_objects_of_velero() {
    check!().with_iterations(3000).with_type::<Mutant>().for_each(|mutant| {
        let mut objects = velero::Objects::default();
        let changed = usize::from(mutant.sample) % VELERO.len();
        for (i, (kind, sample)) in VELERO.iter().enumerate() {
            let json = if i == changed { text(mutant, sample) } else { (*sample).to_owned() };
            if let Ok(object) = serde_json::from_str(&json) {
                objects.put(*kind, vec![object]);
            }
        }
        told(&velero::read("s", &objects, now()).backups);
    });
}

// --- our own files ---------------------------------------------------------------------------

/// What holds of every rule that is taken, with the names of this desk known or not.
fn led(config: &rules::Config) {
    assert!((1..=120).contains(&config.every), "{}", config.every);
    for r in &config.rollouts {
        let id = &r.target;
        assert!(!id.cluster.is_empty() && !id.namespace.is_empty() && !id.name.is_empty(), "{id}");
        assert_eq!(config.rollouts.iter().filter(|other| other.target == *id).count(), 1, "{id} is there once");
        let weights = &r.stages.weights;
        assert!(weights.is_sorted_by(|a, b| a < b) && weights.iter().all(|w| (1..=100).contains(w)), "{weights:?}");
        assert!(weights.last().is_none_or(|w| *w == 100), "{weights:?}");
        assert!(r.stages.each > 0 && r.stages.watch >= 0 && r.ready > 0, "{r:?}");
        if let Some(rules::PairRules::ReplicaCanary { stable, canary }) = &r.pair {
            assert_ne!(stable, canary);
        }
        if let Some(rules::PairRules::BlueGreen { blue, green, .. }) = &r.pair {
            assert!(blue.0 != green.0 && blue.1 != green.1, "{r:?}");
        }
    }
}

#[test]
fn fuzz_rules_of_rollouts() {
    const PAIRS: &str = "every = \"5s\"\n[[rollouts]]\ntarget = \"c/n/web\"\nready = \"2m\"\nzone_minimum = 1\n\
        [rollouts.stages]\nweights = [5, 50, 100]\neach = \"1m\"\n[rollouts.replica_canary]\nstable = \"web\"\n\
        canary = \"web-canary\"\n[[rollouts]]\ntarget = \"c/n/site\"\nfast_rollback = \"1h\"\n\
        [rollouts.blue_green]\nservice = \"site\"\nblue = \"site-blue\"\ngreen = \"site-green\"\n";
    let read = |source: String| {
        let doc = match Doc::parse(Path::new("rollouts.toml"), source.clone()) {
            Ok(doc) => doc,
            Err(faults) => return placed(&faults, &source),
        };
        for known in [None, Some(rules::Known::default())] {
            match rules::parse(&doc, known.as_ref()) {
                Ok(config) => led(&config),
                Err(faults) => placed(&faults, &source),
            }
        }
    };
    for sample in [rules::SAMPLE, PAIRS] {
        let doc = Doc::parse(Path::new("rollouts.toml"), sample.to_owned()).expect("a document");
        led(&rules::parse(&doc, None).expect("a good sample"));
    }
    check!().with_iterations(3000).with_type::<Mutant>().for_each(|mutant| {
        read(text(mutant, if mutant.sample % 2 == 0 { rules::SAMPLE } else { PAIRS }));
    });
    check!().with_iterations(1000).for_each(|bytes: &[u8]| {
        read(format!("[[rollouts]]\n{}", String::from_utf8_lossy(bytes)));
    });
}

#[test]
fn fuzz_backups_and_agreements() {
    const AGREEMENT: &str = include_str!("../../assets/sla.sample.toml");
    check!().with_iterations(2000).with_type::<Mutant>().for_each(|mutant| {
        let source = text(mutant, config::SAMPLE);
        if let Err(faults) =
            Doc::parse(Path::new("backups.toml"), source.clone()).and_then(|doc| config::parse(&doc).map(drop))
        {
            placed(&faults, &source);
        }
        let source = text(mutant, AGREEMENT);
        match Agreement::parse(Path::new("sla.toml"), &source) {
            Ok(agreement) => {
                assert!(agreement.services.iter().all(|s| s.target > 0.0 && s.target <= 1.0), "{agreement:?}");
                assert!(agreement.services.iter().all(|s| s.timeout_seconds < s.interval_seconds), "{agreement:?}");
            }
            Err(faults) => placed(&faults, &source),
        }
    });
}
