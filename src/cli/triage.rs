//! `triage`: opinions on alerts, kept with them; the queue of the workers; what was said to models.

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::Cancel;
use crate::desk::Desk;
use crate::model::ids::AlertId;
use crate::model::opinion::Agreement;
use crate::model::opinion::Exchange;
use crate::model::opinion::TriageStats;
use crate::model::query::Page;
use crate::model::query::SortKey;
use crate::model::verdict::Verdict;
use crate::model::verdict::VerdictKind;
use crate::text::Untrusted;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Alerts to form an opinion on.
    #[arg(required_unless_present = "new")]
    ids: Vec<AlertId>,
    /// Every new alert without a verdict, riskiest first, up to --limit.
    #[arg(long, conflicts_with = "ids")]
    new: bool,
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
    /// `rules`, `openai` or `local`; without it, the one of the settings.
    #[arg(long, value_name = "B")]
    backend: Option<String>,
    /// Leave it to the workers of the desk (`serve` or a console) instead of doing it here and now.
    #[arg(long, conflicts_with = "backend")]
    queue: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// What waits for the workers, and why it stands still if it does.
    Queue,
    /// Take back what people asked the workers for.
    Cancel,
    /// How triage did: verdicts, times, tokens, agreement.
    Stats {
        /// Over the last so many hours.
        #[arg(long, default_value_t = 24, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8_784))]
        hours: u32,
    },
    /// What was said to models about an alert, and what they answered, newest first.
    Exchanges { id: AlertId },
    /// Run a stored prompt once more, and say whether the answer is the same. Exit 1: it is not.
    Replay {
        /// Of the exchange, see `triage exchanges`.
        request_id: String,
    },
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    match args.what {
        Some(What::Queue) => queue(ctx),
        Some(What::Cancel) => cancel(ctx),
        Some(What::Stats { hours }) => stats(ctx, hours),
        Some(What::Exchanges { id }) => exchanges(ctx, id),
        Some(What::Replay { request_id }) => replay(ctx, &request_id),
        None => judge(ctx, args),
    }
}

fn judge(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let ids = if args.new {
        let query = super::query(ctx, &desk, "status:new verdict:none")?;
        desk.rows(&query, SortKey::Risk, Page::First, args.limit)?.iter().map(|r| r.id).collect()
    } else {
        args.ids
    };
    if args.queue {
        return enqueue(ctx, &desk, &ids);
    }
    let cancel = Cancel::new();
    let by = desk.me().map(|p| p.id);
    for id in ids {
        let judged = desk.triage(id, args.backend.as_deref(), by.as_ref(), &|_| {}, &cancel);
        let verdict = super::block_on(judged)??;
        ctx.out().item(&serde_json::json!({ "id": id, "verdict": verdict }))?;
        tell(ctx, id, &verdict)?;
    }
    Ok(Exit::Done)
}

fn tell(ctx: &Ctx, id: AlertId, verdict: &Verdict) -> Result<(), CliError> {
    let sure = verdict.confidence.map_or(String::new(), |c| format!(" {c:.2}"));
    let stands_in = if verdict.fallback { " (fallback)" } else { "" };
    ctx.out().line(format!("{id}: {}{sure} by {}{stands_in}", verdict.kind.label(), verdict.backend))?;
    for claim in &verdict.claims {
        let mark = if claim.founded { '=' } else { 'x' };
        ctx.out().line(format!(
            "  {mark} {} [{}: {}]",
            claim.text.expose(),
            claim.field.expose(),
            claim.quote.expose()
        ))?;
    }
    if let Some(remark) = &verdict.remark {
        ctx.out().line(format!("  {}", remark.expose()))?;
    }
    Ok(())
}

// --- the queue -----------------------------------------------------------------------------------

fn enqueue(ctx: &Ctx, desk: &Desk, ids: &[AlertId]) -> Result<Exit, CliError> {
    let added = if ids.is_empty() { 0 } else { desk.enqueue_triage(&super::me(ctx, desk)?, ids)? };
    let queue = desk.triage_queue()?;
    ctx.out().value(&serde_json::json!({ "queued": added, "asked": ids.len(), "queue": queue }))?;
    ctx.out().line(format!("{added} of {} queued, {} waiting", ids.len(), queue.waiting))?;
    if let Some(held) = queue.held {
        ctx.out().note(held)?;
    }
    Ok(Exit::Done)
}

