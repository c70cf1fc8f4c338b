use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::model::playbook_run::VisitState;
use crate::playbook::Document;
use crate::playbook::Library;
use crate::playbook::lint;
use crate::playbook::short;

fn t0() -> Timestamp {
    "2026-11-21T03:00:00Z".parse().unwrap()
}

fn id(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

struct People {
    alice: PersonId,
    bob: PersonId,
    carol: PersonId,
}

const ANALYST: &[Role] = &[Role::Analyst];
const LEAD: &[Role] = &[Role::Lead];
const COMMANDER: &[Role] = &[Role::Commander];

impl People {
    fn new() -> Self {
        Self { alice: id("alice"), bob: id("bob"), carol: id("carol") }
    }

    fn alice(&self) -> Actor<'_> {
        Actor { id: &self.alice, roles: ANALYST }
    }

    fn bob(&self) -> Actor<'_> {
        Actor { id: &self.bob, roles: LEAD }
    }

    fn carol(&self) -> Actor<'_> {
        Actor { id: &self.carol, roles: COMMANDER }
    }
}

fn text(t: &str) -> Untrusted {
    Untrusted::new(t)
}

fn with(values: &[(&str, &str)]) -> Begin {
    let values = values.iter().map(|(n, v)| ((*n).to_owned(), text(v))).collect();
    Begin { id: "01TEST".into(), alert: None, case: None, parent: None, values }
}

fn toml(source: &str) -> Playbook {
    let doc = short::from_toml(Path::new("x.toml"), source).unwrap_or_else(|e| panic!("{e}"));
    let found = lint::lint(&doc, None);
    assert!(lint::workable(&found), "{found:#?}");
    doc.view("x")
}

const HEAD: &str = "key = \"x\"\ntitle = \"X\"\ncreated = \"2026-01-01T00:00:00.000Z\"\n";

/// A run and who works it.
struct Play<'a> {
    book: &'a Playbook,
    run: Run,
    now: Timestamp,
}

impl<'a> Play<'a> {
    fn new(book: &'a Playbook, values: &[(&str, &str)], by: &Actor<'_>) -> Self {
        let (run, _) = begin(book, with(values), by, t0()).unwrap();
        Self { book, run, now: t0() }
    }

    fn try_it(&mut self, event: Event, by: Option<&Actor<'_>>) -> Outcome<Vec<Effect>> {
        let (run, effects) = advance(self.book, &self.run, &event, by, self.now)?;
        holds(&self.run, &run, &effects);
        self.run = run;
        Ok(effects)
    }

    fn go(&mut self, event: Event, by: &Actor<'_>) -> Vec<Effect> {
        self.try_it(event.clone(), Some(by)).unwrap_or_else(|e| panic!("{event:?}: {e}"))
    }

    fn done(&mut self, n: u32, outputs: &[(&str, Option<&str>)], by: &Actor<'_>) {
        let outputs = outputs.iter().map(|(n, v)| ((*n).to_owned(), v.map(text))).collect();
        self.go(Event::Done { visit: n, outputs }, by);
    }

    fn at(&self, key: &str) -> u32 {
        let v = self.run.visits.iter().rev().find(|v| v.key == key);
        v.unwrap_or_else(|| panic!("{key} was not come to: {:?}", self.keys())).n
    }

    fn state(&self, key: &str) -> VisitState {
        self.run.visit(self.at(key)).unwrap().state
    }

    fn keys(&self) -> Vec<(&str, VisitState)> {
        self.run.visits.iter().map(|v| (v.key.as_str(), v.state)).collect()
    }

    /// Does whatever is open until it is over, giving these values; signs what wants signatures.
    fn finish(&mut self, people: &People, values: &BTreeMap<&str, &str>) {
        self.finish_with(people, |name| values.get(name).copied());
    }

