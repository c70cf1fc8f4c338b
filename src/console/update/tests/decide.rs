//! Deciding on requests, and keys.

use super::*;

fn deciding(s: &State) -> &super::super::super::state::Decide {
    match s.overlays.last() {
        Some(Overlay::Decide(d)) => d,
        other => panic!("{other:?}"),
    }
}

fn at(s: &State, ms: i64) -> Timestamp {
    s.now.checked_add(SignedDuration::from_millis(ms)).unwrap()
}

/// Opens the request of this tier and waits until keys count.
fn open(tier: Tier, state: RequestState) -> State {
    let mut s = ready();
    update(&mut s, now(), Msg::Requests(Ok(vec![request("R1", tier, state)])));
    press(&mut s, "3");
    s.requests.cursor = RequestId::new("R1");
    press(&mut s, "enter");
    s
}

fn approvals(effects: &[Effect]) -> usize {
    effects.iter().filter(|e| matches!(e, Effect::Approve { .. } | Effect::Execute { .. })).count()
}

#[test]
fn nothing_counts_for_400_ms_and_until_keys_are_quiet() {
    let mut s = open(Tier::T1, RequestState::Pending);
    // Held down: a press every 50 ms for two seconds approves nothing.
    for _ in 0..40 {
        let t = at(&s, 50);
        assert_eq!(approvals(&update(&mut s, t, Msg::Key(Key::char('y')))), 0);
    }
    // Quiet, then one press.
    let t = at(&s, 350);
    assert_eq!(approvals(&update(&mut s, t, Msg::Key(Key::char('y')))), 1);
    // Sent: a second press sends nothing more.
    let t = at(&s, 1000);
    assert_eq!(approvals(&update(&mut s, t, Msg::Key(Key::char('y')))), 0);
}

#[test]
fn enter_mouse_and_paste_decide_nothing() {
    let mut s = open(Tier::T1, RequestState::Pending);
    let mut effects = press(&mut s, "enter enter enter");
    effects.extend(update(&mut s, now(), Msg::Paste("y".into())));
    effects.extend(update(&mut s, now(), Msg::Click { x: 2, y: 21 }));
    effects.extend(update(&mut s, now(), Msg::Wheel { up: false }));
    assert_eq!(approvals(&effects), 0);
    assert!(matches!(s.overlays.last(), Some(Overlay::Decide(_))));
}

#[test]
fn t2_wants_its_code_and_y_is_not_enough() {
    let mut s = open(Tier::T2, RequestState::Pending);
    assert_eq!(deciding(&s).what, Deciding::Approve);
    assert_eq!(approvals(&press(&mut s, "y y")), 0);
    let code = deciding(&s).code.clone();
    assert_eq!(code.len(), 3);
    let wrong: String = code.chars().rev().chain("a".chars()).take(3).collect();
    if wrong != code {
        assert_eq!(approvals(&type_text(&mut s, &wrong)), 0);
        assert!(deciding(&s).error.is_some());
    }
    let effects = type_text(&mut s, &code);
    assert!(
        effects.iter().any(|e| matches!(e, Effect::Approve { digest, .. } if digest.starts_with("9c1e"))),
        "{effects:?}"
    );
}

#[test]
fn codes_differ_from_opening_to_opening() {
    let mut s = open(Tier::T2, RequestState::Pending);
    let first = deciding(&s).code.clone();
    let mut differs = false;
    for _ in 0..5 {
        press(&mut s, "esc enter");
        differs |= deciding(&s).code != first;
    }
    assert!(differs);
}

#[test]
fn t3_wants_the_name_of_the_target() {
    let mut s = open(Tier::T3, RequestState::Pending);
    assert_eq!(approvals(&type_text(&mut s, "fin-ws-014")), 0, "not before typing was begun");
    let mut s = open(Tier::T3, RequestState::Pending);
    press(&mut s, "i");
    assert!(deciding(&s).typing);
    assert_eq!(approvals(&type_text(&mut s, "fin-ws-01")), 0);
    assert_eq!(approvals(&type_text(&mut s, "4")), 1);
}