fn queue(ctx: &Ctx) -> Result<Exit, CliError> {
    let queue = ctx.desk()?.triage_queue()?;
    ctx.out().value(&queue)?;
    ctx.out().line(format!("{} waiting, {} running", queue.waiting, queue.running))?;
    if queue.asked > 0 {
        ctx.out().line(format!("bulk: {} of {} done", queue.done, queue.asked))?;
    }
    if let Some(held) = &queue.held {
        ctx.out().line(held)?;
    }
    Ok(Exit::Done)
}

fn cancel(ctx: &Ctx) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let n = desk.cancel_triage_queue(&super::me(ctx, &desk)?)?;
    ctx.out().value(&serde_json::json!({ "cancelled": n }))?;
    ctx.out().line(format!("{n} cancelled"))?;
    Ok(Exit::Done)
}

// --- figures -------------------------------------------------------------------------------------

fn stats(ctx: &Ctx, hours: u32) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let s = desk.triage_stats(hours)?;
    ctx.out().value(&s)?;
    for (name, value) in figures(&s, desk.settings().triage.watts) {
        ctx.out().line(format!("{name:<22} {value}"))?;
    }
    if !s.agreement.is_empty() {
        ctx.out().line("")?;
        let rows: Vec<Vec<String>> = s.agreement.iter().map(agreement_row).collect();
        ctx.out().table(&["RULE", "BACKEND", "MODEL", "AGREED", "OVERRIDDEN", "RATE"], &rows)?;
    }
    Ok(Exit::Done)
}

/// Unknown is said to be unknown, never nought.
fn figures(s: &TriageStats, watts: u32) -> Vec<(&'static str, String)> {
    let ms = |v: Option<u64>| v.map_or("not known".to_owned(), |v| format!("{:.2} s", v as f64 / 1_000.0));
    let share = |n: u64, of: u64| {
        let percent = (n * 100).checked_div(of);
        percent.map_or("none".to_owned(), |percent| format!("{n} of {of} ({percent} %)"))
    };
    let kinds = VerdictKind::ALL.iter().zip(s.kinds).map(|(k, n)| format!("{} {n}", k.word()));
    let per_alert = |total: f64| total / s.by_model.max(1) as f64;
    let seconds = s.served_ms as f64 / 1_000.0;
    let energy = match (watts, s.by_model) {
        (0, _) => "not known: triage.watts is not set".to_owned(),
        (_, 0) => "none".to_owned(),
        (w, _) => format!("{:.0} J an alert", per_alert(seconds) * f64::from(w)),
    };
    vec![
        ("verdicts", format!("{}: {}", s.verdicts, kinds.collect::<Vec<_>>().join(", "))),
        ("by a model", s.by_model.to_string()),
        ("by a model, an hour", format!("{:.1}; now {:.0}", s.per_hour, s.per_hour_now)),
        ("rules stood in", share(s.fallbacks, s.verdicts)),
        ("took P50", ms(s.took_p50)),
        ("took P95", ms(s.took_p95)),
        ("first token P95", ms(s.first_token_p95)),
        ("claims founded", share(s.founded, s.claims)),
        ("text-dependent", s.text_dependent.to_string()),
        ("priority raised", s.raised.to_string()),
        ("prompt tokens", share(s.cached_tokens, s.prompt_tokens).replace(" of ", " cached of ")),
        ("completion tokens", s.completion_tokens.to_string()),
        ("slot time", format!("{seconds:.1} s, {:.2} s an alert", per_alert(seconds))),
        ("energy", energy),
        ("queue", format!("{} waiting, {} running", s.queue.waiting, s.queue.running)),
    ]
}

fn agreement_row(a: &Agreement) -> Vec<String> {
    let rule = if a.rule.is_empty() { "(all)" } else { a.rule.expose() };
    let rate = a.rate().map_or("-".to_owned(), |r| format!("{:.0} %", r * 100.0));
    let n = |n: u64| n.to_string();
    vec![rule.to_owned(), a.backend.clone(), a.model.expose().to_owned(), n(a.agreed), n(a.overridden), rate]
}

// --- exchanges -----------------------------------------------------------------------------------

