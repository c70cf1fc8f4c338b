//! Checklists: what must be so before, during and after, ticked by people or by what the desk can see.
//!
//! The desk's own answer comes from facts by name. A fact that is not known ticks nothing. A person's tick decides where
//! the desk knows nothing; a person may always say that something fails; that something passes which the desk sees
//! failing takes a reason, which is kept.

pub mod facts;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

pub use facts::Fact;
pub use facts::Facts;
pub use facts::Seen;

use crate::model::health::Tri;
use crate::model::ids::PersonId;
use crate::model::sla::Checklist;
use crate::model::sla::ChecklistRun;
use crate::model::sla::Tick;
use crate::text::Untrusted;

const BUNDLED: [(&str, &str); 4] = [
    ("production", include_str!("../../../assets/checklists/production.toml")),
    ("readiness", include_str!("../../../assets/checklists/readiness.toml")),
    ("post-deployment", include_str!("../../../assets/checklists/post-deployment.toml")),
    ("maintenance", include_str!("../../../assets/checklists/maintenance.toml")),
];

/// Those that ship with the program.
///
/// # Errors
/// Names the list and what is wrong with it; a test holds that nothing is.
pub fn bundled() -> Result<Vec<Checklist>, String> {
    BUNDLED.iter().map(|(name, text)| toml::from_str(text).map_err(|e| format!("checklist {name}: {e}"))).collect()
}

/// What the desk itself says of a fact. `None`: there is no fact of this name.
pub fn auto(fact: &str, facts: &Facts) -> Option<Tri> {
    facts::NAMES.contains(&fact).then(|| facts.answer(fact))
}

/// A run as it is kept: what people said. What the desk sees is added when it is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub list: String,
    pub begun: Timestamp,
    pub ticks: Vec<PersonTick>,
    pub signed: Option<(PersonId, Timestamp)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonTick {
    pub item: String,
    pub pass: bool,
    pub by: PersonId,
    pub at: Timestamp,
    pub evidence: Untrusted,
    /// Why it passes though the desk saw it fail.
    pub overrules: Option<Untrusted>,
}

/// A run as it stands. For each item that anybody or the desk says something of, all that was said, the word that holds
/// last.
pub fn resolve(list: &Checklist, kept: Option<&Kept>, facts: &Facts, now: Timestamp) -> ChecklistRun {
    let mut ticks = Vec::new();
    let mut answer = if list.items.is_empty() { Tri::Unknown } else { Tri::Pass };
    for item in &list.items {
        let own = item.auto.as_deref().and_then(|fact| auto(fact, facts).map(|word| (fact, word)));
        let own = own.map(|(fact, word)| Tick {
            item: item.id.clone(),
            answer: word,
            by: None,
            at: facts.at(fact).unwrap_or(now),
            evidence: Untrusted::new(format!("{fact}: {}", facts.evidence(fact))),
        });
        let person = kept.and_then(|k| k.ticks.iter().rev().find(|t| t.item == item.id));
        let holds = person_holds(own.as_ref().map(|t| t.answer), person);
        let said = person.map(person_tick);
        let both = if holds { [own, said] } else { [said, own] };
        let word = both.iter().flatten().last().map_or(Tri::Unknown, |t| t.answer);
        answer = answer.and(word);
        ticks.extend(both.into_iter().flatten());
    }
    ChecklistRun { list: list.clone(), ticks, answer, signed: kept.and_then(|k| k.signed.clone()) }
}

/// Whether a person's word beats the desk's.
fn person_holds(own: Option<Tri>, person: Option<&PersonTick>) -> bool {
    match (own, person) {
        (_, None) => false,
        (None | Some(Tri::Unknown), Some(_)) => true,
        (Some(Tri::Pass), Some(p)) => !p.pass,
        (Some(Tri::Fail), Some(p)) => !p.pass || p.overrules.is_some(),
    }
}

fn person_tick(t: &PersonTick) -> Tick {
    let evidence = match &t.overrules {
        None => t.evidence.clone(),
        Some(why) => Untrusted::new(format!("{} (overrules the desk: {})", t.evidence.expose(), why.expose())),
    };
    let answer = if t.pass { Tri::Pass } else { Tri::Fail };
    Tick { item: t.item.clone(), answer, by: Some(t.by.clone()), at: t.at, evidence }
}

/// The word that holds for an item.
pub fn answer_of<'a>(run: &'a ChecklistRun, item: &str) -> (Tri, Option<&'a Tick>) {
    let last = run.ticks.iter().rev().find(|t| t.item == item);
    (last.map_or(Tri::Unknown, |t| t.answer), last)
}

