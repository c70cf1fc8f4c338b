//! Deciding on requests. Never by Enter, by the key that opened the screen, by the mouse or by a paste; nothing counts
//! for 400 ms after it opens and until held keys are quiet; and only for exactly the digest that is shown.

use sha2::{Digest as _, Sha256};

use super::super::keymap::{Code, Key};
use super::super::state::overlay::{Decide, Deciding};
use super::super::state::{Overlay, State, own_words};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Effect, Out, forms, kept};
use crate::model::action::{Finding, Request, RequestState, Tier};
use crate::model::course::Rung;
use crate::model::ids::RequestId;

/// Input is ignored this long after the screen opens.
pub const HOLD_MS: i64 = 400;
/// And until no key came for this long.
pub const QUIET_MS: i64 = 300;
/// Letters and digits that are hard to confuse and that are no command on this screen.
const ALPHABET: &[u8] = b"acefhmnptxz3479";

pub fn open(state: &mut State, execute: bool, out: &mut Out) {
    let Some(request) = state.request_in_hand().cloned() else { return };
    // From the screen of the request itself: that one is done with.
    if matches!(state.overlays.last(), Some(Overlay::Decide(_))) {
        state.overlays.pop();
    }
    show(state, request, execute, out);
}

pub fn show(state: &mut State, request: Request, execute: bool, out: &mut Out) {
    let mine = state.my_id().is_some_and(|me| *me == request.body.requester);
    let signed = state.my_id().is_some_and(|me| request.approvals.iter().any(|a| a.by == *me));
    let what = match request.state {
        RequestState::Approved if execute => Deciding::Execute,
        RequestState::Pending if !mine && !signed => Deciding::Approve,
        _ => Deciding::Look,
    };
    let code = code(&request.digest, state.now.as_nanosecond());
    state.overlays.push(Overlay::Decide(Box::new(Decide {
        what,
        request,
        opened: state.now,
        last_key: state.now,
        armed: false,
        code,
        typed: String::new(),
        typing: false,
        changed: None,
        scroll: 0,
        error: None,
        busy: false,
        standing: None,
        ladder: Vec::new(),
        over: None,
    })));
    out.push(Effect::Wait(HOLD_MS as u64 + 10));
    ask_standing(state, out);
}

/// Asks what the policy would say, and who will be told, while a request waits.
pub fn ask_standing(state: &State, out: &mut Out) {
    let top = state.overlays.iter().rev().find_map(|o| if let Overlay::Decide(d) = o { Some(d) } else { None });
    if let (Some(d), Some(by)) = (top, state.my_id())
        && d.request.state == RequestState::Pending
    {
        let judge = d.what == Deciding::Approve;
        out.push(Effect::Standing { by: by.clone(), request: Box::new(d.request.clone()), judge });
    }
}

pub fn standing(state: &mut State, id: &RequestId, result: Option<Result<Vec<Finding>, Said>>, ladder: &[Rung]) {
    for overlay in &mut state.overlays {
        if let Overlay::Decide(d) = overlay
            && d.request.body.id == *id
        {
            d.standing.clone_from(&result);
            d.ladder = ladder.to_vec();
        }
    }
}

/// The next signature of this request is one over its closed budget, for this reason.
pub fn set_aside(state: &mut State, id: &RequestId, reason: &str, out: &mut Out) {
    let now = state.now;
    out.push(Effect::Wait(HOLD_MS as u64 + 10));
    for overlay in &mut state.overlays {
        if let Overlay::Decide(d) = overlay
            && d.request.body.id == *id
        {
            d.over = Some(reason.to_owned());
            d.error = None;
            d.typed.clear();
            // The keys of the form must not count here.
            (d.opened, d.last_key, d.armed) = (now, now, false);
        }
    }
}

/// Three characters that nobody could have typed ahead.
fn code(digest: &str, salt: i128) -> String {
    let mut h = Sha256::new();
    h.update(digest.as_bytes());
    h.update(salt.to_be_bytes());
    h.finalize().iter().take(3).map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()])).collect()
}

impl Decide {
    /// What must be typed, for the tiers that ask for it.
    pub fn asked(&self) -> Option<&str> {
        match (self.what, self.request.body.tier) {
            (Deciding::Look, _) | (_, Tier::T0 | Tier::T1) => None,
            (_, Tier::T2) => Some(&self.code),
            (_, Tier::T3) => self.request.body.targets.first().map(String::as_str),
        }
    }
}

