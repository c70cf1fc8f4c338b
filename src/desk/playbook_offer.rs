//! Which playbooks a person can start for an alert or a case: those that fit first, with why.

use std::collections::BTreeMap;

use super::Desk;
use super::DeskError;
use super::Result;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::ids::PersonId;
use crate::model::playbook::Suggested;
use crate::model::playbook::Variable;
use crate::model::query::Page;
use crate::model::query::SortKey;
use crate::text::Untrusted;

/// Alerts of a case that are looked at.
const LOOKED_AT: usize = 20;
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
    /// Variables whoever starts it gives a value, by name.
    pub asks: Vec<(String, Variable)>,
}

impl Desk {
    /// Every playbook that is not revoked, those that fit the alert or the case's alerts first.
    pub fn offer_playbooks(&self, alert: Option<AlertId>, case: Option<CaseId>) -> Result<Vec<Offered>> {
        let alerts = match (alert, case) {
            (Some(one), _) => vec![one],
            (None, Some(case)) => self.alerts_of(case)?,
            (None, None) => Vec::new(),
        };
        let mut fits: BTreeMap<String, Suggested> = BTreeMap::new();
        for id in alerts {
            for s in self.suggest_playbooks(id)? {
                let known = fits.entry(s.playbook.clone()).or_insert_with(|| s.clone());
                known.score = known.score.max(s.score);
                for why in s.why {
                    if known.why.len() < REASONS && !known.why.contains(&why) {
                        known.why.push(why);
                    }
                }
            }
        }
        let library = self.playbooks();
        let mut out: Vec<(u32, Offered)> = Vec::new();
        for book in library.books().filter(|b| !b.revoked) {
            let fit = fits.get(&book.key);
            let unset = |v: &&Variable| v.external && v.value.as_ref().is_none_or(Untrusted::is_empty);
            let asks = book.variables.iter().filter(|(_, v)| unset(v)).map(|(n, v)| (n.clone(), v.clone())).collect();
            let offered = Offered {
                key: book.key.clone(),
                title: book.title.clone(),
                description: book.description.clone(),
                why: fit.map(|s| s.why.clone()).unwrap_or_default(),
                asks,
            };
            out.push((fit.map_or(0, |s| s.score), offered));
        }
        // Of equal score in the order of the library.
        out.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        Ok(out.into_iter().map(|(_, o)| o).collect())
    }

    pub(super) fn alerts_of(&self, case: CaseId) -> Result<Vec<AlertId>> {
        let nobody = PersonId::new("-").ok_or_else(|| DeskError::No("nobody".into()))?;
        let query = self.parse_query(&format!("case:{case}"), &nobody).map_err(|e| DeskError::No(e.to_string()))?;
        Ok(self.rows(&query, SortKey::Risk, Page::First, LOOKED_AT)?.into_iter().map(|r| r.id).collect())
    }
}
