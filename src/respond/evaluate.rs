//! What the policy says about one request: a pure function. What is not known refuses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::civil::Weekday;

use super::policy::{Budget, Cap, Day, Hours, Policy, Protect, minutes};
use crate::model::action::{Finding, Suggested, Tier};
use crate::model::health::Tri;
use crate::model::ids::PersonId;
use crate::model::person::{Person, Role};
use crate::model::query::Glob;
use crate::model::slo::GateAnswer;
use crate::text::Untrusted;
use crate::text::clean;

/// Which step is asked about. Hours and caps refuse only the start; before it they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Propose,
    Approve,
    Execute,
}

#[derive(Clone, Debug)]
pub struct PolicyInput<'a> {
    pub stage: Stage,
    pub action: &'a str,
    pub tier: Tier,
    pub targets: &'a [String],
    /// Who does this step; `None`: not on the roster.
    pub actor: Option<&'a Person>,
    pub now: Timestamp,
    /// Targets this action was started for within the last 60 minutes; `None`: not known.
    pub last_hour: Option<u64>,
    /// The same by target; one that is missing is not known.
    pub last_hour_by_target: BTreeMap<String, u64>,
    /// What the error budgets say, one answer for each of [`budgets_asked`].
    pub budgets: Vec<GateAnswer>,
    /// What else must hold before this change.
    pub guards: Vec<Guard>,
    /// It takes a rollout back, whatever its action is called.
    pub leads_back: bool,
    /// A commander's word that it is to be done all the same.
    pub overridden: Option<&'a Override>,
}

/// Something that must hold before a change, besides the policy: a gate of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    pub what: String,
    pub answer: Tri,
    pub why: String,
}

/// What the desk knows about a change besides the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guarding {
    pub guards: Vec<Guard>,
    /// It takes a rollout back to what served before, though its action (scale, switch) could as well lead on.
    pub leads_back: bool,
}

/// Who set a closed budget or guard aside, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pub by: PersonId,
    pub reason: Untrusted,
}

/// What a change that leads back is, whatever its action is called.
const WAY_BACK: &str = "rollout-abort";

/// The rules about error budgets that an action is under. What leads back is under those that an abort is under.
pub fn budgets_asked<'a>(policy: &'a Policy, action: &str, leads_back: bool) -> Vec<&'a Budget> {
    let free = |b: &Budget| matches(&b.except, action) || (leads_back && matches(&b.except, WAY_BACK));
    let asked = |b: &&Budget| matches(&b.actions, action) && !free(b);
    policy.rules.budget.iter().filter(asked).collect()
}

/// Every finding, refusals first.
pub fn evaluate(policy: &Policy, input: &PolicyInput<'_>) -> Vec<Finding> {
    let mut out = Vec::new();
    role(policy, input, &mut out);
    size(policy, input, &mut out);
    for p in &policy.rules.protect {
        protect(p, input, &mut out);
    }
    hours(policy, input, &mut out);
    for c in policy.rules.caps.iter().filter(|c| matches(&c.actions, input.action)) {
        cap(c, input, &mut out);
    }
    budgets(policy, input, &mut out);
    for g in input.guards.iter().filter(|g| g.answer != Tri::Pass) {
        let word = if g.answer == Tri::Fail { "fails" } else { "is not known" };
        held(input, format!("{} {word}: {}", g.what, g.why), &mut out);
    }
    out.sort_by_key(|f| !f.refuses);
    out
}

/// How many people besides the requester must agree.
pub fn approvals_needed(policy: &Policy, action: &str, tier: Tier, targets: &[String], by: Suggested) -> u8 {
    let of_tier = policy.rules.tier(tier).approvals;
    let of_targets = policy
        .rules
        .protect
        .iter()
        .filter(|p| matches(&p.actions, action) && targets.iter().any(|t| is_protected(p, t)))
        .filter_map(|p| p.approvals);
    // What a model thought of is never started by one person alone.
    let of_model = u8::from(by == Suggested::Model);
    of_targets.chain([of_model]).fold(of_tier, u8::max)
}