/// True: the key ends here.
pub fn key(state: &mut State, key: Key, out: &mut Out) -> bool {
    let now = state.now;
    let by = state.my_id().cloned();
    let write = !state.read_only && state.me.as_ref().is_some_and(|p| !p.read_only());
    let Some(Overlay::Decide(d)) = state.overlays.last_mut() else { return false };
    if key.code == Code::Esc {
        // Leaving is always safe. Out of the typed name first.
        if d.typing {
            d.typing = false;
            d.typed.clear();
            return true;
        }
        return false;
    }
    if !d.armed {
        let ms = |t: jiff::Timestamp| now.as_millisecond() - t.as_millisecond();
        let ready = ms(d.opened) >= HOLD_MS && ms(d.last_key) >= QUIET_MS;
        d.last_key = now;
        if !ready {
            out.push(Effect::Wait(QUIET_MS as u64 + 10));
            return true;
        }
        d.armed = true;
    }
    if d.busy || key.code == Code::Enter {
        return true;
    }
    let Some(by) = by.filter(|_| write && d.what != Deciding::Look && d.changed.is_none()) else { return false };
    let confirmed = match d.request.body.tier {
        Tier::T0 | Tier::T1 => key == Key::char('y'),
        Tier::T2 => match type_code(d, key) {
            Some(true) => true,
            Some(false) => return true,
            None => return false,
        },
        Tier::T3 if d.typing => type_name(d, key),
        Tier::T3 => return false,
    };
    if !confirmed {
        // What was typed so far stays on this screen; other keys keep their meaning.
        return d.typing;
    }
    d.busy = true;
    d.error = None;
    d.typed.clear();
    let id = d.request.body.id.clone();
    let digest = d.request.digest.clone();
    out.push(match d.what {
        Deciding::Execute => Effect::Execute { by, id },
        _ => match d.over.take() {
            Some(reason) => Effect::ApproveOverBudget { by, id, digest, reason: own_words(&reason) },
            None => Effect::Approve { by, id, digest },
        },
    });
    true
}

/// `None`: the key is no part of a code. True: the code is complete and right.
fn type_code(d: &mut Decide, key: Key) -> Option<bool> {
    if key.code == Code::Backspace {
        d.typed.pop();
        return Some(false);
    }
    let c = key.typed().map(|c| c.to_ascii_lowercase())?;
    if !ALPHABET.contains(&u8::try_from(c).unwrap_or(0)) {
        return None;
    }
    d.typed.push(c);
    if d.typed.len() < d.code.len() {
        return Some(false);
    }
    let right = d.typed == d.code;
    if !right {
        d.typed.clear();
        d.error = Some(say!("that was not the code; look again at what is shown, then type it"));
    }
    Some(right)
}

fn type_name(d: &mut Decide, key: Key) -> bool {
    if key.code == Code::Backspace {
        d.typed.pop();
    } else if let Some(c) = key.typed().filter(|c| c.is_ascii_graphic() && d.typed.len() < 256) {
        d.typed.push(c);
    }
    d.request.body.targets.first().is_some_and(|t| *t == d.typed)
}

/// New requests: the list, and the one that is being decided.
pub fn loaded(state: &mut State, result: Result<Vec<Request>, Said>) {
    let rows = match result {
        Ok(rows) => rows,
        Err(e) => {
            let now = state.now;
            state.requests.load.breaks(e, now);
            return;
        }
    };
    let me = state.my_id();
    let rows: Vec<Request> = rows.into_iter().filter(|r| kept::seen_by(me, r)).collect();
    for overlay in &mut state.overlays {
        if let Overlay::Decide(d) = overlay
            && let Some(new) = rows.iter().find(|r| r.body.id == d.request.body.id)
        {
            take_new(d, new);
        }
    }
    let now = state.now;
    state.requests.put(rows, now, |r| r.body.id.clone());
}

fn take_new(d: &mut Decide, new: &Request) {
    // The list may have been read before the answer that is shown came.
    if new.rev < d.request.rev || (new.rev == d.request.rev && new.digest == d.request.digest) {
        return;
    }
    if new.digest != d.request.digest || new.body != d.request.body {
        d.changed = Some(Box::new(new.clone()));
        d.typed.clear();
        d.typing = false;
        return;
    }
    // The same bytes: only who signed it, or how far it is.
    let moved = new.state != d.request.state;
    d.request = new.clone();
    if moved && d.what != Deciding::Look && !d.busy {
        d.what = Deciding::Look;
        d.error = Some(say!("it is ", new.state.word(), " now"));
    }
}

