//! Alert policies and conditions. The specification knows one window a condition (`lookbackWindow`) and how long it must
//! hold (`alertAfter`); here the latter is the short window of a burn-rate rule: the newest `alertAfter` must burn faster
//! than the threshold, too.

use super::World;
use super::metadata;
use crate::config::doc::Value;
use crate::model::slo::BurnRule;
use crate::operate::slo::spec::alerts;
use crate::operate::slo::spec::fields::Fields;
use crate::operate::slo::spec::time::Short;

/// The rules of an objective's policies. Without policies, the Workbook's alerts stand in.
pub fn policies<'a>(world: &World<'a>, spec: &mut Fields<'a>, notes: &mut Vec<String>) -> (String, Vec<BurnRule>) {
    if !spec.has("alertPolicies") {
        return ("workbook".into(), alerts::preset("workbook").unwrap_or_default());
    }
    let mut rules = Vec::new();
    for mut item in spec.maps("alertPolicies") {
        let inner = match item.text_opt("alertPolicyRef") {
            Some(name) => referred(world, &item, "alertPolicyRef", "AlertPolicy", &name.value),
            None => written_out(&mut item),
        };
        item.finish();
        rules.extend(inner.and_then(|f| policy(world, f, notes)));
    }
    (if rules.is_empty() { "none" } else { "custom" }.into(), rules)
}

/// A policy by itself is checked even when nothing refers to it.
pub fn alone<'a>(world: &World<'a>, mut f: Fields<'a>) {
    if let Some(spec) = written_out(&mut f) {
        policy(world, spec, &mut Vec::new());
    }
    f.finish();
}

pub fn condition_alone(mut f: Fields<'_>) {
    if let Some(spec) = written_out(&mut f) {
        condition(spec, &mut Vec::new());
    }
    f.finish();
}

/// The `spec` of an object that stands in the place of a reference.
fn written_out<'a>(f: &mut Fields<'a>) -> Option<Fields<'a>> {
    f.skip(&["apiVersion", "kind"]);
    f.map_opt("metadata").map(metadata);
    f.map("spec")
}

/// The `spec` of the object that has this name.
fn referred<'a>(world: &World<'a>, f: &Fields<'a>, key: &str, kind: &str, name: &str) -> Option<Fields<'a>> {
    if f.has("spec") {
        f.wrong(key, "spec is there, too; expected one of them");
        return None;
    }
    let doc = world.find(kind, name).map_err(|why| f.wrong(key, why)).ok()?;
    match doc.root.get("spec").map(|e| &e.node.value) {
        Some(Value::Table(table)) => Some(Fields::within(doc, table, world.faults, "spec")),
        _ => None,
    }
}

fn policy<'a>(world: &World<'a>, mut f: Fields<'a>, notes: &mut Vec<String>) -> Option<BurnRule> {
    f.skip(&["description", "notificationTargets"]);
    let breaching = f.bool_opt("alertWhenBreaching").unwrap_or(true);
    if f.bool_opt("alertWhenResolved") == Some(true) {
        notes.push("alertWhenResolved is not done here: an alert that ends is silent".into());
    }
    if f.bool_opt("alertWhenNoData") == Some(false) {
        notes.push("alertWhenNoData: false is not done here: what is not known is always shown as such".into());
    }
    let mut all = f.maps("conditions");
    if all.len() != 1 {
        f.wrong("conditions", format!("expected a list of exactly one condition, found {}", all.len()));
        return None;
    }
    f.finish();
    let mut item = all.remove(0);
    let inner = match item.text_opt("conditionRef") {
        Some(name) => referred(world, &item, "conditionRef", "AlertCondition", &name.value),
        None => written_out(&mut item),
    };
    item.finish();
    let rule = condition(inner?, notes)?;
    if !breaching {
        notes.push(format!("the {} alert is switched off by alertWhenBreaching: false", rule.severity));
        return None;
    }
    Some(rule)
}

fn condition(mut f: Fields<'_>, notes: &mut Vec<String>) -> Option<BurnRule> {
    f.skip(&["description"]);
    let severity = f.text("severity").map(|s| s.value);
    let inner = f.map("condition");
    f.finish();
    let mut c = inner?;
    if c.text_opt("kind").is_some_and(|k| !k.value.eq_ignore_ascii_case("burnrate")) {
        c.wrong("kind", "expected burnrate, the only kind there is");
    }
    if c.text_opt("op").is_some_and(|op| !["gt", "gte"].contains(&op.value.as_str())) {
        c.wrong("op", "expected gt: a burn rate is bad when it is high");
    }
    let factor = c.number("threshold").map(|x| x.value).filter(|x| {
        if *x <= 0.0 {
            c.wrong("threshold", format!("expected a burn rate above 0, found {x}"));
        }
        *x > 0.0
    });
    let long = c
        .text("lookbackWindow")
        .and_then(|t| Short::parse(&t.value).map_err(|why| c.wrong("lookbackWindow", why)).ok())
        .map(Short::seconds);
    let after = c.text_opt("alertAfter").map(|t| t.value).filter(|t| t.trim_start_matches('0').len() > 1);
    let after = after.map(|t| Short::parse(&t).map_err(|why| c.wrong("alertAfter", why)).map(Short::seconds));
    if let (Some(Ok(after)), Some(long)) = (&after, long)
        && *after > long
    {
        c.wrong("alertAfter", "longer than lookbackWindow: it could not be seen to hold that long");
        return None;
    }
    c.finish();
    let long_seconds = long?;
    let short_seconds = match after {
        None => long_seconds,
        Some(after) => after.ok()?,
    };
    let severity = severity?;
    if short_seconds < long_seconds {
        notes.push(format!("alertAfter of the {severity} alert is its short window, which must burn as fast"));
    }
    Some(BurnRule { severity, short_seconds, long_seconds, factor: factor? })
}
