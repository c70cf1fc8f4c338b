//! A canary led from 5 to 100 % and another one aborted, from the keyboard: an analyst's console proposes, a
//! commander's approves and runs, on a real apiserver with the real controller of Argo Rollouts.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test starts programs and stops at the first surprise"
)]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cluster::{Cluster, PATIENCE, healthy, paused_at};
use common::{BIN, Term, check_grammar, type_code};

/// Somebody else than who runs the tests.
const ANALYST: u32 = 2001;

/// The kernel says who sits at a console: another person is another uid, which a user namespace gives. What it writes
/// still belongs to who runs the tests.
const AS: [&str; 5] = ["--user", "--map-user=2001", "--map-group=2001", "--", BIN];

struct Floor {
    dir: tempfile::TempDir,
}

impl Floor {
    fn new(cluster: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let me = std::fs::metadata(dir.path()).unwrap().uid();
        let kube = |who: &str| cluster.join(format!("{who}.kubeconfig")).display().to_string();
        let config = format!(
            "[console]\nclock = \"off\"\n[triage]\nbackend = \"rules\"\n[operate.kubernetes.prod]\nkubeconfig = {:?}\n\
             write_kubeconfig = {:?}\nnamespaces = [\"demo\"]\n",
            kube("reader"),
            kube("writer")
        );
        let roster = format!(
            "[[people]]\nid = \"ana\"\nname = \"Ana\"\nroles = [\"analyst\"]\nuids = [{ANALYST}]\n\
             [[people]]\nid = \"kim\"\nname = \"Kim\"\nroles = [\"commander\"]\nuids = [{me}]\n"
        );
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        std::fs::write(dir.path().join("roster.toml"), roster).unwrap();
        let floor = Self { dir };
        floor.policy("");
        floor
    }

    fn policy(&self, text: &str) {
        // In one piece: both consoles may read it at any time.
        let part = self.dir.path().join("policy.part");
        std::fs::write(&part, text).unwrap();
        std::fs::rename(part, self.dir.path().join("policy.toml")).unwrap();
    }

    fn args(&self) -> Vec<String> {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        vec!["--config".into(), at("config.toml"), "--data-dir".into(), at("data")]
    }

    fn analyst(&self, size: (u16, u16)) -> Term {
        let own = self.args();
        let args: Vec<&str> = AS.iter().copied().chain(own.iter().map(String::as_str)).collect();
        Term::start("unshare", &args, size)
    }

    fn commander(&self, size: (u16, u16)) -> Term {
        let own = self.args();
        Term::start(BIN, &own.iter().map(String::as_str).collect::<Vec<_>>(), size)
    }

    /// Records of the audit log of this kind.
    fn audit(&self, kind: &str) -> Vec<serde_json::Value> {
        let out = Command::new(BIN).args(self.args()).args(["--json", "audit", "query", "--kind", kind]).output();
        let text = String::from_utf8(out.unwrap().stdout).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }
}

fn another_person_can_be_played() -> bool {
    let tried = Command::new("unshare").args(&AS[..4]).arg("true").output();
    let ok = tried.is_ok_and(|o| o.status.success());
    if !ok {
        println!("skipped: no user namespaces here, so that a console cannot be somebody else's");
    }
    ok
}

/// Leaves what shows this. The next key is pressed when it is gone: right behind an escape it would be another key.
fn leave(term: &mut Term, what: &str) {
    shows(term, what, |s| s.contains(what));
    term.send("\u{1b}");
    shows(term, &format!("end of {what}"), |s| !s.contains(what));
}

