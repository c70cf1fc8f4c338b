//! What the policy says about one request: a pure function. What is not known refuses.

#[cfg(test)]
mod tests;
mod when;

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use super::policy::{Budget, Cap, Policy, Protect};
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
    /// One person lets it run alone.
    BreakGlass,
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
    /// How often each target was the target of any action within the last 60 minutes; one that is missing is not known.
    pub any_by_target: BTreeMap<String, u64>,
    /// The change board knows of it.
    pub ticket: Option<&'a str>,
    /// What the error budgets say, one answer for each of [`budgets_asked`].
    pub budgets: Vec<GateAnswer>,
    /// What else must hold before this change.
    pub guards: Vec<Guard>,
    /// It takes a rollout back, whatever its action is called.
    pub leads_back: bool,
    /// One person runs it alone, behind broken glass.
    pub alone: bool,
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
    when::maintenance(policy, input, &mut out);
    ticket(policy, input, &mut out);
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
        Stage::BreakGlass => ("break the glass for", policy.rules.break_glass.roles.clone()),
        Stage::Execute => ("execute", roles.execute.clone()),
    };
    let Some(person) = input.actor else {
        return refuse(out, format!("only people on the roster may {verb}"));
    };
    if !allowed.iter().any(|r| person.has(*r)) {
        let words: Vec<&str> = allowed.iter().map(|r| Role::word(*r)).collect();
        let of = if matches!(input.stage, Stage::Approve | Stage::BreakGlass) {
            format!(" {}", input.tier.word())
        } else {
            String::new()
        };
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
    is_named(&p.targets, target)
}

fn is_named(patterns: &[String], target: &str) -> bool {
    let first = target.split('.').next().unwrap_or(target);
    let ip = target.parse::<IpAddr>().ok();
    patterns.iter().any(|pattern| match (pattern.parse::<ipnet::IpNet>(), ip) {
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

/// Whether the policy wants a ticket of the change board for it.
pub fn needs_ticket(policy: &Policy, action: &str, tier: Tier) -> bool {
    let rules = &policy.rules;
    rules.tier(tier).ticket
        || rules.ticket.iter().any(|t| matches(&t.actions, action) && (t.tiers.is_empty() || t.tiers.contains(&tier)))
}

/// A ticket that is missing refuses the approval and the start. Nobody waits for the board behind broken glass; the
/// review does.
fn ticket(policy: &Policy, input: &PolicyInput<'_>, out: &mut Vec<Finding>) {
    if !needs_ticket(policy, input.action, input.tier) {
        return;
    }
    match input.ticket {
        Some(t) => tell(out, format!("the change board knows it as {t}")),
        None => {
            let refuses = matches!(input.stage, Stage::Approve | Stage::Execute) && !input.alone;
            add(out, refuses, "it needs a ticket of the change board, and has none".into());
        }
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
    for t in input.targets {
        let Some(max) = c.per_host_per_hour else { break };
        match input.any_by_target.get(t) {
            None => add(out, true, format!("how often {t} was acted on in the last hour is not known")),
            Some(n) if n + 1 > max => {
                add(out, starting, format!("{t} was acted on {n} times in the last hour; the cap is {max}"));
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
