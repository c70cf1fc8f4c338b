//! The report of a month, in Markdown and HTML. (JSON is the data itself.)
//!
//! Everything that somebody wrote is cleaned and escaped: a reason or a server's answer is text in a report and nothing
//! else. The HTML holds its own style and no script, and is readable when printed.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Agreement;
use crate::model::health::Tri;
use crate::model::sla::ExclusionKind;
use crate::model::sla::SlaMonth;
use crate::text::Untrusted;
use crate::text::clean;

/// Outages listed of one service; a service that flaps has thousands.
const OUTAGES_MAX: usize = 200;

/// Markdown's own characters, and those of HTML inside it, made plain.
pub fn escape_markdown(text: &str) -> String {
    let text = Untrusted::new(text);
    let cleaned = clean(&text);
    let mut out = String::with_capacity(cleaned.as_str().len());
    for c in cleaned.as_str().chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    // Bare addresses are made links by many readers.
    out.replace("://", "&#58;//").replace("www.", "www&#46;")
}

/// Text for an HTML element or a quoted attribute.
pub fn escape_html(text: &str) -> String {
    let text = Untrusted::new(text);
    let cleaned = clean(&text);
    let mut out = String::with_capacity(cleaned.as_str().len());
    for c in cleaned.as_str().chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// `99.512 %`, cut and not rounded: 99.4999 % is not shown as the 99.5 % it does not reach. `not known` without one.
pub fn percent(share: Option<f64>) -> String {
    share.map_or("not known".into(), |s| format!("{:.3} %", (s * 100_000.0 + 1e-7).floor() / 1_000.0))
}

/// `2 d 3 h 4 min 5 s`, without what is nought.
pub fn span(seconds: f64) -> String {
    let all = seconds.round().max(0.0) as u64;
    let parts = [(all / 86_400, "d"), (all / 3_600 % 24, "h"), (all / 60 % 60, "min"), (all % 60, "s")];
    let said: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    if said.is_empty() { "0 s".into() } else { said.join(" ") }
}

fn time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// In words that cannot be misread.
pub fn met_word(met: Tri) -> &'static str {
    match met {
        Tri::Pass => "met",
        Tri::Fail => "missed",
        Tri::Unknown => "not known",
    }
}

pub fn kind_word(kind: ExclusionKind) -> &'static str {
    match kind {
        ExclusionKind::Maintenance => "maintenance",
        ExclusionKind::ForceMajeure => "force majeure",
        ExclusionKind::Customer => "customer",
    }
}

/// A table of a report: headings and cells, not escaped yet.
struct Section {
    title: String,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// Said below it.
    notes: Vec<String>,
}

const METHOD: &str = "Each probe stands for the time until the next one, at most one and a half intervals; what is left \
     over is unknown and counts as neither. Excluded time does not count. Uptime is up time over up and down time; at \
     worst, all that is unknown was down. Met: even at worst; missed: even if all that is unknown was up.";

fn sections(agreement: &Agreement, months: &[SlaMonth]) -> Vec<Section> {
    let mut out = vec![summary(agreement, months)];
    for m in months {
        if !m.outages.is_empty() {
            out.push(outages(agreement, m));
        }
        if !m.exclusions.is_empty() {
            out.push(exclusions(agreement, m));
        }
    }
    let credits = agreement.credits.iter().rev();
    out.push(Section {
        title: "Credits".into(),
        head: vec!["Uptime below", "Of the fee"],
        rows: credits.map(|c| vec![percent(Some(c.below)), format!("{} %", c.percent)]).collect(),
        notes: vec![METHOD.into()],
    });
    out
}

fn title_of(agreement: &Agreement, service: &str) -> String {
    match agreement.service(service) {
        Some(s) if s.title != s.name => format!("{} ({})", s.title, s.name),
        _ => service.to_owned(),
    }
}

