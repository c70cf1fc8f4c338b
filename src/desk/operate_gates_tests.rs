use super::*;
use crate::operate::rollout::gate::gate;

const RULES: &str = "[[rollouts]]\ntarget = \"prod/shop/web\"\n[[rollouts]]\ntarget = \"prod/shop/site\"\n\
    [rollouts.blue_green]\nservice = \"site-svc\"\nblue = \"site-blue\"\ngreen = \"site-green\"\n\
    [[rollouts]]\ntarget = \"prod/shop/pair\"\n[rollouts.replica_canary]\nstable = \"pair\"\ncanary = \"pair-canary\"\n";

struct Shop {
    dir: tempfile::TempDir,
    store: SqliteStore,
}

impl Shop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("rollouts.toml"), RULES).unwrap();
        let store = SqliteStore::open(&dir.path().join("s.sqlite")).unwrap();
        Self { dir, store }
    }

    fn looked(&self, name: &str, change: impl FnOnce(&mut Record)) {
        let mut record = Record {
            at: at(0),
            revision: Some("new".into()),
            moving: true,
            gates: vec![gate("error ratio", Tri::Pass, "fine"), gate("readiness", Tri::Pass, "signed")],
            advice: None,
            fast_rollback_until: None,
            way_back: Some("blue".into()),
            abandon: None,
            sizes: [("canary".to_owned(), 5), ("stable".to_owned(), 15)].into(),
            valid: 90,
            unreachable: false,
        };
        change(&mut record);
        let id = RolloutId { cluster: "prod".into(), namespace: "shop".into(), name: name.into() };
        record::keep(&self.store, &id, &record).unwrap();
    }

    /// What holds this act, in words.
    fn holds(&self, verb: RolloutVerb, target: &str, params: &[(&str, &str)], seconds: i64) -> Vec<String> {
        let known = self.known(verb, target, params, seconds);
        known.guards.into_iter().map(|g| format!("{} {}: {}", g.what, g.answer.word(), g.why)).collect()
    }

    fn known(&self, verb: RolloutVerb, target: &str, params: &[(&str, &str)], seconds: i64) -> Guarding {
        let defs = crate::respond::rollout_actions();
        let wanted = |d: &&ActionDef| matches!(&d.executor, Executor::Kubernetes { verb: v } if *v == verb);
        let def = defs.iter().find(wanted).unwrap();
        let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let path = self.dir.path().join("rollouts.toml");
        let targets = [format!("prod/shop/{target}")];
        match guarded(def) {
            true => holds(&path, &self.store, def, &targets, &params, at(seconds)),
            false => Guarding::default(),
        }
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

#[test]
fn going_on_asks_the_newest_look_and_going_back_asks_nothing() {
    let shop = Shop::new();
    let promote = |t| shop.holds(RolloutVerb::Promote, "web", &[], t).join("\n");
    assert!(promote(0).contains("nobody looked at it yet"), "{}", promote(0));
    shop.looked("web", |_| {});
    assert_eq!(promote(10), "");
    assert!(promote(200).contains("last looked at"), "too long ago passes nothing: {}", promote(200));
    shop.looked("web", |r| r.gates[0] = gate("error ratio", Tri::Unknown, "stale"));
    assert!(promote(10).contains("gate \"error ratio\" of prod/shop/web unknown: stale"), "{}", promote(10));
    shop.looked("web", |r| r.moving = false);
    assert!(promote(10).contains("nothing was being rolled out"), "{}", promote(10));
    for verb in [RolloutVerb::Abort, RolloutVerb::Undo, RolloutVerb::Pause] {
        assert_eq!(shop.holds(verb, "web", &[], 10), Vec::<String>::new(), "{verb:?}");
    }
    assert_eq!(shop.holds(RolloutVerb::Promote, "other", &[], 10), Vec::<String>::new(), "no rules for it");
    shop.looked("web", |r| {
        r.gates = vec![gate("error ratio", Tri::Unknown, "x"), gate("readiness", Tri::Fail, "not signed")];
    });
    let retry = shop.holds(RolloutVerb::Retry, "web", &[], 10);
    assert_eq!(retry, ["gate \"readiness\" of prod/shop/web fail: not signed"], "it measures anew");
    std::fs::write(shop.dir.path().join("rollouts.toml"), "every = 3").unwrap();
    assert!(promote(10).contains("rollouts.toml:1:9"), "rules that cannot be read are not known: {}", promote(10));
}

#[test]
fn a_pair_is_guarded_by_its_members_and_its_way_back_is_open() {
    let shop = Shop::new();
    let bad = |r: &mut Record| r.gates = vec![gate("error ratio", Tri::Fail, "8 %")];
    shop.looked("site", bad);
    shop.looked("pair", bad);
    let open = |verb, target: &str, params: &[(&str, &str)]| shop.holds(verb, target, params, 10).is_empty();
    let switch = |to| open(RolloutVerb::SwitchSelector, "site-svc", &[("key", "version"), ("value", to)]);
    assert!(switch("blue") && !switch("green"), "back, and on");
    let scale = |target, n| open(RolloutVerb::Scale, target, &[("replicas", n)]);
    assert!(scale("pair-canary", "0") && scale("pair-canary", "4") && !scale("pair-canary", "6"));
    assert!(scale("pair", "20") && !scale("pair", "10"));
    assert!(!scale("site-blue", "0"), "the old side goes only when every gate passes");
    assert!(scale("site-blue", "3") && scale("web", "0"), "what is no step of a rollout");
}
#[test]
fn a_budget_holds_no_way_back_of_a_pair() {
    let shop = Shop::new();
    let sizes = || [("active".to_owned(), 5), ("preview".to_owned(), 5)].into();
    shop.looked("pair", |r| r.gates[0] = gate("error ratio", Tri::Fail, "8 %"));
    let back = |verb, target: &str, params: &[(&str, &str)]| shop.known(verb, target, params, 10).leads_back;
    let scale = |target, n| back(RolloutVerb::Scale, target, &[("replicas", n)]);
    assert!(scale("pair-canary", "0") && scale("pair-canary", "5") && scale("pair", "20"));
    assert!(!scale("pair-canary", "6") && !scale("pair", "14") && !scale("web", "0"));
    // Green is new and waits for its switch: it may go, and blue may not shrink.
    shop.looked("site", |r| (r.abandon, r.sizes) = (Some("site-green".into()), sizes()));
    assert!(scale("site-green", "0") && !scale("site-blue", "0") && !scale("site-blue", "4"));
    let open = shop.holds(RolloutVerb::Scale, "site-green", &[("replicas", "0")], 10);
    assert_eq!(open, Vec::<String>::new(), "no gate holds it either");
    // It serves: back to blue, which is brought up for that, in this label and no other.
    shop.looked("site", |r| r.sizes = sizes());
    assert!(!scale("site-green", "0") && !scale("site-blue", "0") && scale("site-blue", "5"));
    let switch = |key, to| back(RolloutVerb::SwitchSelector, "site-svc", &[("key", key), ("value", to)]);
    assert!(switch("version", "blue") && !switch("version", "green") && !switch("app", "blue"));
}
