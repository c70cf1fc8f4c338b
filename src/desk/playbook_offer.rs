//! Which playbooks a person can start for an alert or a case: those that fit first, with why.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Desk;
use super::DeskError;
use super::Result;
use super::playbook_fill;
use super::playbook_fill::Filled;
use super::playbook_fill::Known;
use super::playbook_runs::marked;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::ids::PersonId;
use crate::model::playbook::Playbook;
use crate::model::playbook::Signature;
use crate::model::playbook::Suggested;
use crate::model::playbook::Variable;
use crate::model::query::Page;
use crate::model::query::SortKey;
use crate::text::Untrusted;

/// Alerts of a case that are looked at.
pub(super) const LOOKED_AT: usize = 20;
/// Reasons told of each.
const REASONS: usize = 4;

/// A playbook that can be started.
#[derive(Clone, Debug, PartialEq)]
pub struct Offered {
    /// Its short name.
    pub key: String,
    pub title: Untrusted,
    pub description: Untrusted,
    /// Why it fits; empty: nothing says that it does.
    pub why: Vec<Untrusted>,
    /// What whoever starts it is asked for: what it cannot begin without, then what is known already and may be changed.
    pub asks: Vec<Asked>,
}

/// A variable somebody is asked for when a playbook starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub name: String,
    pub variable: Variable,
    pub required: bool,
    /// Deadlines count from it.
    pub time: bool,
    pub filled: Option<Filled>,
}

/// Names of a restricted playbook are nobody's business: what its variables are called in a record is chance.
fn asks(book: &Playbook, known: &[Known]) -> Vec<Asked> {
    let fill = |name: &str, v: &Variable| {
        if book.restricted.is_empty() { playbook_fill::for_variable(known, name, v) } else { None }
    };
    let open = book.variables.iter().filter(|(_, v)| !v.constant && v.value.as_ref().is_none_or(Untrusted::is_empty));
    let mut out: Vec<Asked> = open
        .map(|(name, v)| Asked {
            name: name.clone(),
            variable: v.clone(),
            required: v.external,
            time: book.clocks.contains_key(name),
            filled: fill(name, v),
        })
        .filter(|a| a.required || a.filled.is_some())
        .collect();
    out.sort_by_key(|a| !a.required);
    out
}

impl Desk {
    /// Every playbook that is not revoked, those that fit the alert or the case's alerts first.
    pub fn offer_playbooks(&self, alert: Option<AlertId>, case: Option<CaseId>) -> Result<Vec<Offered>> {
        let alerts = match (alert, case) {
            (Some(one), _) => vec![one],
            (None, Some(case)) => self.alerts_of(case)?,
            (None, None) => Vec::new(),
        };
        let fits: BTreeMap<String, Suggested> =
            self.fitting(alerts)?.into_iter().map(|s| (s.playbook.clone(), s)).collect();
        let library = self.playbooks();
        let known = self.known_of(alert, case)?;
        let mut out: Vec<(u32, Offered)> = Vec::new();
        let (vouch, now) = (self.vouch(), Timestamp::now());
        for item in library.items().iter().filter(|i| !i.book.revoked) {
            let book = &item.book;
            let fit = fits.get(&book.key);
            let asks = asks(book, &known);
            let signature = vouch.of_item(item, now);
            let mut title = book.title.clone();
            if book.generated.is_some() {
                title = marked(&title);
            }
            if let Signature::Bad { .. } = signature {
                title = Untrusted::new(format!("BAD SIGNATURE: {}", title.expose()));
            }
            let mut description = book.description.clone();
            if signature != Signature::Unsigned {
                description = Untrusted::new(format!("{}. {}", signature.words(), description.expose()));
            }
            let why = fit.map(|s| s.why.clone()).unwrap_or_default();
            let offered = Offered { key: book.key.clone(), title, description, why, asks };
            out.push((fit.map_or(0, |s| s.score), offered));
        }
        // Of equal score in the order of the library.
        out.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        Ok(out.into_iter().map(|(_, o)| o).collect())
    }

    /// What fits any of these alerts, with the reasons of all, the best first.
    pub(super) fn fitting(&self, alerts: impl IntoIterator<Item = AlertId>) -> Result<Vec<Suggested>> {
        let mut fits: Vec<Suggested> = Vec::new();
        for id in alerts {
            for s in self.suggest_playbooks(id)? {
                let Some(known) = fits.iter_mut().find(|f| f.playbook == s.playbook) else {
                    fits.push(Suggested { why: s.why.into_iter().take(REASONS).collect(), ..s });
                    continue;
                };
                known.score = known.score.max(s.score);
                for why in s.why {
                    if known.why.len() < REASONS && !known.why.contains(&why) {
                        known.why.push(why);
                    }
                }
            }
        }
        fits.sort_by_key(|s| std::cmp::Reverse(s.score));
        Ok(fits)
    }

    pub(super) fn alerts_of(&self, case: CaseId) -> Result<Vec<AlertId>> {
        let nobody = PersonId::new("-").ok_or_else(|| DeskError::No("nobody".into()))?;
        let query = self.parse_query(&format!("case:{case}"), &nobody).map_err(|e| DeskError::No(e.to_string()))?;
        Ok(self.rows(&query, SortKey::Risk, Page::First, LOOKED_AT)?.into_iter().map(|r| r.id).collect())
    }
}