fn role(policy: &Policy, input: &PolicyInput<'_>, out: &mut Vec<Finding>) {
    let roles = &policy.rules.roles;
    let (verb, allowed) = match input.stage {
        Stage::Propose => ("propose", roles.propose.clone()),
        Stage::Approve => ("approve", policy.rules.tier(input.tier).approve),
        Stage::Execute => ("execute", roles.execute.clone()),
    };
    let Some(person) = input.actor else {
        return refuse(out, format!("only people on the roster may {verb}"));
    };
    if !allowed.iter().any(|r| person.has(*r)) {
        let words: Vec<&str> = allowed.iter().map(|r| Role::word(*r)).collect();
        let of = if input.stage == Stage::Approve { format!(" {}", input.tier.word()) } else { String::new() };
        refuse(out, format!("{} may not {verb}{of}: it takes the role {}", person.id, words.join(" or ")));
    }
}

fn size(policy: &Policy, input: &PolicyInput<'_>, out: &mut Vec<Finding>) {
    let max = policy.rules.tier(input.tier).max_targets;
    let n = input.targets.len();
    if n > max {
        refuse(out, format!("{n} targets, but the policy allows {max} in one {} request", input.tier.word()));
    }
}

fn protect(p: &Protect, input: &PolicyInput<'_>, out: &mut Vec<Finding>) {
    // Reading harms nobody.
    if input.tier == Tier::T0 || !matches(&p.actions, input.action) {
        return;
    }
    let hit: Vec<&str> = input.targets.iter().filter(|t| is_protected(p, t)).map(String::as_str).collect();
    if hit.is_empty() {
        return;
    }
    let which = some(&hit);
    match p.approvals {
        None => refuse(out, format!("protected: {which} ({})", p.why)),
        Some(n) => tell(out, format!("sensitive: {which} ({}); needs {n} approvals", p.why)),
    }
}

/// At most three names.
fn some(names: &[&str]) -> String {
    match names {
        [a, b, c, _, rest @ ..] => format!("{a}, {b}, {c} and {} more", rest.len() + 1),
        few => few.join(", "),
    }
}

/// A name fits whole, or by its first label: `dc01.corp.example` is `dc01`. A network holds addresses.
fn is_protected(p: &Protect, target: &str) -> bool {
    let first = target.split('.').next().unwrap_or(target);
    let ip = target.parse::<IpAddr>().ok();
    p.targets.iter().any(|pattern| match (pattern.parse::<ipnet::IpNet>(), ip) {
        (Ok(net), Some(ip)) => net.contains(&ip),
        (Ok(_), None) => false,
        (Err(_), Some(_)) => Glob::new(pattern).is_match(target),
        (Err(_), None) => {
            let glob = Glob::new(pattern);
            glob.is_match(target) || glob.is_match(first)
        }
    })
}

fn matches(patterns: &[String], action: &str) -> bool {
    patterns.iter().any(|p| Glob::new(p).is_match(action))
}

/// Rules that name this action or tier: it must be within one of them.
fn hours(policy: &Policy, input: &PolicyInput<'_>, out: &mut Vec<Finding>) {
    let mine: Vec<&Hours> = policy
        .rules
        .hours
        .iter()
        .filter(|h| matches(&h.actions, input.action) && (h.tiers.is_empty() || h.tiers.contains(&input.tier)))
        .collect();
    let now = input.now.to_zoned(policy.zone.clone());
    if mine.is_empty() || mine.iter().any(|h| within(h, &now)) {
        return;
    }
    let spans: Vec<String> = mine.iter().map(|h| span(h)).collect();
    let text = format!(
        "it is {} {} in {}, and this may start only {}",
        day_word(now.weekday()),
        now.strftime("%H:%M"),
        policy.rules.time_zone,
        spans.join(" or ")
    );
    add(out, input.stage == Stage::Execute, text);
}

fn within(h: &Hours, now: &jiff::Zoned) -> bool {
    let (Some(from), Some(to)) = (minutes(&h.from), minutes(&h.to)) else { return false };
    let at = u16::try_from(i16::from(now.hour()) * 60 + i16::from(now.minute())).unwrap_or(0);
    let on = |day: Weekday| h.days.is_empty() || h.days.iter().any(|d| weekday(*d) == day);
    if from < to {
        return on(now.weekday()) && (from..to).contains(&at);
    }
    // Past midnight: the evening of a day, or the morning after it.
    (at >= from && on(now.weekday())) || (at < to && on(now.weekday().previous()))
}