fn summary(agreement: &Agreement, months: &[SlaMonth]) -> Section {
    let row = |m: &SlaMonth| {
        vec![
            title_of(agreement, &m.service),
            percent(Some(m.target)),
            percent(m.uptime),
            percent(m.uptime_at_worst),
            met_word(m.met).to_owned(),
            format!("{} %", m.credit_percent),
            span(m.down_seconds),
            span(m.unknown_seconds),
            span(m.excluded_seconds),
        ]
    };
    let notes = months.iter().filter(|m| m.unknown_seconds > 0.0).map(|m| {
        let of = title_of(agreement, &m.service);
        format!("{of}: nothing is known of {}; nobody probed it then.", span(m.unknown_seconds))
    });
    Section {
        title: "Services".into(),
        head: vec!["Service", "Promised", "Uptime", "At worst", "", "Credit", "Down", "Unknown", "Excluded"],
        rows: months.iter().map(row).collect(),
        notes: notes.collect(),
    }
}

fn outages(agreement: &Agreement, m: &SlaMonth) -> Section {
    let zone = &agreement.zone;
    let row = |o: &crate::model::sla::Outage| {
        let lasted = span(o.until.duration_since(o.from).as_secs_f64());
        let what = if o.known { "down" } else { "unknown" };
        vec![time(o.from, zone), time(o.until, zone), lasted, what.into(), o.detail.expose().to_owned()]
    };
    let more = m.outages.len().saturating_sub(OUTAGES_MAX);
    Section {
        title: format!("Outages of {}", title_of(agreement, &m.service)),
        head: vec!["From", "Until", "Lasted", "Was", "First seen as"],
        rows: m.outages.iter().take(OUTAGES_MAX).map(row).collect(),
        notes: (more > 0).then(|| format!("and {more} more")).into_iter().collect(),
    }
}

fn exclusions(agreement: &Agreement, m: &SlaMonth) -> Section {
    let zone = &agreement.zone;
    let row = |(e, counted, why): &(crate::model::sla::Exclusion, bool, String)| {
        let by = e.approved_by.as_ref().map_or("nobody".to_owned(), |p| p.as_str().to_owned());
        vec![
            time(e.from, zone),
            time(e.until, zone),
            kind_word(e.kind).into(),
            e.reason.expose().to_owned(),
            e.asked_by.as_str().to_owned(),
            by,
            format!("{}: {why}", if *counted { "counts" } else { "does not count" }),
        ]
    };
    Section {
        title: format!("Exclusions of {}", title_of(agreement, &m.service)),
        head: vec!["From", "Until", "Kind", "Reason", "Asked by", "Approved by", ""],
        rows: m.exclusions.iter().map(row).collect(),
        notes: Vec::new(),
    }
}

fn heading(agreement: &Agreement, months: &[SlaMonth], now: Timestamp) -> (String, String) {
    let month = months.first().map_or("", |m| m.month.as_str());
    let until = months.iter().map(|m| m.until).max().unwrap_or(now);
    let running = if until >= now { "; the month is not over" } else { "" };
    (
        format!("Service level report {month}"),
        format!("Until {}{running}. Made {}.", time(until, &agreement.zone), time(now, &agreement.zone)),
    )
}

/// One month of several services.
pub fn markdown(agreement: &Agreement, months: &[SlaMonth], now: Timestamp) -> String {
    let (title, said) = heading(agreement, months, now);
    let mut out = format!("# {}\n\n{}\n", escape_markdown(&title), escape_markdown(&said));
    let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    for s in sections(agreement, months) {
        out.push_str(&format!("\n## {}\n\n", escape_markdown(&s.title)));
        out.push_str(&line(&mut s.head.iter().map(|h| (*h).to_owned())));
        out.push_str(&line(&mut s.head.iter().map(|_| "---".to_owned())));
        for row in &s.rows {
            out.push_str(&line(&mut row.iter().map(|c| escape_markdown(c))));
        }
        for note in &s.notes {
            out.push_str(&format!("\n{}\n", escape_markdown(note)));
        }
    }
    out
}

