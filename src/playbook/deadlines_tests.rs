//! Times from which deadlines count, and what people say of the deadlines.

use super::*;
use crate::model::playbook_run::DeadlineWord;

const BREACH: &str = r#"
[vars.aware_at]
type = "string"
external = true
clock = "aware"
[vars.material_at]
type = "string"
clock = "material"

[[steps]]
key = "judge"
name = "Judge"
do = "Judge it from __aware_at__:value on"
gives = ["material_at"]
"#;

#[test]
fn times_are_kept_as_times_and_deadlines_follow_from_them() {
    let people = People::new();
    let alice = people.alice();
    let book = toml(&format!("{HEAD}{BREACH}"));
    let no = |value: &str| match begin(&book, with(&[("aware_at", value)]), &alice, t0()) {
        Err(Refusal::Usage(why)) => why,
        other => panic!("{value}: {other:?}"),
    };
    assert!(no("this morning").contains("20m ago"), "{}", no("this morning"));
    assert!(no("2026-11-22 08:00").contains("has not come yet"));
    let mut play = Play::new(&book, &[("aware_at", "20m ago")], &alice);
    let held = play.run.variables["__aware_at__"].value.clone().unwrap();
    assert_eq!(held.expose(), "2026-11-21T02:40:00Z");
    let clocks = crate::playbook::clocks::bundled();
    let of = |run: &Run| crate::playbook::clocks::deadlines(&book, run, &clocks);
    let all = of(&play.run);
    let first = &all[0];
    assert_eq!((first.id.as_str(), first.due.unwrap().to_string().as_str()), ("cert-in", "2026-11-21T08:40:00Z"));
    let of_sec = |run: &Run| of(run).into_iter().find(|d| d.id == "sec-8k").unwrap();
    assert!(of_sec(&play.run).began.is_none() && of_sec(&play.run).due.is_none());
    // What this playbook asks no time for is not its business.
    assert!(all.iter().all(|d| d.from != "__paid_at__" && d.id != "nydfs-payment"));
    play.done(1, &[("material_at", Some("02:55"))], &alice);
    assert!(of_sec(&play.run).due.is_some());
    assert_eq!(play.run.state, RunState::Done);

    // The playbook is over, the clocks are not.
    let mark = |clock: &str, word, why: &str| Event::Deadline { clock: clock.into(), word, text: text(why) };
    assert!(matches!(
        play.try_it(mark("cert-in", Some(DeadlineWord::Told), " "), Some(&alice)),
        Err(Refusal::Usage(_))
    ));
    assert!(matches!(play.try_it(mark("a/b", Some(DeadlineWord::Told), "x"), Some(&alice)), Err(Refusal::Usage(_))));
    assert!(matches!(play.try_it(mark("cert-in", None, "x"), Some(&alice)), Err(Refusal::Stale(_))));
    let told = play.go(mark("cert-in", Some(DeadlineWord::Told), "receipt 7"), &alice);
    let [Effect::Record { kind: "playbook.deadline", body }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (body["clock"].as_str(), body["is"].as_str(), body["text"].as_str()),
        (Some("cert-in"), Some("told"), Some("receipt 7"))
    );
    assert!(play.try_it(mark("cert-in", Some(DeadlineWord::Told), "again"), Some(&alice)).is_err());
    let all = of(&play.run);
    assert!(all[0].id != "cert-in" && all.last().unwrap().id == "cert-in", "what was dealt with comes last");
    play.go(mark("cert-in", Some(DeadlineWord::Excluded), "not in India"), &alice);
    play.go(mark("cert-in", None, "counsel looked again"), &alice);
    assert_eq!(of(&play.run)[0].id, "cert-in");

    // A playbook without such times has no deadlines.
    let none =
        toml(&format!("{HEAD}{BREACH}").replace("clock = \"aware\"\n", "").replace("clock = \"material\"\n", ""));
    let mut play = Play::new(&none, &[("aware_at", "this morning")], &alice);
    assert!(play.try_it(mark("cert-in", Some(DeadlineWord::Told), "x"), Some(&alice)).is_err());
    assert!(crate::playbook::clocks::deadlines(&none, &play.run, &clocks).is_empty());
}