#[test]
fn a_changed_request_must_be_read_again() {
    let mut s = open(Tier::T1, RequestState::Pending);
    let mut changed = request("R1", Tier::T1, RequestState::Pending);
    changed.body.targets.push("dc-01".into());
    changed.digest = format!("ffff{}", "0".repeat(60));
    changed.rev = 2;
    let t = s.now;
    update(&mut s, t, Msg::Requests(Ok(vec![changed])));
    assert!(deciding(&s).changed.is_some());
    assert_eq!(approvals(&press(&mut s, "y y y")), 0);
    press(&mut s, "o");
    assert!(deciding(&s).changed.is_none() && !deciding(&s).armed);
    assert_eq!(deciding(&s).request.body.targets.len(), 3);
    let effects = press(&mut s, "y");
    assert!(effects.iter().any(|e| matches!(e, Effect::Approve { digest, .. } if digest.starts_with("ffff"))));
}

#[test]
fn a_list_read_before_what_is_shown_changes_nothing() {
    let mut s = open(Tier::T1, RequestState::Pending);
    let old = deciding(&s).request.clone();
    let mut new = old.clone();
    new.body.targets.push("dc-01".into());
    new.digest = format!("ffff{}", "0".repeat(60));
    new.rev = old.rev + 1;
    let t = s.now;
    update(&mut s, t, Msg::Requests(Ok(vec![new.clone()])));
    press(&mut s, "o");
    update(&mut s, t, Msg::Requests(Ok(vec![old])));
    assert!(deciding(&s).changed.is_none() && deciding(&s).request == new);
}

#[test]
fn a_list_that_tells_of_ones_own_act_before_its_answer_is_no_change() {
    let mut s = open(Tier::T1, RequestState::Pending);
    let mut new = deciding(&s).request.clone();
    (new.digest, new.rev) = (format!("ffff{}", "0".repeat(60)), new.rev + 1);
    let t = s.now;
    update(&mut s, t, Msg::Requests(Ok(vec![new.clone()])));
    update(&mut s, t, Msg::Decided { what: "submitted", result: Ok(Box::new(new.clone())) });
    assert!(deciding(&s).changed.is_none() && deciding(&s).request == new);
    // One that came after the answer still is.
    let later = Request { rev: new.rev + 1, digest: format!("eeee{}", "0".repeat(60)), ..new.clone() };
    update(&mut s, t, Msg::Requests(Ok(vec![later])));
    update(&mut s, t, Msg::Decided { what: "submitted", result: Ok(Box::new(new)) });
    assert!(deciding(&s).changed.is_some());
}

#[test]
fn ones_own_request_cannot_be_approved() {
    let mut s = ready();
    let mut mine = request("R1", Tier::T1, RequestState::Pending);
    mine.body.requester = PersonId::new("alice").unwrap();
    update(&mut s, now(), Msg::Requests(Ok(vec![mine])));
    press(&mut s, "3 enter");
    assert_eq!(deciding(&s).what, Deciding::Look);
    assert_eq!(approvals(&press(&mut s, "y y")), 0);
    let effects = press(&mut s, "w");
    assert!(effects.iter().any(|e| matches!(e, Effect::Withdraw { .. })));
}

#[test]
fn running_asks_like_approving_and_stops_at_the_kill_switch() {
    let mut s = ready();
    update(&mut s, now(), Msg::Requests(Ok(vec![request("R1", Tier::T1, RequestState::Approved)])));
    press(&mut s, "3 x");
    assert_eq!(deciding(&s).what, Deciding::Execute);
    assert_eq!(approvals(&press(&mut s, "y")), 1);
    press(&mut s, "esc");
    let kill = Some((PersonId::new("bob").unwrap(), now()));
    let facts = Facts { kill, ..s.facts.clone() };
    update(&mut s, now(), Msg::Facts(facts));
    assert!(notice(&s).contains("KILL SWITCH"));
    press(&mut s, "x");
    assert!(s.overlays.is_empty() && notice(&s).contains("kill switch"));
}

#[test]
fn the_kill_switch_wants_its_word() {
    let mut s = ready();
    let mut out = Vec::new();
    super::super::keys::run(&mut s, Do::KillSwitch, &mut out);
    type_text(&mut s, "stopp");
    assert!(!press(&mut s, "enter").iter().any(|e| matches!(e, Effect::KillSwitch { .. })));
    press(&mut s, "backspace");
    assert!(press(&mut s, "enter").iter().any(|e| matches!(e, Effect::KillSwitch { on: true, .. })));
}