    /// The same, asked anew each time a step gives something.
    fn finish_with<'v>(&mut self, people: &People, mut value: impl FnMut(&str) -> Option<&'v str>) {
        for _ in 0..200 {
            let Some(v) = self.run.open().next().cloned() else { break };
            let step = self.book.step(&v.step).unwrap().clone();
            assert_eq!(v.state, VisitState::Ready, "{}: {:?}", v.key, v.reason);
            let mut signed: Vec<PersonId> = Vec::new();
            for role in &step.sign_off {
                let of_roster = ["lead", "commander"].contains(&role.as_str());
                // A commander or a lead who is still to sign for themselves records nobody else's word.
                let kept = |who: &Actor<'_>| {
                    let own = if *who.id == people.carol { "commander" } else { "lead" };
                    *who.id != people.alice && step.sign_off.iter().any(|r| r == own)
                };
                let by = match role.as_str() {
                    "lead" => people.bob(),
                    "commander" => people.carol(),
                    _ => [people.alice(), people.bob(), people.carol()]
                        .into_iter()
                        .find(|a| !signed.contains(a.id) && !kept(a))
                        .unwrap(),
                };
                signed.push(by.id.clone());
                let named = (!of_roster).then(|| text("by telephone, note in the case"));
                self.go(Event::Sign { visit: v.n, role: role.clone(), named }, &by);
            }
            let outputs: Vec<(&str, Option<&str>)> =
                step.out_args.iter().map(|n| (n.as_str(), value(n.trim_matches('_')))).collect();
            self.done(v.n, &outputs, &people.alice());
        }
    }
}

/// What is so of every transition.
fn holds(before: &Run, after: &Run, effects: &[Effect]) {
    let records = effects.iter().filter(|e| matches!(e, Effect::Record { .. })).count() as u64;
    assert_eq!(after.seq, before.seq + records, "each transition has its record");
    for (a, b) in before.visits.iter().zip(&after.visits) {
        assert!(!a.state.over() || (a.state == b.state && a.ended_at == b.ended_at), "{}: what is over stays", a.key);
    }
    assert!(after.visits.len() >= before.visits.len());
    let open = after.visits.iter().any(|v| v.state.wants_somebody() || v.state == VisitState::Waiting);
    match after.state {
        RunState::Running => assert!(open, "nobody can do anything: {after:#?}"),
        _ => assert!(after.visits.iter().all(|v| v.state.over()), "over, and not all of it"),
    }
}

#[test]
fn malware_is_worked_to_the_end() {
    let library = Library::bundled();
    let people = People::new();
    let book = &library.get("malware").unwrap().book;
    let sha = "a".repeat(64);
    let values =
        BTreeMap::from([("sha256", sha.as_str()), ("ran", "true"), ("verdict", "malicious"), ("others", "true")]);
    let mut play = Play::new(book, &[("host", "fin-ws-014")], &people.alice());
    play.finish(&people, &values);
    assert_eq!(play.run.state, RunState::Done, "{:?}", play.keys());
    for key in ["isolate", "memory", "scope", "wide", "block", "rebuild", "watch"] {
        assert_eq!(play.state(key), VisitState::Done, "{key}");
    }
    assert!(!play.keys().iter().any(|k| k.0 == "stuck" || k.0 == "close-benign"));
    // The same with a harmless file: short.
    let values = BTreeMap::from([("sha256", sha.as_str()), ("ran", "false"), ("verdict", "benign")]);
    let mut play = Play::new(book, &[("host", "fin-ws-014")], &people.alice());
    play.finish(&people, &values);
    assert_eq!((play.run.state, play.state("close-benign")), (RunState::Done, VisitState::Done));
    assert!(!play.keys().iter().any(|k| k.0 == "isolate"));
}

