//! Agreements: a month of a service a line, with what was down, unknown, excluded and owed.

use super::super::state::doc::DocRow;
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Cells, Col, Page, col, percent, span, tri, tri_role};
use crate::model::sla::{ExclusionKind, SlaMonth};

pub const COLUMNS: &[Col] = &[
    col("SERVICE", 0, 0),
    col("MONTH", 7, 2),
    col("PROMISED", 9, 1),
    col("UPTIME", 9, 0),
    col("DOWN", 5, 0),
    col("UNKNOWN", 7, 0),
    col("EXCLUDED", 8, 3),
    col("CREDIT", 6, 0),
    col("MET", 8, 0),
];

pub fn line(m: &SlaMonth) -> Cells {
    vec![
        (Said::of(&m.service), Role::Text),
        (Said::of(&m.month), Role::Dim),
        (percent(Some(m.target), 4), Role::Dim),
        (percent(m.uptime, 4), tri_role(m.met)),
        (span(m.down_seconds), Role::Text),
        (span(m.unknown_seconds), if m.unknown_seconds > 0.0 { Role::Warn } else { Role::Text }),
        (span(m.excluded_seconds), Role::Text),
        (say!(m.credit_percent, " %"), if m.credit_percent > 0 { Role::Bad } else { Role::Text }),
        tri(m.met),
    ]
}

pub fn detail(m: &SlaMonth, width: usize) -> Vec<DocRow> {
    let mut p = Page::new(width);
    p.row(vec![tri(m.met), (say!("   promised ", percent(Some(m.target), 4)), Role::Dim)]);
    p.pair("uptime", &say!(percent(m.uptime, 4), " of what was probed"), tri_role(m.met));
    p.pair("at worst", &say!(percent(m.uptime_at_worst, 4), " if all that is unknown was down"), Role::Text);
    p.pair("up", &span(m.up_seconds), Role::Text);
    p.pair("down", &span(m.down_seconds), Role::Text);
    p.pair("unknown", &say!(span(m.unknown_seconds), " without a probe"), Role::Text);
    p.pair("excluded", &span(m.excluded_seconds), Role::Text);
    p.pair("credit", &say!(m.credit_percent, " % of the fee"), Role::Text);
    p.pair("from", &say!(Said::minute(m.from), " to ", Said::minute(m.until)), Role::Dim);
    p.heading(say!("OUTAGES"));
    if m.outages.is_empty() {
        p.text(2, &say!("none"), Role::Dim);
    }
    for o in &m.outages {
        let long = span((o.until.as_second() - o.from.as_second()) as f64);
        let (word, role) = if o.known { ("down", Role::Bad) } else { ("unknown", Role::Warn) };
        p.row(vec![
            (say!("  ", Said::minute(o.from), "  ", long.padded(5)), Role::Text),
            (say!(word).padded(9), role),
            (say!(o.detail), Role::Dim),
        ]);
    }
    p.heading(say!("EXCLUSIONS"));
    if m.exclusions.is_empty() {
        p.text(2, &say!("none"), Role::Dim);
    }
    for (x, counts, why) in &m.exclusions {
        let kind = match x.kind {
            ExclusionKind::Maintenance => "maintenance",
            ExclusionKind::ForceMajeure => "force majeure",
            ExclusionKind::Customer => "customer",
        };
        let (word, role) = if *counts { ("counts", Role::Good) } else { ("does not count", Role::Warn) };
        p.row(vec![
            (say!("  ", Said::minute(x.from), " to ", Said::minute(x.until), "  ", kind, "  "), Role::Text),
            (say!(word), role),
        ]);
        let approved = x.approved_by.as_ref().map_or_else(|| say!("nobody yet"), |who| say!(who.clone()));
        let who = say!("asked by ", x.asked_by, ", approved by ", approved, "; announced ", Said::minute(x.announced));
        p.text(4, &who, Role::Dim);
        p.text(4, &say!(x.reason), Role::Text);
        if !why.is_empty() {
            p.text(4, &Said::of(why), Role::Dim);
        }
    }
    p.rows
}