/// As [`markdown`], one file that needs no other.
pub fn html(agreement: &Agreement, months: &[SlaMonth], now: Timestamp) -> String {
    let (title, said) = heading(agreement, months, now);
    let mut body = format!("<h1>{}</h1>\n<p>{}</p>\n", escape_html(&title), escape_html(&said));
    for s in sections(agreement, months) {
        body.push_str(&format!("<h2>{}</h2>\n<table>\n<thead><tr>", escape_html(&s.title)));
        for h in &s.head {
            body.push_str(&format!("<th scope=\"col\">{}</th>", escape_html(h)));
        }
        body.push_str("</tr></thead>\n<tbody>\n");
        for row in &s.rows {
            let cells: String = row.iter().map(|c| format!("<td>{}</td>", escape_html(c))).collect();
            body.push_str(&format!("<tr>{cells}</tr>\n"));
        }
        body.push_str("</tbody>\n</table>\n");
        for note in &s.notes {
            body.push_str(&format!("<p>{}</p>\n", escape_html(note)));
        }
    }
    page(&title, &body)
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem}\
th,td{border:1px solid #8888;padding:.3rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
.bars{width:100%;height:2rem;display:block}\
.up{fill:#2a7f62}.some{fill:#d08c2a}.down{fill:#c0392b}.unknown{fill:#9997}.excluded{fill:#5b7fb5}\
@media print{body{margin:0;max-width:none;font-size:10pt;color:#000;background:#fff}\
table{page-break-inside:auto}tr,svg{page-break-inside:avoid}thead{display:table-header-group}\
svg rect{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

/// A page around a body. Nothing is loaded and nothing runs: its policy says so to the browser too.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape_html(title)
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::ids::PersonId;
    use crate::model::sla::Exclusion;
    use crate::model::sla::ProbeResult;

    const HOSTILE: &str = "<script>alert(1)</script> | [x](http://evil.example) `b` **b** \u{1b}[31m\u{202e} \"q' &";

    fn made() -> (Agreement, Vec<SlaMonth>) {
        let text = "[[services]]\nname = \"api\"\ntitle = \"<b>API</b> | x\"\ntcp = \"h:1\"\n";
        let a = Agreement::parse(Path::new("sla.toml"), text).unwrap();
        let at = |s: &str| -> Timestamp { s.parse().unwrap() };
        let probe =
            ProbeResult { at: at("2026-10-01T00:00:00Z"), up: false, millis: 1, detail: Untrusted::new(HOSTILE) };
        let exclusion = Exclusion {
            id: "1".into(),
            service: "api".into(),
            from: at("2026-10-02T00:00:00Z"),
            until: at("2026-10-02T01:00:00Z"),
            kind: ExclusionKind::Maintenance,
            reason: Untrusted::new(HOSTILE),
            announced: at("2026-10-01T00:00:00Z"),
            asked_by: PersonId::new("alice").unwrap(),
            approved_by: PersonId::new("bob"),
        };
        let month = "2026-10".parse().unwrap();
        let m = super::super::evaluate(&a, &a.services[0], month, &[probe], &[exclusion], at("2026-10-03T00:00:00Z"));
        (a, vec![m.unwrap()])
    }

    #[test]
    fn what_others_wrote_is_only_text() {
        let (a, months) = made();
        let now = months[0].until;
        let page = html(&a, &months, now);
        assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains('\u{1b}'), "{page}");
        assert!(page.contains("&lt;script&gt;") && page.contains("does not count: announced 1 d 0 h"), "{page}");
        let text = markdown(&a, &months, now);
        assert!(!text.contains("<script") && !text.contains("[x](") && !text.contains('\u{202e}'), "{text}");
        for line in text.lines().filter(|l| l.starts_with("| ")) {
            let columns = line.replace("\\|", "").matches('|').count();
            assert!([3, 6, 8, 10].contains(&columns), "{columns}: {line}");
        }
        assert!(text.contains("the month is not over"), "{text}");
    }

    #[test]
    fn a_share_is_never_shown_better_than_it_is() {
        assert_eq!(percent(Some(0.994_999_9)), "99.499 %");
        assert_eq!(percent(Some(0.995)), "99.500 %");
        assert_eq!(percent(Some(0.999_999_9)), "99.999 %");
        assert_eq!(percent(Some(1.0)), "100.000 %");
        assert_eq!(percent(None), "not known");
        assert_eq!(span(93_784.4), "1 d 2 h 3 min 4 s");
        assert_eq!(span(0.0), "0 s");
    }
}
