//! Playbooks that a model drafts.
//!
//! A model fills in a small schema of ours ([`answer`]); we make a CACAO document of it ([`expand`]), marked GENERATED.
//! Before anybody sees it, the linter and the safety checks ([`check`]) have read it. The checks trust nothing: they hold
//! the document to the few shapes we make ourselves, every text to a few kinds of prose, and every target to the case it
//! was drafted for. A draft with a finding of grade error is not approved until it was edited.
//!
//! ```text
//! answer -> Sketch -> expand -> Document, marked -> lint + check -> findings -> a person: approve, edit, reject
//! ```

pub mod answer;
pub mod check;
mod expand;
pub mod mark;
mod nearest;
mod scope;

use crate::model::playbook::Finding;

pub use answer::Sketch;
pub use expand::Origin;
pub use expand::expand;
pub use nearest::Beside;
pub use nearest::Change;
pub use nearest::Line;
pub use nearest::beside;
pub use nearest::diff;
pub use nearest::nearest;
pub use scope::Act;
pub use scope::Scope;
pub use scope::What;

/// Everything that is wrong with a draft, the worst first: what the linter says, then what the safety checks say.
/// `known`: whether there is another playbook of this id.
pub fn review(doc: &super::Document, scope: &Scope, known: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut out = super::lint::lint(doc, Some(known));
    out.extend(check::check(doc, scope));
    out.sort_by_key(|f| f.grade);
    out.dedup();
    out
}