#[test]
fn every_bundled_playbook_comes_to_an_end() {
    let people = People::new();
    for item in Library::bundled().items() {
        let book = &item.book;
        let external = book.variables.iter().filter(|(_, v)| v.external);
        let any = |n: &str, kind: &str| match kind {
            _ if book.clocks.contains_key(n) => "now",
            "ipv4-addr" => "192.0.2.1",
            _ => "x",
        };
        let values: Vec<(&str, &str)> = external.map(|(n, v)| (n.as_str(), any(n, &v.kind))).collect();
        let mut play = Play::new(book, &values, &people.alice());
        let given = BTreeMap::from([
            ("spreading", "false"),
            ("pay", "refuse"),
            ("sanctioned", "clear"),
            ("gate", "pass"),
            ("finished", "true"),
            ("what_happened", "ran"),
            ("risk", "high"),
            ("shown", "mistake"),
            ("verdict", "unclear"),
            ("overruled", "false"),
            ("bottleneck", "memory"),
            ("backups", "partial"),
            ("moment", "x"),
            ("minutes", "12"),
            ("regions", "EU"),
            ("is_phishing", "true"),
            ("clicked", "true"),
            ("personal", "true"),
            ("lawful", "true"),
            ("urgent", "true"),
            ("change", "false"),
            ("attack", "true"),
            ("wrong_sent", "true"),
            ("owner_knows", "false"),
            ("data_read", "true"),
            ("good", "true"),
            ("fresh", "true"),
            ("proven", "true"),
            ("data_left", "true"),
            ("lives", "true"),
            ("ran", "true"),
            ("others", "true"),
            ("sha256", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ]);
        play.finish(&people, &given);
        assert_eq!(play.run.state, RunState::Done, "{}: {:?}", book.key, play.keys());
    }
}

#[test]
fn paying_takes_the_commander_and_counsel() {
    let library = Library::bundled();
    let people = People::new();
    let book = &library.get("ransomware").unwrap().book;
    let values = BTreeMap::from([
        ("spreading", "false"),
        ("backups", "lost"),
        ("data_left", "false"),
        ("lives", "true"),
        ("sanctioned", "clear"),
    ]);
    let mut play = Play::new(book, &[("first_host", "fs-01")], &people.alice());
    // Until the decision.
    for _ in 0..40 {
        let v = play.run.open().next().unwrap().clone();
        if v.key == "decide" {
            break;
        }
        let step = book.step(&v.step).unwrap();
        for role in &step.sign_off {
            let by = if role == "commander" { people.carol() } else { people.bob() };
            let named = (role != "commander").then(|| text("Dr. Weiss, letter of today"));
            play.go(Event::Sign { visit: v.n, role: role.clone(), named }, &by);
        }
        let outputs: Vec<_> =
            step.out_args.iter().map(|n| (n.as_str(), values.get(n.trim_matches('_')).copied())).collect();
        play.done(v.n, &outputs, &people.alice());
    }
    let n = play.at("decide");
    let pay = || Event::Done { visit: n, outputs: BTreeMap::from([("pay".into(), Some(text("pay")))]) };
    let sign = |role: &str, named: Option<&str>| Event::Sign { visit: n, role: role.into(), named: named.map(text) };
    assert!(
        matches!(play.try_it(pay(), Some(&people.carol())), Err(Refusal::Refused(m)) if m.contains("commander, legal"))
    );
    assert!(
        matches!(play.try_it(sign("commander", None), Some(&people.bob())), Err(Refusal::Refused(_))),
        "no commander"
    );
    play.go(sign("commander", None), &people.carol());
    assert!(matches!(play.try_it(sign("legal", None), Some(&people.bob())), Err(Refusal::Usage(_))), "who gave it?");
    let twice = play.try_it(sign("legal", Some("counsel said so")), Some(&people.carol()));
    assert!(matches!(twice, Err(Refusal::Refused(_))), "one person, two signatures");
    play.go(sign("legal", Some("Dr. Weiss, letter of today")), &people.bob());
    assert!(play.try_it(pay(), Some(&people.carol())).is_err(), "the executive is missing");
    let past = Event::Skip { visit: n, reason: text("no time") };
    assert!(matches!(play.try_it(past, Some(&people.alice())), Err(Refusal::Refused(_))), "an analyst goes past it");
    play.go(sign("executive", Some("CEO, by video at 04:10")), &people.alice());
    play.go(pay(), &people.carol());
    assert_eq!(play.state("pay-step"), VisitState::Ready);
    // A listed group: nobody comes to the decision at all.
    let mut other = Play::new(book, &[("first_host", "fs-01")], &people.alice());
    let mut values = values.clone();
    values.insert("sanctioned", "listed");
    other.finish(&people, &values);
    let went = |k: &str| other.keys().iter().any(|v| v.0 == k);
    assert!(other.run.state == RunState::Done && went("refuse") && !went("decide") && !went("pay-step"));
}

#[test]
fn what_failed_waits_for_a_person() {
    let book = toml(&format!(
        "{HEAD}exception = \"tell\"\n[[steps]]\nkey = \"a\"\nname = \"A\"\ndo = \"Do a\"\n\
         [[steps]]\nkey = \"b\"\nname = \"B\"\ndo = \"Do b\"\nthen = \"end\"\n\
         [[steps]]\nkey = \"tell\"\nname = \"Tell\"\ndo = \"Tell\"\n"
    ));
    let people = People::new();
    let mut play = Play::new(&book, &[], &people.alice());
    let fail = |n: u32, why: &str| Event::Fail { visit: n, reason: text(why) };
    assert!(matches!(play.try_it(fail(1, " "), Some(&people.alice())), Err(Refusal::Usage(_))), "a reason");
    play.go(fail(1, "it is broken"), &people.alice());
    assert_eq!((play.state("a"), play.state("tell")), (VisitState::Escalated, VisitState::Ready));
    play.done(play.at("tell"), &[], &people.alice());
    assert_eq!(play.state("a"), VisitState::Held);
    play.go(Event::Retry { visit: 1 }, &people.alice());
    let second = play.at("a");
    assert!(second != 1 && play.state("a") == VisitState::Ready);
    // A failure of the step for exceptions does not go round in circles.
    play.go(fail(second, "again"), &people.alice());
    let tell = play.at("tell");
    play.go(fail(tell, "nobody answers"), &people.alice());
    assert_eq!(play.state("tell"), VisitState::Held);
    play.go(Event::Skip { visit: tell, reason: text("told by hand") }, &people.bob());
    assert_eq!(play.state("a"), VisitState::Held);
    play.go(Event::Skip { visit: second, reason: text("done by hand") }, &people.bob());
    assert_eq!(play.state("b"), VisitState::Ready);
    // Given up: the run has failed, and says so.
    let b = play.at("b");
    play.go(fail(b, "no"), &people.alice());
    play.done(play.at("tell"), &[], &people.alice());
    play.go(fail(b, "we leave it"), &people.bob());
    assert_eq!(play.run.state, RunState::Failed);
    assert!(matches!(play.try_it(Event::Retry { visit: b }, Some(&people.bob())), Err(Refusal::Stale(_))));
}

const BRANCHES: &str = r#"
[vars.known]
type = "bool"

[[steps]]
key = "both"
parallel = ["left", "right"]
then = "which"

[[steps]]
key = "left"
name = "Left"
do = "Do left"
gives = ["known"]
failed = "mend"
then = "end"

[[steps]]
key = "right"
name = "Right"
do = "Do right"
time_box = "10m"
delay = "5m"

[[steps]]
key = "right-2"
name = "Right again"
do = "Do right again"
timeout = "1h"
failed = "end"
then = "end"

[[steps]]
key = "mend"
name = "Mend"
do = "Mend left"
then = "end"

[[steps]]
key = "which"
if = "__known__:value"
yes = "good"
no = "end"
then = "end"

[[steps]]
key = "good"
name = "Good"
do = "Do good"
then = "end"
"#;

#[test]
fn branches_clocks_and_what_is_not_known() {
    let book = toml(&format!("{HEAD}{BRANCHES}"));
    let people = People::new();
    let mut play = Play::new(&book, &[], &people.alice());
    assert_eq!((play.state("left"), play.state("right")), (VisitState::Ready, VisitState::Waiting));
    // Owners: taken, not done by others, taken over when said so; what follows on a branch is theirs.
    let (left, right) = (play.at("left"), play.at("right"));
    play.go(Event::Take { visit: left, over: false }, &people.alice());
    let done =
        |n: u32, v: Option<&str>| Event::Done { visit: n, outputs: BTreeMap::from([("known".into(), v.map(text))]) };
    assert!(matches!(play.try_it(done(left, Some("true")), Some(&people.bob())), Err(Refusal::Refused(_))));
    assert!(play.try_it(Event::Take { visit: left, over: false }, Some(&people.bob())).is_err());
    play.go(Event::Take { visit: left, over: true }, &people.bob());
    assert!(
        matches!(play.try_it(done(left, Some("perhaps")), Some(&people.bob())), Err(Refusal::Usage(_))),
        "its type"
    );
    let none = Event::Done { visit: left, outputs: BTreeMap::new() };
    assert!(matches!(play.try_it(none, Some(&people.bob())), Err(Refusal::Usage(m)) if m.contains("known (bool)")));
    play.go(Event::Assign { visit: right, to: id("bob") }, &people.alice());
    assert!(play.try_it(Event::Done { visit: right, outputs: BTreeMap::new() }, Some(&people.bob())).is_err(), "waits");
    // Five minutes later it is there; ten more and its time box is over, which only tells.
    play.now = t0() + SignedDuration::from_mins(5);
    play.try_it(Event::Tick, None).unwrap();
    assert_eq!(play.state("right"), VisitState::Ready);
    play.now = t0() + SignedDuration::from_mins(15);
    play.try_it(Event::Tick, None).unwrap();
    assert!(play.run.visit(right).unwrap().overdue && play.state("right") == VisitState::Ready);
    assert_eq!(play.try_it(Event::Tick, None).unwrap(), [], "told once");
    play.done(right, &[], &people.bob());
    assert_eq!(play.run.visit(play.at("right-2")).unwrap().owner, Some(id("bob")));
    // A timeout fails it; its on_failure ends the branch.
    play.now = t0() + SignedDuration::from_mins(76);
    play.try_it(Event::Tick, None).unwrap();
    assert_eq!(play.state("right-2"), VisitState::Failed);
    assert_eq!(play.run.visit(play.at("right-2")).unwrap().reason, Some(text("ACTION_TIMEOUT")));
    // What is found to be not known leaves the choice to a person, or to who finds out.
    play.go(done(left, None), &people.bob());
    assert_eq!(play.state("which"), VisitState::Undecided);
    let which = play.at("which");
    let decide = |b: &str| Event::Decide { visit: which, branch: b.into(), reason: text("asked the owner") };
    assert!(matches!(play.try_it(decide("maybe"), Some(&people.alice())), Err(Refusal::Usage(_))));
    let mut found = Play { book: &book, run: play.run.clone(), now: play.now };
    found.go(Event::Set { name: "known".into(), value: Some(text("true")) }, &people.alice());
    assert_eq!(found.state("good"), VisitState::Ready, "it is known now");
    play.go(decide("no"), &people.alice());
    assert_eq!(play.run.state, RunState::Done);
}

#[test]
fn a_restricted_run_keeps_its_words_out_of_the_log() {
    let library = Library::bundled();
    let people = People::new();
    let book = &library.get("insider-threat").unwrap().book;
    let (run, _) = begin(book, with(&[("subject", "HERON")]), &people.bob(), t0()).unwrap();
    assert!(
        run.seen_by(&people.bob, LEAD) && run.seen_by(&people.carol, COMMANDER) && !run.seen_by(&people.alice, ANALYST)
    );
    let note = Event::Note { visit: 1, text: text("it is Ms Example") };
    let (run, effects) = advance(book, &run, &note, Some(&people.bob()), t0()).unwrap();
    let told = format!("{effects:?}");
    assert!(told.contains("sha256") && !told.contains("Example"), "{told}");
    let admit = Event::Admit { person: people.alice.clone() };
    assert!(advance(book, &run, &admit, Some(&people.alice()), t0()).is_err());
    let (run, _) = advance(book, &run, &admit, Some(&people.carol()), t0()).unwrap();
    assert!(run.seen_by(&people.alice, ANALYST));
    assert!(matches!(begin(book, with(&[]), &people.bob(), t0()), Err(Refusal::Usage(m)) if m.contains("subject")));
}

#[test]
fn a_run_is_pinned_to_its_version() {
    let library = Library::bundled();
    let people = People::new();
    let item = library.get("memory").unwrap();
    let (run, _) = begin(&item.book, with(&[("workload", "api")]), &people.alice(), t0()).unwrap();
    let mut json = item.document.clone().into_json();
    json["name"] = "Memory, changed".into();
    let other = Document::of(json).unwrap().view("memory");
    let take = Event::Take { visit: 1, over: false };
    assert!(matches!(advance(&other, &run, &take, Some(&people.alice()), t0()), Err(Refusal::Stale(_))));
    let step = item.book.step(&run.visits[0].step).unwrap();
    assert!(fill(&run, step, &step.commands[0].text).expose().contains("of api"), "values stand in the text");
}

fn any_event() -> impl Strategy<Value = (Event, u8, i64)> {
    let word = prop::sample::select(vec!["yes", "no", "on", "again", "1", "default", "legal", "commander", "lead"]);
    let value = prop::sample::select(vec!["true", "false", "pass", "clear", "7", ""]);
    let name = prop::sample::select(vec!["known", "spreading", "gate", "pay", "finished", "x"]);
    (0_u8..15, 1_u32..24, word, value, name, 0_u8..4, 0_i64..200).prop_map(
        |(k, visit, word, value, name, who, mins)| {
            let reason = text("because");
            let event = match k {
                0 => Event::Take { visit, over: mins % 2 == 0 },
                1 => Event::Assign { visit, to: id("bob") },
                // Most of what happens is that something is done.
                2..=6 => Event::Done { visit, outputs: BTreeMap::from([(name.into(), Some(text(value)))]) },
                7 => Event::Fail { visit, reason },
                8 => Event::Skip { visit, reason },
                9 => Event::Retry { visit },
                10 => Event::Decide { visit, branch: word.into(), reason },
                11 => Event::Sign { visit, role: word.into(), named: Some(reason) },
                12 => Event::Set { name: name.into(), value: (!value.is_empty()).then(|| text(value)) },
                13 => Event::Ended { visit, ok: mins % 2 == 0 },
                _ => Event::Tick,
            };
            (event, who, mins)
        },
    )
}

/// Whatever happens in whatever order: what must be so is so. Outputs a step asks for are filled in.
fn stir(book: &Playbook, events: Vec<(Event, u8, i64)>) {
    let people = People::new();
    let external = book.variables.iter().filter(|(_, v)| v.external);
    let values: Vec<(&str, &str)> =
        external.map(|(n, v)| (n.as_str(), if v.kind == "ipv4-addr" { "192.0.2.1" } else { "x" })).collect();
    let Ok((mut run, effects)) = begin(book, with(&values), &people.bob(), t0()) else { return };
    holds(&Run { visits: Vec::new(), seq: 0, ..run.clone() }, &run, &effects);
    let mut now = t0();
    for (mut event, who, mins) in events {
        now += SignedDuration::from_mins(mins);
        if let Event::Done { visit, outputs } = &mut event {
            let step = run.visit(*visit).and_then(|v| book.step(&v.step));
            let asked = step.map(|s| s.out_args.clone()).unwrap_or_default();
            let given = outputs.values().next().cloned().flatten();
            *outputs = asked.into_iter().map(|n| (n, given.clone())).collect();
        }
        let actors = [people.alice(), people.bob(), people.carol()];
        let by = actors.get(usize::from(who));
        let by = if event == Event::Tick { None } else { by };
        if let Ok((after, effects)) = advance(book, &run, &event, by, now) {
            holds(&run, &after, &effects);
            let again: Run = serde_json::from_str(&serde_json::to_string(&after).unwrap()).unwrap();
            assert_eq!(again, after, "it is the same when it is read again");
            run = after;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_order_of_events_keeps_a_run_whole(
        which in 0_usize..21,
        events in prop::collection::vec(any_event(), 1..120),
    ) {
        stir(&Library::bundled().items()[which].book, events);
    }

    #[test]
    fn odd_playbooks_that_lint_lets_through_can_be_worked(
        json in crate::playbook::lint::tests::any_playbook(),
        events in prop::collection::vec(any_event(), 1..20),
    ) {
        let doc = Document::of(json).unwrap();
        if lint::workable(&lint::lint(&doc, None)) {
            stir(&doc.view("x"), events);
        }
    }
}

#[path = "deadlines_tests.rs"]
mod deadlines;
#[path = "ways_tests.rs"]
mod ways;