/// A run in Markdown. Everything that somebody wrote is escaped by `escape`.
pub fn markdown(run: &ChecklistRun, escape: impl Fn(&str) -> String) -> String {
    let list = &run.list;
    let count = |want: Tri| list.items.iter().filter(|i| answer_of(run, &i.id).0 == want).count();
    let signed = match &run.signed {
        Some((by, at)) => format!("signed off by {by} at {at:.0}"),
        None => "not signed off".to_owned(),
    };
    let gate = if list.hard { "a hard gate" } else { "advises" };
    let mut out = format!(
        "# {}\n\n{}: {} of {} pass, {} fail, {} unknown; {signed}; {gate}.\n",
        escape(&list.title),
        run.answer.word(),
        count(Tri::Pass),
        list.items.len(),
        count(Tri::Fail),
        count(Tri::Unknown)
    );
    let mut section = "";
    for item in &list.items {
        if item.section != section {
            section = &item.section;
            out.push_str(&format!(
                "\n## {}\n\n| | Item | Owner | Evidence asked for | Said by | Evidence given |\n|---|---|---|---|---|---|\n",
                escape(section)
            ));
        }
        let (word, tick) = answer_of(run, &item.id);
        let by = tick.map_or(String::new(), |t| match &t.by {
            Some(by) => format!("{by} {:.0}", t.at),
            None => format!("the desk {:.0}", t.at),
        });
        let given = tick.map_or(String::new(), |t| escape(t.evidence.expose()));
        let (text, owner, wanted) = (escape(&item.text), escape(&item.owner), escape(&item.evidence));
        let row = format!("| {} | {} {text} | {owner} | {wanted} | {by} | {given} |\n", word.word(), item.id);
        out.push_str(&row);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> Vec<Checklist> {
        bundled().unwrap()
    }

    #[test]
    fn the_four_lists_have_what_the_source_documents_count() {
        let counts: Vec<_> = lists().iter().map(|l| (l.name.clone(), l.items.len(), l.hard)).collect();
        let want = [("production", 62, false), ("readiness", 17, true), ("post-deployment", 13, false)];
        let want: Vec<_> = want.into_iter().chain([("maintenance", 10, false)]).collect();
        assert_eq!(counts.iter().map(|(n, c, h)| (n.as_str(), *c, *h)).collect::<Vec<_>>(), want);
        for list in lists() {
            let ids: std::collections::BTreeSet<_> = list.items.iter().map(|i| &i.id).collect();
            assert_eq!(ids.len(), list.items.len(), "{}: an id twice", list.name);
            for i in &list.items {
                assert!([&i.section, &i.text, &i.owner, &i.evidence].iter().all(|t| !t.is_empty()), "{i:?}");
                let fact = i.auto.as_deref();
                assert!(fact.is_none_or(|f| facts::NAMES.contains(&f)), "{}: no fact {fact:?}", i.id);
            }
        }
        let used: Vec<String> = lists().into_iter().flat_map(|l| l.items).filter_map(|i| i.auto).collect();
        for name in facts::NAMES {
            assert!(used.iter().any(|u| u == name), "{name} ticks nothing");
        }
    }

    fn said(pass: bool, overrules: Option<&str>) -> Kept {
        let tick = PersonTick {
            item: "rdp-03".into(),
            pass,
            by: PersonId::new("bob").unwrap(),
            at: Timestamp::UNIX_EPOCH,
            evidence: Untrusted::new("seen"),
            overrules: overrules.map(Untrusted::new),
        };
        Kept { list: "readiness".into(), begun: Timestamp::UNIX_EPOCH, ticks: vec![tick], signed: None }
    }

    #[test]
    fn a_person_does_not_pass_what_the_desk_sees_failing_without_a_reason() {
        let list = lists().into_iter().find(|l| l.name == "readiness").unwrap();
        let now = Timestamp::UNIX_EPOCH;
        use Tri::*;
        for (own, kept, want) in [
            (Pass, None, Pass),
            (Fail, None, Fail),
            (Unknown, None, Unknown),
            (Unknown, Some(said(true, None)), Pass),
            (Unknown, Some(said(false, None)), Fail),
            (Pass, Some(said(false, None)), Fail),
            (Fail, Some(said(true, None)), Fail),
            (Fail, Some(said(true, Some("drill"))), Pass),
            (Fail, Some(said(false, None)), Fail),
        ] {
            let mut facts = Facts::default();
            facts.set("kill_switch.off", own, "as told", now);
            let run = resolve(&list, kept.as_ref(), &facts, now);
            assert_eq!(answer_of(&run, "rdp-03").0, want, "{own:?} {kept:?}");
            assert_ne!(run.answer, Pass, "all others are unknown");
        }
        assert_eq!(auto("kill_switch.on", &Facts::default()), None);
        assert_eq!(auto("kill_switch.off", &Facts::default()), Some(Unknown));
    }

    #[test]
    fn markdown_has_every_item_and_escapes_what_people_said() {
        let list = lists().into_iter().find(|l| l.name == "readiness").unwrap();
        let mut kept = said(true, None);
        kept.ticks[0].evidence = Untrusted::new("<script> | x");
        let run = resolve(&list, Some(&kept), &Facts::default(), Timestamp::UNIX_EPOCH);
        let text = markdown(&run, |t| t.replace('<', "&lt;").replace('|', "\\|"));
        assert!(list.items.iter().all(|i| text.contains(&i.id)), "{text}");
        assert!(!text.contains("<script>") && text.contains("\\| x") && text.contains("1 of 17 pass"), "{text}");
    }
}
