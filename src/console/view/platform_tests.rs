//! The platform's panes, empty, broken and full: what stands on the screen.

use std::sync::Arc;

use super::super::state::{State, Tab};
use super::super::update::tests::{bare, loaded, look, now, press};
use super::super::update::{Msg, update};
use super::platform_sample::{ago, canary, sample};
use super::tests::{each_of, text};
use crate::desk::Platform;
use crate::model::backup::Grade;
use crate::model::health::{SourceWord, Tri};
use crate::model::rollout::{Rollout, RolloutPhase};
use crate::model::slo::SloState;

fn with_sample(s: &mut State) {
    update(s, now(), Msg::Platform(Arc::new(sample())));
}

const LOOKS: [(&str, bool); 3] = [("dark", false), ("mono", true), ("deuteranopia", false)];

#[test]
fn lists() {
    for (name, keys) in [("slo", "4"), ("sla", "4 ]"), ("checklists", "4 ] ]"), ("rollouts", "5"), ("backups", "6")] {
        each_of(&LOOKS, name, |s| {
            with_sample(s);
            press(s, keys);
        });
    }
}

#[test]
fn details() {
    for (name, keys) in [
        ("slo_full", "4 enter"),
        ("slo_full_end", "4 enter G"),
        ("checklist_full", "4 ] ] enter"),
        ("rollout_full", "5 enter"),
        ("rollout_full_end", "5 enter G"),
        ("backup_full", "6 enter"),
    ] {
        each_of(&LOOKS[..2], name, |s| {
            with_sample(s);
            press(s, keys);
        });
    }
}

#[test]
fn empty_panes_say_what_would_fill_them() {
    for (tab, words) in [
        (Tab::Slo, "operate.slos"),
        (Tab::Sla, "operate.sla"),
        (Tab::Checklists, "no checklist"),
        (Tab::Rollouts, "operate.kubernetes"),
        (Tab::Backups, "operate.backups"),
    ] {
        let mut s = bare((80, 24), look("dark", false));
        s.tab = tab;
        assert!(text(&s).contains(words), "{tab:?}: {}", text(&s));
        press(&mut s, "j enter >");
        assert!(!s.full, "nothing opens");
    }
    each_of(&LOOKS[..1], "slo_empty", |s| {
        press(s, "4");
    });
}

#[test]
fn loading_and_broken_sources_are_named() {
    for (tab, kind) in [(Tab::Slo, "prometheus"), (Tab::Rollouts, "kubernetes"), (Tab::Backups, "velero")] {
        let mut s = bare((100, 24), look("dark", false));
        s.tab = tab;
        let with = |state| {
            let mut p = Platform { sources: sample().sources, ..Platform::default() };
            p.sources[0].kind = kind.into();
            p.sources[0].state = state;
            Arc::new(p)
        };
        update(&mut s, now(), Msg::Platform(with(SourceWord::Starting)));
        assert!(text(&s).contains("loading from prom-eu"), "{}", text(&s));
        update(&mut s, now(), Msg::Platform(with(SourceWord::Forbidden)));
        let t = text(&s);
        for words in ["forbidden", "last good at 08:46", "next try at 09:01", "other tabs still works"] {
            assert!(t.contains(words), "{tab:?} {words}: {t}");
        }
    }
}

#[test]
fn what_is_unknown_is_never_said_to_be_well() {
    let mut p = sample();
    p.slos.retain(|(_, x)| x.state == SloState::Stale);
    p.rollouts.clear();
    p.sla.clear();
    p.assets.retain(|a| a.rpo == Tri::Unknown);
    p.assets[0].grade = Grade::Unknown;
    let mut s = loaded((160, 24), look("dark", false));
    update(&mut s, now(), Msg::Platform(Arc::new(p)));
    let t = text(&s);
    let head: Vec<&str> = t.lines().take(2).collect();
    assert!(head[0].contains("1 SLO unknown") && head[0].contains("backup unknown"), "{head:?}");
    assert!(!head[0].contains("backups ok") && !head[0].contains("budget"), "{head:?}");
    assert!(head[1].contains("SLO ?") && head[1].contains("Backups ?"), "{head:?}");
}

#[test]
fn at_80_columns_the_header_still_says_the_worst_of_each() {
    let head = |p: &Platform, width| {
        let mut s = loaded((width, 24), look("dark", false));
        update(&mut s, now(), Msg::Platform(Arc::new(p.clone())));
        text(&s).lines().next().unwrap().to_owned()
    };
    let mut p = sample();
    let held = p.rollouts[0].clone();
    let t = head(&p, 80);
    assert!(t.contains("SLO -50 %  roll held  back LATE"), "{t}");
    // One that failed is worse, behind one that is held too.
    p.rollouts = vec![held.clone(), Rollout { aborted: true, phase: RolloutPhase::Degraded, ..held }];
    let t = head(&p, 80);
    assert!(t.contains("SLO -50 %  roll FAILED  back LATE"), "{t}");
    let t = head(&p, 160);
    assert!(t.contains("budget -50 % left  rollout FAILED  backup LATE"), "{t}");
}