fn span(h: &Hours) -> String {
    let days: Vec<String> = h.days.iter().map(|d| day_word(weekday(*d)).to_owned()).collect();
    let days = if days.is_empty() { "every day".into() } else { days.join(", ") };
    format!("{days} {} to {}", h.from, h.to)
}

fn weekday(d: Day) -> Weekday {
    match d {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}

fn day_word(d: Weekday) -> &'static str {
    match d {
        Weekday::Monday => "Mon",
        Weekday::Tuesday => "Tue",
        Weekday::Wednesday => "Wed",
        Weekday::Thursday => "Thu",
        Weekday::Friday => "Fri",
        Weekday::Saturday => "Sat",
        Weekday::Sunday => "Sun",
    }
}

fn cap(c: &Cap, input: &PolicyInput<'_>, out: &mut Vec<Finding>) {
    let starting = input.stage == Stage::Execute;
    let n = input.targets.len() as u64;
    if let Some(max) = c.per_hour {
        match input.last_hour {
            None => add(out, true, format!("how often {} ran in the last hour is not known", input.action)),
            Some(ran) if ran + n > max => {
                let text = format!(
                    "{} ran for {ran} targets in the last hour; with these {n} it would be above the cap of {max}",
                    input.action
                );
                add(out, starting || n > max, text);
            }
            Some(_) => {}
        }
    }
    let Some(max) = c.per_target_per_hour else { return };
    for t in input.targets {
        match input.last_hour_by_target.get(t) {
            None => add(out, true, format!("how often {} ran for {t} in the last hour is not known", input.action)),
            Some(ran) if ran + 1 > max => {
                add(
                    out,
                    starting,
                    format!("{} ran {ran} times for {t} in the last hour; the cap is {max}", input.action),
                );
            }
            Some(_) => {}
        }
    }
}

/// A budget that is spent, or not known, refuses approval and start. Proposing is told.
fn budgets(policy: &Policy, input: &PolicyInput<'_>, out: &mut Vec<Finding>) {
    let asked = budgets_asked(policy, input.action, input.leads_back);
    let missing = asked.len().saturating_sub(input.budgets.len());
    let unknown = asked.iter().rev().take(missing).map(|b| (b.class, Tri::Unknown, &[][..]));
    let known = input.budgets.iter().map(|a| (a.class, a.answer, a.reasons.as_slice()));
    for (class, answer, reasons) in known.chain(unknown).filter(|(_, answer, _)| *answer != Tri::Pass) {
        let word = if answer == Tri::Fail { "closed for" } else { "not known for" };
        let why = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
        let text = format!("the error budget is {word} {} changes{why}", class.word());
        held(input, text, out);
    }
}

/// What refuses approval and start unless a commander sets it aside.
fn held(input: &PolicyInput<'_>, text: String, out: &mut Vec<Finding>) {
    match input.overridden {
        None => add(out, input.stage != Stage::Propose, text),
        Some(o) => tell(out, format!("{text}; overridden by {}: {}", o.by, clean(&o.reason))),
    }
}

fn add(out: &mut Vec<Finding>, refuses: bool, text: String) {
    out.push(Finding { refuses, text });
}

fn refuse(out: &mut Vec<Finding>, text: String) {
    add(out, true, text);
}