fn exchanges(ctx: &Ctx, id: AlertId) -> Result<Exit, CliError> {
    let all = ctx.desk()?.exchanges(id)?;
    all.iter().try_for_each(|e| ctx.out().item(e))?;
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|e| {
            let on = e.server.as_ref().map_or(e.backend.clone(), |s| format!("{} {s}", e.backend));
            let model = e.model.expose().to_owned();
            vec![e.request_id.clone(), format!("{:.0}", e.at), e.purpose.word().into(), on, model, e.finish.clone()]
        })
        .collect();
    ctx.out().table(&["REQUEST", "AT", "FOR", "ON", "MODEL", "FINISH"], &rows)?;
    Ok(Exit::Done)
}

/// What of two answers to one prompt is the same. `None`: one side does not say.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
struct Same {
    text: bool,
    verdict: Option<bool>,
    model: bool,
    model_digest: Option<bool>,
}

impl Same {
    fn of(old: &Exchange, new: &Exchange) -> Self {
        let verdict = verdict_in(&old.output).zip(verdict_in(&new.output));
        let digest = old.model_digest.as_ref().zip(new.model_digest.as_ref());
        Self {
            text: old.output == new.output,
            verdict: verdict.map(|(a, b)| a == b),
            model: old.model == new.model,
            model_digest: digest.map(|(a, b)| a == b),
        }
    }
}

/// The verdict an answer names, if it is one.
fn verdict_in(output: &Untrusted) -> Option<VerdictKind> {
    let text = output.expose();
    let json: serde_json::Value = serde_json::from_str(text.get(text.find('{')?..=text.rfind('}')?)?).ok()?;
    VerdictKind::parse(json["verdict"].as_str()?)
}

fn replay(ctx: &Ctx, request_id: &str) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let me = super::me(ctx, &desk)?;
    let (old, new) = super::block_on(desk.replay(&me, request_id, &Cancel::new()))??;
    let same = Same::of(&old, &new);
    ctx.out().value(&serde_json::json!({ "old": old, "new": new, "same": same }))?;
    let word = |b: Option<bool>| match b {
        Some(true) => "the same",
        Some(false) => "different",
        None => "not known",
    };
    let on = |e: &Exchange| e.server.clone().unwrap_or_else(|| e.backend.clone());
    for (name, same) in [
        ("text", Some(same.text)),
        ("verdict", same.verdict),
        ("model", Some(same.model)),
        ("model digest", same.model_digest),
    ] {
        ctx.out().line(format!("{name:<13} {}", word(same)))?;
    }
    for (name, e) in [("then", &old), ("now", &new)] {
        ctx.out().line("")?;
        ctx.out().line(format!("{name}: {} on {}, {} ({})", e.model.expose(), on(e), e.request_id, e.finish))?;
        ctx.out().block(e.output.expose())?;
    }
    Ok(if same.text { Exit::Done } else { Exit::No })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_by_text_and_by_verdict() {
        let verdict = |s: &str| verdict_in(&s.into());
        assert_eq!(verdict(r#"{"claims":[],"verdict":"true_positive"}"#), Some(VerdictKind::TruePositive));
        assert_eq!(verdict("<think>{</think>"), None);
        for text in ["", "}{", "{}", r#"{"verdict":3}"#, r#"{"verdict":"closed"}"#, "I do not know"] {
            assert_eq!(verdict(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_nought() {
        let text = |s: &TriageStats, watts| {
            figures(s, watts).into_iter().map(|(n, v)| format!("{n}: {v}\n")).collect::<String>()
        };
        let none = text(&TriageStats::default(), 0);
        for line in ["took P50: not known", "energy: not known", "rules stood in: none", "claims founded: none"] {
            assert!(none.contains(line), "{none}");
        }
        let some = TriageStats {
            verdicts: 10,
            fallbacks: 2,
            by_model: 8,
            served_ms: 16_000,
            prompt_tokens: 1_000,
            cached_tokens: 750,
            took_p95: Some(2_340),
            ..TriageStats::default()
        };
        let some = text(&some, 300);
        for line in [
            "rules stood in: 2 of 10 (20 %)",
            "took P95: 2.34 s",
            "prompt tokens: 750 cached of 1000 (75 %)",
            "slot time: 16.0 s, 2.00 s an alert",
            "energy: 600 J an alert",
        ] {
            assert!(some.contains(line), "{some}");
        }
    }
}
