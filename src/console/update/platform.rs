//! The platform's panes: moving in them, opening a line, scrolling its detail.

use std::sync::Arc;

use super::super::health;
use super::super::layout;
use super::super::state::State;
use crate::desk::Platform;

/// A new reading: each cursor stays on what it was on, or else at its place.
pub fn taken(state: &mut State, reading: Arc<Platform>) {
    let tabs: Vec<_> = super::Tab::ALL.into_iter().filter(|t| t.is_platform()).collect();
    for tab in tabs {
        let at = health::index(state, tab).unwrap_or(0);
        let ids = health::ids(&reading, tab);
        let spot = state.spots.entry(tab).or_default();
        let stays = spot.cursor.as_ref().is_some_and(|c| ids.contains(c));
        if !stays {
            spot.cursor = ids.get(at.min(ids.len().saturating_sub(1))).cloned();
            spot.scroll = 0;
        }
    }
    state.platform = reading;
}

/// Up and down: in the list, or in the detail that fills the pane.
pub fn step(state: &mut State, by: isize) {
    if state.full {
        shift(state, by);
    } else {
        walk(state, by);
    }
}

/// To another line of the list; its detail begins at its top.
pub fn walk(state: &mut State, by: isize) {
    let tab = state.tab;
    let ids = health::ids(&state.platform, tab);
    let at = health::index(state, tab).unwrap_or(0) as isize;
    let to = at.saturating_add(by).min(ids.len() as isize - 1).max(0) as usize;
    let spot = state.spots.entry(tab).or_default();
    let cursor = ids.get(to).cloned();
    if spot.cursor != cursor {
        spot.cursor = cursor;
        spot.scroll = 0;
    }
}

/// Enter: the detail fills the pane, or gives it back.
pub fn open(state: &mut State) {
    if health::index(state, state.tab).is_some() {
        state.full = !state.full;
    }
}

/// Half a page of the detail.
pub fn scroll(state: &mut State, way: isize) {
    let half = (layout::platform_detail(state).1 as isize / 2).max(1);
    shift(state, way * half);
}

fn shift(state: &mut State, by: isize) {
    let spot = state.spots.entry(state.tab).or_default();
    spot.scroll = (spot.scroll as isize).saturating_add(by).max(0) as usize;
}

/// The detail is not scrolled past its end, and nothing is open that is gone.
pub fn keep_within(state: &mut State) {
    if !state.tab.is_platform() {
        return;
    }
    let tab = state.tab;
    if health::index(state, tab).is_none() {
        state.full = false;
    }
    if state.spots.get(&tab).is_none_or(|s| s.scroll == 0) {
        return;
    }
    let (width, rows) = layout::platform_detail(state);
    let lines = health::detail(state, tab, width).len();
    if let Some(spot) = state.spots.get_mut(&tab) {
        spot.scroll = spot.scroll.min(lines.saturating_sub(rows));
    }
}