fn tell(out: &mut Vec<Finding>, text: String) {
    add(out, false, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn person(roles: &[Role]) -> Person {
        Person {
            id: PersonId::new("pat").unwrap(),
            name: "Pat".into(),
            os_users: vec![],
            uids: vec![],
            keys: vec![],
            roles: roles.to_vec(),
        }
    }

    struct Case {
        policy: Policy,
        stage: Stage,
        tier: Tier,
        targets: Vec<String>,
        actor: Option<Person>,
        now: &'static str,
        last_hour: Option<u64>,
        by_target: BTreeMap<String, u64>,
    }

    fn case(policy: &str, targets: &[&str]) -> Case {
        Case {
            policy: Policy::parse(Path::new("p"), policy).unwrap(),
            stage: Stage::Execute,
            tier: Tier::T2,
            targets: targets.iter().map(|s| (*s).to_owned()).collect(),
            actor: Some(person(&[Role::Lead])),
            now: "2026-11-21T12:00:00Z",
            last_hour: Some(0),
            by_target: targets.iter().map(|t| ((*t).to_owned(), 0)).collect(),
        }
    }

    fn run(c: &Case) -> Vec<(bool, String)> {
        let input = PolicyInput {
            stage: c.stage,
            action: "isolate-host",
            tier: c.tier,
            targets: &c.targets,
            actor: c.actor.as_ref(),
            now: c.now.parse().unwrap(),
            last_hour: c.last_hour,
            last_hour_by_target: c.by_target.clone(),
            budgets: vec![],
            guards: vec![],
            leads_back: false,
            overridden: None,
        };
        evaluate(&c.policy, &input).into_iter().map(|f| (f.refuses, f.text)).collect()
    }

    fn refused(c: &Case) -> bool {
        run(c).iter().any(|(r, _)| *r)
    }

    #[test]
    fn protected_names_and_networks_refuse() {
        let p = "[[protect]]\ntargets = [\"dc*\", \"10.0.0.0/8\", \"2001:db8::/32\"]\nwhy = \"core\"\n";
        for t in ["dc01", "DC01", "dc01.corp.example", "10.1.2.3", "2001:db8::5"] {
            let c = case(p, &["web01", t]);
            assert_eq!(run(&c), [(true, format!("protected: {t} (core)"))]);
        }
        for t in ["web01", "adc01", "11.0.0.1", "2001:db9::1"] {
            assert!(run(&case(p, &[t])).is_empty(), "{t}");
        }
        let mut read = case(p, &["dc01"]);
        read.tier = Tier::T0;
        assert!(run(&read).is_empty(), "reading is not refused");
        let other = "[[protect]]\ntargets = [\"*\"]\nactions = [\"wipe-*\"]\nwhy = \"x\"\n";
        assert!(run(&case(other, &["dc01"])).is_empty());
    }

    #[test]
    fn sensitive_targets_and_the_model_raise_the_approvals() {
        let p = Policy::parse(Path::new("p"), "[[protect]]\ntargets = [\"vip-*\"]\nwhy = \"board\"\napprovals = 2\n")
            .unwrap();
        let vip = ["vip-1".to_owned()];
        let web = ["web-1".to_owned()];
        let need = |tier, targets: &[String], by| approvals_needed(&p, "isolate-host", tier, targets, by);
        assert_eq!(need(Tier::T1, &vip, Suggested::Person), 2);
        assert_eq!(need(Tier::T1, &web, Suggested::Person), 1);
        assert_eq!(need(Tier::T0, &web, Suggested::Person), 0);
        assert_eq!(need(Tier::T0, &web, Suggested::Model), 1);
        assert_eq!(need(Tier::T3, &web, Suggested::Playbook), 2);
    }

    #[test]
    fn roles_by_stage_and_tier() {
        let p = "[tiers.T3]\napprove = [\"commander\"]\n";
        let mut c = case(p, &["a"]);
        for (stage, tier, roles, ok) in [
            (Stage::Propose, Tier::T2, vec![Role::Analyst], true),
            (Stage::Approve, Tier::T2, vec![Role::Analyst], false),
            (Stage::Approve, Tier::T2, vec![Role::Approver], true),
            (Stage::Approve, Tier::T3, vec![Role::Approver], false),
            (Stage::Approve, Tier::T3, vec![Role::Analyst, Role::Commander], true),
            (Stage::Execute, Tier::T2, vec![Role::Auditor], false),
            (Stage::Propose, Tier::T0, vec![Role::Facilitator], false),
            (Stage::Execute, Tier::T2, vec![], false),
        ] {
            (c.stage, c.tier) = (stage, tier);
            c.actor = Some(person(&roles));
            assert_eq!(!refused(&c), ok, "{stage:?} {tier:?} {roles:?}");
        }
        c.actor = None;
        assert!(refused(&c), "unknown is nobody");
    }

    #[test]
    fn hours_follow_the_time_zone_and_its_clock_changes() {
        let p = "time_zone = \"Europe/Berlin\"\n[[hours]]\ntiers = [\"T2\"]\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"]\n\
                 from = \"07:00\"\nto = \"20:00\"\n";
        let mut c = case(p, &["a"]);
        for (now, ok) in [
            // Winter: UTC+1. 2026-11-20 is a Friday.
            ("2026-11-20T05:59:59Z", false),
            ("2026-11-20T06:00:00Z", true),
            ("2026-11-20T18:59:59Z", true),
            ("2026-11-20T19:00:00Z", false),
            ("2026-11-21T12:00:00Z", false),
            // Summer: UTC+2.
            ("2026-07-01T05:00:00Z", true),
            ("2026-07-01T18:00:00Z", false),
        ] {
            c.now = now;
            assert_eq!(!refused(&c), ok, "{now}");
        }
        assert_eq!(
            run(&c)[0].1,
            "it is Wed 20:00 in Europe/Berlin, and this may start only Mon, Tue, Wed, Thu, Fri 07:00 to 20:00"
        );
        c.stage = Stage::Propose;
        assert!(!refused(&c) && run(&c).len() == 1, "told, not refused");
        c.tier = Tier::T1;
        assert!(run(&c).is_empty());
    }

    #[test]
    fn a_span_past_midnight_belongs_to_the_day_it_begins() {
        let p = "[[hours]]\ndays = [\"fri\"]\nfrom = \"22:00\"\nto = \"06:00\"\n";
        let mut c = case(p, &["a"]);
        for (now, ok) in [
            ("2026-11-20T21:59:00Z", false),
            ("2026-11-20T22:00:00Z", true),
            ("2026-11-21T05:59:00Z", true),
            ("2026-11-21T06:00:00Z", false),
            ("2026-11-21T23:00:00Z", false),
            ("2026-11-20T03:00:00Z", false),
        ] {
            c.now = now;
            assert_eq!(!refused(&c), ok, "{now}");
        }
    }

    #[test]
    fn caps_refuse_the_start_and_what_is_not_known_refuses() {
        let p = "[[caps]]\nactions = [\"isolate-*\"]\nper_hour = 3\nper_target_per_hour = 1\n";
        let mut c = case(p, &["a", "b"]);
        assert!(!refused(&c));
        c.last_hour = Some(2);
        assert!(refused(&c));
        c.stage = Stage::Propose;
        assert!(!refused(&c) && run(&c).len() == 1, "told, not refused");
        c.last_hour = None;
        assert!(refused(&c), "unknown");
        let mut c = case(p, &["a", "b"]);
        c.by_target.insert("b".into(), 1);
        assert!(refused(&c));
        c.by_target.remove("b");
        assert!(refused(&c), "unknown");
        let mut c = case(p, &["a", "b", "c", "d"]);
        c.stage = Stage::Propose;
        assert!(refused(&c), "it could never start");
    }

    #[test]
    fn a_guard_that_fails_or_is_not_known_refuses_until_it_is_set_aside() {
        let (lead, action, targets) = (person(&[Role::Lead]), "rollout-promote", vec!["prod/shop/web".to_owned()]);
        let policy = Policy::built_in();
        let word = Override { by: PersonId::new("carol").unwrap(), reason: Untrusted::new("we know") };
        let look = |stage, answer, overridden| {
            let input = PolicyInput {
                stage,
                action,
                tier: Tier::T2,
                targets: &targets,
                actor: Some(&lead),
                now: Timestamp::UNIX_EPOCH,
                last_hour: Some(0),
                last_hour_by_target: BTreeMap::new(),
                budgets: vec![],
                guards: vec![Guard { what: "gate \"zones\"".into(), answer, why: "1 of 2".into() }],
                leads_back: false,
                overridden,
            };
            let found = evaluate(&policy, &input);
            (found.iter().any(|f| f.refuses), found.first().map(|f| f.text.clone()).unwrap_or_default())
        };
        for answer in [Tri::Fail, Tri::Unknown] {
            assert!(!look(Stage::Propose, answer, None).0, "proposing is told");
            assert!(look(Stage::Approve, answer, None).0 && look(Stage::Execute, answer, None).0);
            let (refuses, text) = look(Stage::Approve, answer, Some(&word));
            assert!(!refuses && text.contains("overridden by carol: we know"), "{text}");
        }
        assert_eq!(look(Stage::Approve, Tri::Fail, None).1, "gate \"zones\" fails: 1 of 2");
        assert_eq!(look(Stage::Approve, Tri::Pass, None), (false, String::new()));
    }

    #[test]
    fn a_closed_or_unknown_budget_refuses_approval_and_start() {
        use crate::model::slo::ChangeClass;
        let policy = Policy::parse(Path::new("p"), "[[budget]]\nactions = [\"rollout-*\"]\n").unwrap();
        let actor = person(&[Role::Commander]);
        let word = Override { by: PersonId::new("carol").unwrap(), reason: "the fix itself".into() };
        let run = |stage, answer: Option<Tri>, overridden| {
            let reasons = vec!["shop/api: 80 % spent".to_owned()];
            let input = PolicyInput {
                stage,
                action: "rollout-promote",
                tier: Tier::T1,
                targets: &["shop/web".to_owned()],
                actor: Some(&actor),
                now: "2026-11-21T12:00:00Z".parse().unwrap(),
                last_hour: Some(0),
                last_hour_by_target: BTreeMap::new(),
                budgets: answer
                    .map(|answer| GateAnswer { class: ChangeClass::Normal, answer, reasons })
                    .into_iter()
                    .collect(),
                guards: vec![],
                leads_back: false,
                overridden,
            };
            evaluate(&policy, &input).into_iter().map(|f| (f.refuses, f.text)).collect::<Vec<_>>()
        };
        for (stage, answer, refuses) in [
            (Stage::Propose, Some(Tri::Fail), Some(false)),
            (Stage::Approve, Some(Tri::Pass), None),
            (Stage::Approve, Some(Tri::Fail), Some(true)),
            (Stage::Approve, Some(Tri::Unknown), Some(true)),
            (Stage::Approve, None, Some(true)),
            (Stage::Execute, Some(Tri::Pass), None),
            (Stage::Execute, Some(Tri::Fail), Some(true)),
            (Stage::Execute, None, Some(true)),
        ] {
            let found = run(stage, answer, None);
            assert_eq!(found.first().map(|f| f.0), refuses, "{stage:?} {answer:?}: {found:?}");
            let found = run(stage, answer, Some(&word));
            assert!(found.iter().all(|f| !f.0 && f.1.contains("overridden by carol: the fix itself")), "{found:?}");
            assert_eq!(found.is_empty(), refuses.is_none(), "an override is shown");
        }
        assert_eq!(
            run(Stage::Approve, Some(Tri::Fail), None)[0].1,
            "the error budget is closed for normal changes: shop/api: 80 % spent"
        );
        for (action, asked) in [("rollout-promote", 1), ("rollout-abort", 0), ("rollout-undo", 0), ("isolate-host", 0)]
        {
            assert_eq!(budgets_asked(&policy, action, false).len(), asked, "{action}: going back is always allowed");
        }
        let asked = |policy: &Policy, back| budgets_asked(policy, "rollout-scale", back).len();
        assert_eq!((asked(&policy, false), asked(&policy, true)), (1, 0), "a pair goes back by a scale");
        let strict = "[[budget]]\nactions = [\"rollout-*\"]\nexcept = []\n";
        let strict = Policy::parse(Path::new("p"), strict).unwrap();
        assert_eq!(asked(&strict, true), 1, "who holds aborts holds these too");
    }

    #[test]
    fn too_many_targets_refuse() {
        let c = case("max_targets = 2\n", &["a", "b", "c"]);
        assert_eq!(run(&c)[0].1, "3 targets, but the policy allows 2 in one T2 disruptive request");
    }
}