#[test]
fn the_tab_line_fits_with_every_badge() {
    for width in [60, 80, 100, 160] {
        let mut s = loaded((width, 24), look("mono", true));
        with_sample(&mut s);
        s.queue.total = Some(crate::model::query::Count { n: 10_000, exact: false });
        s.facts.queue.held = Some("held".into());
        let line = text(&s).lines().nth(1).unwrap().to_owned();
        assert!(line.len() <= usize::from(width) && !line.contains('~'), "{width}: {line}");
        for n in 1..=9 {
            assert!(line.contains(&n.to_string()), "{width}: {n} in {line}");
        }
        assert_eq!(line.matches('!').count(), 4, "{width}: {line}");
    }
}

#[test]
fn nothing_hostile_and_ascii_is_ascii() {
    for size in [(60, 15), (80, 24), (160, 45)] {
        for keys in ["4", "4 enter G", "4 ]", "4 ] enter", "4 ] ]", "5", "5 enter", "5 enter G", "6", "6 G enter"] {
            let mut s = bare(size, look("mono", true));
            with_sample(&mut s);
            press(&mut s, keys);
            s.notice = None;
            // The mark for a line break within foreign text is the one letter of its own.
            let t = text(&s).replace('\u{23ce}', "");
            assert!(t.is_ascii(), "{size:?} {keys}: {:?}", t.chars().find(|c| !c.is_ascii()));
            assert!(t.chars().all(|c| c == '\n' || !c.is_control()), "{size:?} {keys}");
        }
    }
}

#[test]
fn the_cursor_stays_on_what_it_was_on() {
    let mut s = loaded((160, 45), look("dark", false));
    with_sample(&mut s);
    press(&mut s, "6 j");
    assert_eq!(s.spots[&Tab::Backups].cursor.as_deref(), Some("postgres"));
    let mut p = sample();
    p.assets.reverse();
    update(&mut s, now(), Msg::Platform(Arc::new(p.clone())));
    press(&mut s, "j");
    assert_eq!(s.spots[&Tab::Backups].cursor.as_deref(), Some("cluster objects"));
    p.assets.pop();
    update(&mut s, now(), Msg::Platform(Arc::new(p)));
    assert_eq!(s.spots[&Tab::Backups].cursor.as_deref(), Some("postgres"), "it takes the place's new line");
    press(&mut s, "enter G G G");
    let lines = s.spots[&Tab::Backups].scroll;
    press(&mut s, "k");
    assert!(lines == 0 || s.spots[&Tab::Backups].scroll == lines - 1, "the end is the end");
    press(&mut s, "q");
    assert!(!s.full && s.tab == Tab::Backups);
    press(&mut s, "q");
    assert_eq!(s.tab, Tab::Queue);
}

#[test]
fn a_stage_says_how_long_it_still_takes() {
    let strip = |r: &Rollout| -> String {
        super::super::health::strip(r, now()).iter().map(|(t, _)| t.as_str().to_owned()).collect()
    };
    let mut r = canary();
    assert_eq!(strip(&r), "5% ok > 25% ok > [50% 03:12 left] > 100%");
    r.paused_since = Some(ago(700));
    assert_eq!(strip(&r), "5% ok > 25% ok > [50% time is over] > 100%");
    r.step = Some(6);
    assert_eq!(strip(&r), "5% ok > 25% ok > 50% ok > 100% ok");
    r.aborted = true;
    assert!(strip(&r).ends_with("ABORTED") && !strip(&r).contains("ok"));
}

#[test]
fn a_pause_of_its_own_is_no_fault() {
    let mut p = sample();
    p.rollouts.truncate(1);
    p.rollouts[0].gates.clear();
    let head = |p: &Platform| {
        let mut s = loaded((160, 24), look("dark", false));
        update(&mut s, now(), Msg::Platform(Arc::new(p.clone())));
        press(&mut s, "5");
        text(&s)
    };
    assert!(head(&p).contains("rollout held") && head(&p).contains("STUCK"), "{}", head(&p));
    p.rollouts[0].stuck = p.rollouts[0].paused_since.map(|at| ("CanaryPauseStep".into(), at));
    let t = head(&p);
    assert!(t.contains("rollout 50 %") && !t.contains("STUCK") && t.contains("for a person, since 6m"), "{t}");
}
