//! When something may start: hours, and windows of maintenance.

use jiff::civil::Weekday;

use super::{PolicyInput, Stage, add, is_named, matches, tell};
use crate::model::action::Finding;
use crate::respond::policy::{Day, Hours, Maintenance, Policy, Starts, minutes};

/// Windows first: one that forbids holds whatever the hours say, one that opens holds against them.
pub(super) fn maintenance(policy: &Policy, input: &PolicyInput<'_>, out: &mut Vec<Finding>) {
    let zone = &policy.rules.time_zone;
    let now = input.now.to_zoned(policy.zone.clone()).datetime();
    let starting = input.stage == Stage::Execute;
    let mine: Vec<&Maintenance> = policy
        .rules
        .maintenance
        .iter()
        .filter(|m| matches(&m.actions, input.action))
        .filter(|m| m.tiers.is_empty() || m.tiers.contains(&input.tier))
        .filter(|m| input.targets.iter().any(|t| is_named(&m.targets, t)))
        .collect();
    let within = |m: &Maintenance| m.from <= now && now < m.to;
    let span =
        |m: &Maintenance| format!("from {} to {}", m.from.strftime("%Y-%m-%dT%H:%M"), m.to.strftime("%Y-%m-%dT%H:%M"));
    for m in mine.iter().filter(|m| m.start == Starts::Forbidden && within(m)) {
        add(out, starting, format!("nothing may start {} in {zone}: {}", span(m), m.why));
    }
    let only: Vec<&&Maintenance> = mine.iter().filter(|m| m.start == Starts::Only).collect();
    if !only.is_empty() && !only.iter().any(|m| within(m)) {
        let spans: Vec<String> = only.iter().map(|m| span(m)).collect();
        add(out, starting, format!("it may start only {} in {zone}: {}", spans.join(" or "), only[0].why));
    }
    let whole = |m: &Maintenance| input.targets.iter().all(|t| is_named(&m.targets, t));
    match mine.iter().find(|m| m.start != Starts::Forbidden && within(m) && whole(m)) {
        Some(m) => tell(out, format!("within the maintenance {} in {zone}: {}", span(m), m.why)),
        None => hours(policy, input, out),
    }
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
