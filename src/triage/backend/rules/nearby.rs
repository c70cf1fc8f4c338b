//! What else happened within the hour on the same host, by the same user, from or to the same address.

use super::{About, Reason, quote_any};
use crate::model::alert::Disposition;
use crate::model::severity::Severity;
use crate::text::Untrusted;
use crate::triage::{Neighbour, Question};

/// How far away in time a neighbour may be, and how near counts whole.
const HOUR: i64 = 3_600;
const MINUTE: i64 = 60;
/// A story happens within this.
const STORY: i64 = 1_800;
/// Weighted neighbours closed as true positives that support calling this one so too.
const SUPPORTS: f64 = 2.0;

#[derive(Debug, Default)]
pub(super) struct Nearby {
    pub reasons: Vec<Reason>,
    /// People closed neighbours as true positives: enough of them, near enough, to support the same here.
    pub attack: bool,
    /// At least one.
    pub any_attack: bool,
    /// People closed neighbours as false or benign, and none as true.
    pub benign: bool,
    /// Different things nobody has explained.
    pub story: bool,
}

impl Nearby {
    pub(super) fn of(q: &Question) -> Self {
        let mut out = Self::default();
        closed(q, &mut out);
        story(q, &mut out);
        if let Some(case) = q.context.cases.first() {
            out.reasons.push(Reason {
                about: About::Case,
                word: format!("open case {}", case.id),
                text: format!("case {} is open for it or for a neighbour", case.id),
                weight: 0.3,
                quote: entity_quote(q),
            });
        }
        out
    }
}

fn within(q: &Question, seconds: i64) -> impl Iterator<Item = &Neighbour> {
    q.context.neighbours.iter().filter(move |n| n.seconds.abs() <= seconds)
}

fn same_title(q: &Question, n: &Neighbour) -> bool {
    n.title.expose().eq_ignore_ascii_case(q.alert.fields.title.expose())
}

/// Alerts of one burst tend to be closed alike: the nearer and the more alike, the more so. Only what people decided
/// counts, never what a backend said.
fn closed(q: &Question, out: &mut Nearby) {
    let (mut attack, mut other, mut n) = (0.0_f64, 0.0_f64, (0, 0));
    for near in within(q, HOUR) {
        let alike = if same_title(q, near) { 2.0 } else { 1.0 };
        let weight = if near.seconds.abs() <= MINUTE { alike } else { alike / 2.0 };
        match near.disposition {
            Some(Disposition::TruePositive) => {
                attack += weight;
                n.0 += 1;
            }
            Some(Disposition::FalsePositive | Disposition::BenignTruePositive) => {
                other += weight;
                n.1 += 1;
            }
            Some(Disposition::Undetermined) | None => {}
        }
    }
    if n == (0, 0) {
        return;
    }
    // That nothing but noise was found nearby says less than that an attack was.
    let weight = if attack > 0.0 {
        ((attack + 0.5) / (other + 0.5)).ln().clamp(-1.0, 2.5)
    } else {
        (-((other + 0.5) / 0.5).ln() / 4.0).max(-1.0)
    };
    out.any_attack = n.0 > 0;
    out.benign = n.0 == 0;
    out.attack = attack >= SUPPORTS;
    let text =
        format!("within the hour on the same host, user or address: {} closed true, {} false or benign", n.0, n.1);
    let word = format!("nearby {} true, {} false or benign", n.0, n.1);
    out.reasons.push(Reason { about: About::Closed, word, text, weight, quote: entity_quote(q) });
}

/// Different alerts on the same entity close in time make a story; the same alert again does not, nor what people have
/// closed as nothing, nor what its detector rates low.
fn story(q: &Question, out: &mut Nearby) {
    let unexplained = |n: &&Neighbour| {
        !matches!(n.disposition, Some(Disposition::FalsePositive | Disposition::BenignTruePositive))
            && !matches!(n.severity, Severity::Informational | Severity::Low)
            && !same_title(q, n)
    };
    let near: Vec<&Neighbour> = within(q, STORY).filter(unexplained).collect();
    let count = |mut all: Vec<String>| {
        all.sort_unstable();
        all.dedup();
        all.len()
    };
    let titles = count(near.iter().map(|n| n.title.expose().to_lowercase()).collect());
    let own = &q.alert.fields.techniques;
    let techniques =
        count(near.iter().flat_map(|n| n.techniques.iter()).filter(|t| !own.contains(t)).cloned().collect());
    let (weight, what) = match (techniques, titles) {
        (4.., _) => (1.0, format!("{techniques} other techniques")),
        (2..=3, _) => (0.5, format!("{techniques} other techniques")),
        (_, 4..) => (0.4, format!("{titles} other kinds of alerts")),
        (_, 2..=3) => (0.2, format!("{titles} other kinds of alerts")),
        _ => return,
    };
    out.story = weight >= 1.0;
    let text = format!("{what} on the same host, user or address within 30 minutes");
    out.reasons.push(Reason {
        about: About::Story,
        word: format!("{what} nearby"),
        text,
        weight,
        quote: entity_quote(q),
    });
}

fn entity_quote(q: &Question) -> Option<(Untrusted, Untrusted)> {
    let f = &q.alert.fields;
    let ip = |ip: Option<std::net::IpAddr>| ip.map(|i| Untrusted::new(i.to_string()));
    let (src, dst) = (ip(f.src_ip), ip(f.dst_ip));
    quote_any(&q.fields, [f.host.as_ref(), f.user.as_ref(), src.as_ref(), dst.as_ref()])
}