/// Waits as long as the cluster may need; the terminal's own patience is for what the console does alone.
fn shows(term: &Term, what: &str, ok: impl Fn(&str) -> bool) -> String {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let screen = term.screen();
        if ok(&screen) {
            return screen;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no {what:?} on the screen:\n{}", term.screen());
}

/// The canary's line of the list, without what stands beside it.
fn line(screen: &str) -> String {
    let list = |l: &str| l.split('\u{2502}').next().unwrap_or_default().to_owned();
    screen.lines().map(list).find(|l| l.contains("  web ")).unwrap_or_default()
}

/// From the analyst's Rollouts pane to a request that waits.
fn propose(t: &mut Term, words: &str) {
    t.send("p");
    t.wait_for("Propose for prod/demo/web");
    t.wait_for(words);
    t.send("\r");
    // The exact patch and what the cluster says it would change, before anything is proposed.
    let screen = t.wait_for("the dry run changes");
    assert!(screen.contains("PATCH /apis/argoproj.io/v1alpha1/namespaces/demo/rollouts/web/"), "{screen}");
    assert!(screen.contains("pauseConditions"), "{screen}");
    t.press("error ratio looked at");
    t.send("\r");
    t.wait_for("WAITING");
    leave(t, "WAITING");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_led_and_another_aborted_from_the_keyboard() {
    if !another_person_can_be_played() {
        return;
    }
    let Some(cluster) = Cluster::start().await else { return };
    cluster.create().await;
    cluster.until("healthy", healthy).await;
    let floor = Floor::new(cluster.dir.path());
    let (mut ana, mut kim) = (floor.analyst((80, 24)), floor.commander((160, 45)));
    for (t, who) in [(&mut ana, "Ana analyst"), (&mut kim, "Kim commander")] {
        t.wait_for(who);
        t.send("5");
    }
    shows(&ana, "the canary", |s| line(s).contains("healthy"));
    ana.send("p");
    ana.wait_for("not now: ");
    leave(&mut ana, "not now: ");

    cluster.image("web:2").await;
    for (n, (now, next, step)) in
        [(5, "promote, on to 25 %", 1), (25, "promote, on to 50 %", 3), (50, "on to 100 %", 5)].into_iter().enumerate()
    {
        for t in [&ana, &kim] {
            let weight = format!("{now} / {now} %");
            shows(t, "its pause at the weight", |s| line(s).contains("paused") && line(s).contains(&weight));
        }
        if n == 0 {
            floor.policy("[[budget]]\nactions = [\"rollout-promote\"]\n");
        }
        propose(&mut ana, next);
        shows(&kim, "the request", |s| s.contains("rollout-promote  pending"));
        kim.send("r");
        if n == 0 {
            over_budget(&mut kim);
        } else {
            type_code(&mut kim);
        }
        kim.wait_for("runs it, once");
        cluster.until("untouched by its approval", paused_at(step)).await;
        kim.send("x");
        kim.wait_for("RUN NOW?");
        type_code(&mut kim);
        kim.wait("done", |s| s.contains("REQUEST") && s.contains("done"));
        leave(&mut kim, "REQUEST");
        if n == 0 {
            floor.policy("");
        }
    }
    cluster.until("healthy at the new revision", healthy).await;
    assert_eq!(cluster.sizes().await, [0, 20]);
    for t in [&ana, &kim] {
        shows(t, "the end", |s| line(s).contains("healthy") && line(s).contains("100 / 100 %"));
    }
    let over = floor.audit("budget.override");
    assert_eq!(over.len(), 1, "{over:?}");
    assert_eq!((over[0]["by"].as_str(), over[0]["body"]["reason"].as_str()), (Some("kim"), Some("it carries the fix")));

    aborted(&cluster, &mut ana, &mut kim).await;
    for t in [&ana, &kim] {
        check_grammar(&t.bytes()).unwrap();
    }
}

/// Signing is refused with the reason; with a reason of her own a commander may, and signs all the same.
fn over_budget(kim: &mut Term) {
    let screen = kim.wait_for("BLOCKED as it stands");
    assert!(screen.contains("the error budget is not known for normal changes"), "{screen}");
    type_code(kim);
    kim.wait("the refusal", |s| s.matches("the error budget is not known").count() > 1);
    kim.send("b");
    kim.wait_for("Over the error budget");
    kim.press("it carries the fix");
    kim.send("\r");
    kim.wait_for("OVER THE ERROR BUDGET, in your name");
    type_code(kim);
}

/// One key asks for it; the tier of an abort is confirmed by `y`.
async fn aborted(cluster: &Cluster, ana: &mut Term, kim: &mut Term) {
    cluster.image("web:3").await;
    for t in [&*ana, &*kim] {
        shows(t, "the next canary", |s| line(s).contains("5 / 5 %"));
    }
    ana.send("a");
    let screen = ana.wait_for("WAITING");
    assert!(screen.contains(r#"{"status":{"abort":true}}"#), "the exact patch: {screen}");
    leave(ana, "WAITING");
    shows(kim, "the request", |s| s.contains("rollout-abort  pending"));
    kim.send("r");
    kim.wait_for(" to sign");
    kim.send("y");
    kim.wait_for("runs it, once");
    kim.send("x");
    kim.wait_for(" to run");
    kim.send("y");
    let r = cluster.until_aborted().await;
    assert!(r["status"]["message"].as_str().unwrap().contains("RolloutAborted"), "{:#}", r["status"]);
    let until = Instant::now() + PATIENCE;
    while cluster.sizes().await != [0, 0, 20] {
        assert!(Instant::now() < until, "{:?}", cluster.sizes().await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    leave(kim, "REQUEST");
    shows(ana, "the failure", |s| s.contains("rollout FAILED") && line(s).contains("0 /"));
    kim.send("\r");
    shows(kim, "the failure", |s| s.contains("degraded") && s.contains("ABORTED") && s.contains("RolloutAborted"));
}
