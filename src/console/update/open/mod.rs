//! Opens what stands over a pane: forms, lists to pick from, explanations.

mod alert;
mod console;
mod look;
mod propose;

use super::super::state::overlay::{Form, Pick, PickItem, Picker};
use super::super::state::{Overlay, State};
use super::super::words::{Said, say};
use crate::model::ids::AlertId;

pub use alert::*;
pub use console::*;
pub use look::*;
pub use propose::*;

pub(super) fn item(pick: Pick, label: Said, detail: Said) -> PickItem {
    PickItem { pick, label, detail, disabled: None }
}

pub(super) fn pick(state: &mut State, title: Said, items: Vec<PickItem>, alerts: Vec<AlertId>) {
    let mut p = Picker::new(title, items);
    p.alerts = alerts;
    state.overlays.push(Overlay::Picker(Box::new(p)));
}

pub(super) fn form(state: &mut State, mut form: Form, alerts: Vec<AlertId>) {
    form.alerts = alerts;
    state.overlays.push(Overlay::Form(Box::new(form)));
}

/// `alert 12` or `14 alerts`.
pub(super) fn which(ids: &[AlertId]) -> Said {
    match ids {
        [one] => say!("alert ", *one),
        many => say!(many.len(), " alerts"),
    }
}

// --- everywhere --------------------------------------------------------------------------------