/// Shows it as it is now, and starts over.
pub fn reread(state: &mut State, out: &mut Out) {
    let Some(Overlay::Decide(d)) = state.overlays.last() else { return };
    let Some(new) = d.changed.clone() else {
        state.tell(Role::Dim, say!("it has not changed"));
        return;
    };
    let execute = d.what == Deciding::Execute;
    state.overlays.pop();
    show(state, *new, execute, out);
}

pub fn withdraw(state: &mut State, out: &mut Out) {
    let by = state.my_id().cloned();
    if let (Some(r), Some(by)) = (state.request_in_hand(), by) {
        out.push(Effect::Withdraw { by, id: r.body.id.clone() });
    }
}

/// Asks for a request that follows from this one: what failed once more, or what was done taken back.
pub fn follow(state: &mut State, undo: bool, out: &mut Out) {
    let by = state.my_id().cloned();
    if let (Some(r), Some(by)) = (state.request_in_hand(), by) {
        out.push(Effect::Follow { by, id: r.body.id.clone(), undo });
    }
}

pub fn proposed(state: &mut State, result: Result<Box<Request>, Said>, out: &mut Out) {
    let aborting = std::mem::take(&mut state.aborting);
    match result {
        Ok(request) => {
            // Nothing comes up over what somebody has turned to meanwhile.
            let awaited = match state.overlays.last() {
                Some(Overlay::Form(f)) => f.busy.is_some(),
                Some(_) => false,
                None => aborting,
            };
            forms::finish(state);
            let needed = request.body.approvals_needed;
            out.push(Effect::Requests);
            if awaited {
                // An abort that needs nobody else is confirmed here and runs.
                let run = aborting && request.state == RequestState::Approved;
                show(state, *request, run, out);
            }
            state.tell(
                Role::Good,
                if needed == 0 {
                    say!("proposed; it needs no approval and can be run from Approvals")
                } else {
                    say!("proposed; it needs ", needed, " approval(s) by somebody else")
                },
            );
        }
        Err(e) => forms::fail(state, e),
    }
}

/// An answer to approve, deny, withdraw or execute.
pub fn decided(state: &mut State, what: &'static str, result: Result<Box<Request>, Said>, out: &mut Out) {
    out.push(Effect::Requests);
    match result {
        Ok(request) => {
            if matches!(what, "denied" | "asked" | "answered" | "glass broken") {
                forms::finish(state);
            }
            let left = usize::from(request.body.approvals_needed).saturating_sub(request.approvals.len());
            let said = match request.state {
                RequestState::Pending if left > 0 && what == "approved" => {
                    say!(what, "; ", left, " more approval(s) needed")
                }
                RequestState::Pending if what == "submitted" => say!("submitted; it needs ", left, " approval(s)"),
                RequestState::Approved if what == "submitted" => say!("submitted; it needs no approval and can be run"),
                RequestState::Failed => {
                    say!("it failed: ", Said::of(request.note.as_deref().unwrap_or("see the receipts")))
                }
                _ if matches!(what, "asked" | "answered") => say!(what, "; the clock goes on"),
                RequestState::Approved if what == "glass broken" => {
                    say!("the glass is broken: everybody is told; it can be run now")
                }
                s if s.word() == what => say!(what),
                s => say!(what, "; it is ", s.word()),
            };
            let role = match request.state {
                RequestState::Failed | RequestState::Stale => Role::Bad,
                _ => Role::Good,
            };
            if let Some(Overlay::Decide(d)) = state.overlays.last_mut()
                && d.request.body.id == request.body.id
            {
                d.busy = false;
                d.what = Deciding::Look;
                d.error = None;
                // The list may have told of this very change before its answer came.
                d.changed = d.changed.take().filter(|c| c.rev > request.rev);
                d.request = *request;
                ask_standing(state, out);
            }
            state.tell(role, said);
        }
        Err(e) => {
            if let Some(Overlay::Decide(d)) = state.overlays.last_mut()
                && d.busy
            {
                d.busy = false;
                d.typed.clear();
                d.error = Some(e);
                return;
            }
            forms::fail(state, e);
        }
    }
}