#[test]
fn denying_wants_a_reason() {
    let mut s = open(Tier::T2, RequestState::Pending);
    press(&mut s, "d");
    assert!(press(&mut s, "enter").is_empty());
    type_text(&mut s, "wrong host");
    assert!(press(&mut s, "enter").iter().any(|e| matches!(e, Effect::Deny { .. })));
}

#[test]
fn arriving_approvals_never_take_the_focus() {
    let mut s = ready();
    press(&mut s, "n");
    update(&mut s, now(), Msg::Requests(Ok(vec![request("R7", Tier::T1, RequestState::Pending)])));
    assert!(matches!(s.overlays.as_slice(), [Overlay::Form(_)]));
    assert_eq!(s.waiting_requests(), 1);
}

#[test]
fn chords_wait_and_escape_ends_them() {
    let mut s = ready();
    s.look.keymap = Arc::new(Keymap::load("vim", &[]).unwrap());
    press(&mut s, "g");
    assert_eq!(s.chord.len(), 1);
    press(&mut s, "esc");
    assert!(s.chord.is_empty());
    press(&mut s, "j g g");
    assert!(s.queue.follow);
    assert!(update(&mut s, now(), Msg::Key(Key::plain(Code::F(9)))).is_empty());
    assert!(notice(&s).contains("does nothing here"));
}

#[test]
fn said_is_what_a_hostile_reason_becomes() {
    let r = request("R1", Tier::T1, RequestState::Pending);
    let said = Said::from_untrusted(&r.body.reason);
    assert!(!said.as_str().chars().any(|c| c.is_control() || c == '\u{202e}'));
}

#[test]
fn asking_back_is_a_question_or_an_answer_and_wants_words() {
    for (me, thread, answer) in [("alice", false, Some(false)), ("bob", false, None), ("bob", true, Some(true))] {
        let mut s = open(Tier::T2, RequestState::Pending);
        s.me = Some(person(me, me, Role::Lead));
        if thread {
            let Some(Overlay::Decide(d)) = s.overlays.last_mut() else { panic!() };
            d.request.course.thread.push(crate::model::course::Message {
                by: PersonId::new("carol").unwrap(),
                at: now(),
                kind: crate::model::course::MessageKind::Question,
                text: "why?".into(),
            });
        }
        press(&mut s, "r");
        let asked = matches!(s.overlays.last(), Some(Overlay::Form(_)));
        assert_eq!(asked, answer.is_some(), "{me} {thread}: whoever asked for it is asked first");
        let Some(answer) = answer else { continue };
        type_text(&mut s, "the backup is there");
        let sent = press(&mut s, "ctrl-s");
        let said = sent.iter().any(|e| matches!(e, Effect::Talk { answer: a, .. } if *a == answer));
        assert!(said, "{me}: {sent:?}");
    }
}

#[test]
fn breaking_the_glass_wants_a_reason_and_its_word_and_is_for_the_digest_shown() {
    let mut s = open(Tier::T2, RequestState::Pending);
    s.me = Some(person("carol", "Carol", Role::Commander));
    press(&mut s, "B");
    type_text(&mut s, "it burns");
    press(&mut s, "tab");
    type_text(&mut s, "alon");
    assert!(!press(&mut s, "enter").iter().any(|e| matches!(e, Effect::BreakGlass { .. })));
    type_text(&mut s, "e");
    let sent = press(&mut s, "enter");
    let right = |e: &Effect| matches!(e, Effect::BreakGlass { digest, .. } if digest.starts_with("9c1e"));
    assert!(sent.iter().any(right), "{sent:?}");
    // An analyst is told before anything is typed, and nothing is left to break once it is approved.
    for (role, state) in [(Role::Analyst, RequestState::Pending), (Role::Commander, RequestState::Approved)] {
        let mut s = open(Tier::T2, state);
        s.me = Some(person("carol", "Carol", role));
        press(&mut s, "B");
        assert!(!matches!(s.overlays.last(), Some(Overlay::Form(_))), "{role:?} {state:?}");
    }
}
