//! The public status page: what services are called, how they are now, and 90 days of each. Nothing of how they are
//! probed, what they answered, or who said what.

use jiff::Timestamp;
use jiff::ToSpan as _;
use serde::Serialize;

use super::Agreement;
use super::Service;
use super::month::Sums;
use super::month::counts;
use super::month::totals;
use super::report::escape_html;
use super::report::page;
use super::report::percent;
use crate::model::sla::Exclusion;
use crate::model::sla::ExclusionKind;
use crate::model::sla::ProbeResult;

/// Days shown.
pub const DAYS: i64 = 90;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusPage {
    pub title: String,
    pub at: Timestamp,
    /// The worst of all services.
    pub now: Now,
    pub services: Vec<PublicService>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Now {
    Operational,
    Maintenance,
    /// Not probed for more than one and a half intervals.
    Unknown,
    Down,
}

impl Now {
    pub fn words(self) -> &'static str {
        match self {
            Self::Operational => "operational",
            Self::Maintenance => "under maintenance",
            Self::Unknown => "not known",
            Self::Down => "down",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublicService {
    pub name: String,
    pub now: Now,
    /// Share of known time over all days shown; `None`: nothing is known.
    pub uptime: Option<f64>,
    /// Oldest first; the last is today, so far.
    pub days: Vec<PublicDay>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublicDay {
    /// `2026-10-31`, in the agreement's time zone.
    pub date: String,
    pub uptime: Option<f64>,
    pub down_seconds: f64,
    pub unknown_seconds: f64,
    pub excluded_seconds: f64,
}

impl PublicDay {
    fn of(date: String, s: &Sums) -> Self {
        let seconds = |us: i64| us as f64 / 1e6;
        Self {
            date,
            uptime: s.uptime(),
            down_seconds: seconds(s.down),
            unknown_seconds: seconds(s.unknown),
            excluded_seconds: seconds(s.excluded),
        }
    }

    /// The colour of its bar: a day nobody looked at is never green.
    fn class(&self) -> &'static str {
        match self.uptime {
            None if self.excluded_seconds > 0.0 && self.unknown_seconds == 0.0 => "excluded",
            None => "unknown",
            Some(u) if u < 0.95 => "down",
            Some(u) if u < 1.0 => "some",
            Some(_) if self.unknown_seconds > 3_600.0 => "unknown",
            Some(_) => "up",
        }
    }
}

/// How a service is now. `probes` are in the order of time.
pub fn now_of(service: &Service, probes: &[ProbeResult], exclusions: &[Exclusion], now: Timestamp) -> Now {
    let holds = |e: &&Exclusion| e.service == service.name && e.from <= now && now < e.until && counts(e).0;
    let maintained = exclusions.iter().filter(holds).any(|e| e.kind == ExclusionKind::Maintenance);
    let longest = jiff::SignedDuration::from_millis(i64::from(service.interval_seconds) * 1_500);
    let last = probes.iter().rev().find(|p| p.at <= now);
    match last.filter(|p| now.duration_since(p.at) <= longest) {
        _ if maintained => Now::Maintenance,
        None => Now::Unknown,
        Some(p) if p.up => Now::Operational,
        Some(_) => Now::Down,
    }
}

/// One service of the page.
///
/// # Errors
/// When the calendar ends there.
pub fn public(
    agreement: &Agreement,
    service: &Service,
    probes: &[ProbeResult],
    exclusions: &[Exclusion],
    now: Timestamp,
) -> Result<PublicService, String> {
    let mine: Vec<Exclusion> = exclusions.iter().filter(|e| e.service == service.name).cloned().collect();
    let today = now.to_zoned(agreement.zone.clone()).date();
    let start = |d: jiff::civil::Date| d.to_zoned(agreement.zone.clone()).map(|z| z.timestamp());
    let mut days = Vec::new();
    let mut all = Sums::default();
    for back in (0..DAYS).rev() {
        let date = today.checked_sub(back.days()).map_err(|e| e.to_string())?;
        let next = date.checked_add(1.day()).map_err(|e| e.to_string())?;
        let from = start(date).map_err(|e| e.to_string())?;
        let until = start(next).map_err(|e| e.to_string())?.min(now);
        // Only the probes that can reach into this day.
        let reach = from - jiff::SignedDuration::from_secs(2 * i64::from(service.interval_seconds));
        let first = probes.partition_point(|p| p.at < reach);
        let last = probes.partition_point(|p| p.at < until);
        let sums = totals(service, &probes[first..last.max(first)], &mine, from, until);
        all.up += sums.up;
        all.down += sums.down;
        days.push(PublicDay::of(date.to_string(), &sums));
    }
    let now = now_of(service, probes, &mine, now);
    Ok(PublicService { name: service.title.clone(), now, uptime: all.uptime(), days })
}

/// The page as one HTML file without script.
pub fn html(page_of: &StatusPage, agreement: &Agreement) -> String {
    let at = page_of.at.to_zoned(agreement.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string();
    let title = escape_html(&page_of.title);
    let mut body = format!("<h1>{title}</h1>\n<p><strong>{}</strong> as of {at}</p>\n", overall(page_of.now));
    for s in &page_of.services {
        let name = escape_html(&s.name);
        body.push_str(&format!("<h2>{name}: {}</h2>\n<p>{DAYS} days: {}</p>\n", s.now.words(), percent(s.uptime)));
        body.push_str(&bars(s, &name));
    }
    body.push_str("<p>Green: up all day. Orange: at least 95 %. Red: less. Blue: excluded. Grey: not known.</p>\n");
    page(&page_of.title, &body)
}

fn overall(now: Now) -> &'static str {
    match now {
        Now::Operational => "All services are operational",
        Now::Maintenance => "Maintenance is under way",
        Now::Unknown => "The state of some services is not known",
        Now::Down => "Some services are down",
    }
}

/// Colour is not alone: the height tells too, and each bar has its words.
fn bars(s: &PublicService, name: &str) -> String {
    let width = DAYS * 10;
    let mut out = format!(
        "<svg class=\"bars\" viewBox=\"0 0 {width} 40\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{name}, {DAYS} days\">\n"
    );
    for (i, day) in s.days.iter().enumerate() {
        let class = day.class();
        let (y, height) = match class {
            "up" => (0, 40),
            "some" => (10, 30),
            "down" => (20, 20),
            _ => (30, 10),
        };
        out.push_str(&format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{y}\" width=\"8\" height=\"{height}\"><title>{}: {}</title></rect>\n",
            i * 10,
            day.date,
            percent(day.uptime)
        ));
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::SignedDuration;

    use super::*;
    use crate::text::Untrusted;

    #[test]
    fn the_page_tells_days_and_no_internals() {
        let text = "time_zone = \"Europe/Berlin\"\n[[services]]\nname = \"api-internal\"\ntitle = \"API & more\"\n\
                    http = \"https://secret-host.corp/health\"\n";
        let a = Agreement::parse(Path::new("sla.toml"), text).unwrap();
        let now: Timestamp = "2026-11-01T12:00:00Z".parse().unwrap();
        let mut probes = Vec::new();
        // Two days of probes, none before; down for an hour on the first.
        for minute in (0..2 * 24 * 60).rev() {
            let at = now - SignedDuration::from_mins(minute);
            let up = !(2_000..2_060).contains(&minute);
            probes.push(ProbeResult { at, up, millis: 1, detail: Untrusted::new("10.1.2.3 refused") });
        }
        let s = public(&a, &a.services[0], &probes, &[], now).unwrap();
        assert_eq!(s.days.len(), 90);
        assert_eq!((s.now, s.days[89].date.as_str(), s.days[0].uptime), (Now::Operational, "2026-11-01", None));
        assert_eq!(s.days[89].uptime, Some(1.0));
        assert_eq!(s.days[88].down_seconds + s.days[87].down_seconds, 3_600.0);
        assert_eq!(s.days[0].class(), "unknown");
        // A minute before and the rest of the interval after: nothing is lost between days.
        let known: f64 = 2.0 * 86_400.0 - 60.0;
        assert!((s.uptime.unwrap() - (known - 3_600.0) / known).abs() < 1e-9, "{:?}", s.uptime);
        let p = StatusPage { title: "SOC".into(), at: now, now: s.now, services: vec![s] };
        for out in [html(&p, &a), serde_json::to_string(&p).unwrap()] {
            for inner in ["secret-host", "10.1.2.3", "api-internal", "refused"] {
                assert!(!out.contains(inner), "{inner}");
            }
        }
        assert!(html(&p, &a).contains("API &amp; more: operational"));
        let late = now + SignedDuration::from_secs(91);
        assert_eq!(now_of(&a.services[0], &probes, &[], late), Now::Unknown);
    }
}
