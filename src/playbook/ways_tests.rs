//! Ways through the bundled playbooks that go round or off to the side.

use super::*;

/// Works a bundled playbook to its end; a variable that is asked for again gets its next value, the last one for good.
fn worked(key: &str, external: &[(&str, &str)], given: &[(&str, &[&str])]) -> Vec<String> {
    let library = Library::bundled();
    let people = People::new();
    let book = &library.get(key).unwrap().book;
    let mut play = Play::new(book, external, &people.alice());
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    play.finish_with(&people, |name| {
        let (_, values) = given.iter().find(|(n, _)| *n == name)?;
        let times = asked.entry(name.to_owned()).or_default();
        *times += 1;
        values.get(*times - 1).or(values.last()).copied()
    });
    assert_eq!(play.run.state, RunState::Done, "{key}: {:?}", play.keys());
    play.keys().into_iter().map(|k| k.0.to_owned()).collect()
}

#[test]
fn a_canary_is_held_for_what_is_not_known_and_goes_on_or_back() {
    let canary = |gate: &[&str], finished: &[&str]| {
        let all = worked("canary", &[("workload", "web")], &[("gate", gate), ("finished", finished)]);
        let of_it = ["promote", "hold", "abort", "done"];
        all.into_iter().filter(|k| of_it.contains(&k.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(canary(&["pass"], &["false", "false", "true"]), ["promote", "promote", "done"]);
    assert_eq!(canary(&["hold", "hold", "pass"], &["false", "true"]), ["hold", "hold", "promote", "done"]);
    assert_eq!(
        canary(&["pass", "hold", "fail"], &["false"]),
        ["promote", "hold", "abort"],
        "who waits long enough aborts"
    );
    assert_eq!(canary(&["fail"], &["true"]), ["abort"], "a gate that fails at the end fails all the same");
    assert_eq!(canary(&["hold", "fail"], &["true"]), ["hold", "abort"], "nothing is finished on what is not known");
}

#[test]
fn negotiating_comes_back_to_the_decision() {
    let pay = |values: &[&str]| {
        let base: [(&str, &[&str]); 6] = [
            ("spreading", &["false"]),
            ("backups", &["lost"]),
            ("data_left", &["false"]),
            ("lives", &["true"]),
            ("sanctioned", &["clear"]),
            ("pay", values),
        ];
        let all = worked("ransomware", &[("first_host", "fs-01")], &base);
        let of_it = ["decide", "negotiate", "decide-again", "refuse", "pay-step", "recover"];
        all.into_iter().filter(|k| of_it.contains(&k.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(pay(&["refuse"]), ["decide", "refuse", "recover"]);
    let long = ["decide", "negotiate", "decide-again", "negotiate", "decide-again", "refuse", "recover"];
    assert_eq!(pay(&["negotiate", "negotiate", "refuse"]), long);
    assert_eq!(pay(&["negotiate", "pay"]), ["decide", "negotiate", "decide-again", "pay-step", "recover"]);
}

#[test]
fn a_file_that_never_ran_costs_nobody_their_host() {
    let sha = "a".repeat(64);
    let all = |ran: &str| {
        let given: [(&str, &[&str]); 4] =
            [("sha256", &[&sha]), ("ran", &[ran]), ("verdict", &["malicious"]), ("others", &["false"])];
        worked("malware", &[("host", "fin-ws-014")], &given)
    };
    let has = |all: &[String], key: &str| all.iter().any(|k| k == key);
    let never = all("false");
    assert!(["quarantined", "block", "review"].iter().all(|k| has(&never, k)), "{never:?}");
    assert!(!["isolate", "eradicate", "rebuild"].iter().any(|k| has(&never, k)), "{never:?}");
    let ran = all("true");
    assert!(
        ["isolate", "memory", "block", "rebuild"].iter().all(|k| has(&ran, k)) && !has(&ran, "quarantined"),
        "{ran:?}"
    );
}

#[test]
fn harm_that_begins_under_watch_is_stopped() {
    let way = |urgent: &[&str]| {
        let given: [(&str, &[&str]); 3] = [("lawful", &["true"]), ("urgent", urgent), ("shown", &["misuse"])];
        let all = worked("insider-threat", &[("subject", "HERON")], &given);
        all.into_iter().filter(|k| ["watch", "restrict", "examine"].contains(&k.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(way(&["true"]), ["restrict", "examine"]);
    assert_eq!(way(&["false"]), ["watch", "examine"]);
    assert_eq!(way(&["false", "true"]), ["watch", "restrict", "examine"]);
}
