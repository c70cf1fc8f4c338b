//! Requests kept as drafts: from the form, edited, submitted, dropped; whose they are.

use super::*;
use crate::model::action::Draft;

const MINE: &str = "R1";

/// A request of Alice's (or somebody else's) in this state; a draft has no digest, dry run or approval.
fn of(id: &str, by: &str, state: RequestState) -> Request {
    let mut r = request(id, Tier::T2, state);
    r.body.requester = PersonId::new(by).unwrap();
    r.body.reason = "spread to 3 subnets".into();
    if state == RequestState::Draft {
        (r.digest, r.approvals, r.preview, r.findings) = (String::new(), vec![], vec![], vec![]);
        r.body.commands.clear();
        r.body.approve_by = now().checked_add(SignedDuration::from_hours(6 * 24)).unwrap();
    }
    r
}

/// Before the approvals, with the cursor on the first of them.
fn before(requests: Vec<Request>) -> State {
    let mut s = ready();
    update(&mut s, now(), Msg::Requests(Ok(requests)));
    press(&mut s, "3");
    s.requests.cursor = s.requests.rows.first().map(|r| r.body.id.clone());
    s
}

fn kept_drafts(effects: &[Effect]) -> Vec<Draft> {
    let of = |e: &Effect| match e {
        Effect::KeepDraft { draft, then, .. } => Some([std::slice::from_ref(draft), then.as_slice()].concat()),
        _ => None,
    };
    effects.iter().find_map(of).unwrap_or_default()
}

fn quiet(s: &mut State) {
    let t = s.now.checked_add(SignedDuration::from_secs(1)).unwrap();
    update(s, t, Msg::Tick);
}

#[test]
fn a_proposal_is_kept_without_its_reason_and_not_without_its_target() {
    let mut s = ready();
    press(&mut s, "p enter");
    assert!(matches!(s.overlays.last(), Some(Overlay::Form(_))), "{:?}", s.overlays);
    let drafts = kept_drafts(&press(&mut s, "ctrl-o"));
    assert_eq!(drafts.len(), 1, "{drafts:?}");
    assert_eq!((drafts[0].reason.expose(), drafts[0].targets.len()), ("", 1));
    // Nothing is sent twice, and what the desk refuses leaves the form as it is.
    assert!(kept_drafts(&press(&mut s, "ctrl-o")).is_empty());
    update(&mut s, now(), Msg::Kept { run: None, result: Err(say!("the disk is full")) });
    let Some(Overlay::Form(f)) = s.overlays.last_mut() else { panic!("the form is gone") };
    assert!(f.error.as_ref().is_some_and(|e| e.as_str().contains("the disk is full")) && f.busy.is_none());
    f.focus = 0;
    press(&mut s, "ctrl-u");
    assert!(press(&mut s, "ctrl-o").is_empty(), "no target, nothing to keep");
    type_text(&mut s, "web1");
    assert_eq!(kept_drafts(&press(&mut s, "ctrl-o"))[0].targets, ["web1"]);
    let result = Ok(Box::new(of(MINE, "alice", RequestState::Draft)));
    let out = update(&mut s, now(), Msg::Kept { run: None, result });
    assert!(s.overlays.is_empty() && out.contains(&Effect::Requests));
    let told = s.notice.as_ref().unwrap().text.as_str().to_owned();
    assert!(told.contains("kept as a draft") && told.contains("s submits it"), "{told}");
}

#[test]
fn a_target_is_known_before_the_alert_is_loaded() {
    let mut s = ready();
    s.detail.shown = None;
    press(&mut s, "p enter");
    assert!(matches!(s.overlays.last(), Some(Overlay::Form(f)) if f.text_of("targets") == "fin-ws-014"));
}

#[test]
fn only_a_proposal_can_be_kept() {
    let mut s = ready();
    press(&mut s, "x");
    assert!(press(&mut s, "ctrl-o").is_empty());
    assert!(matches!(s.overlays.last(), Some(Overlay::Form(f)) if f.busy.is_none()));
}

#[test]
fn a_draft_of_somebody_else_is_not_in_the_inbox() {
    let all = || {
        vec![
            of(MINE, "alice", RequestState::Draft),
            of("R2", "bob", RequestState::Draft),
            of("R3", "bob", RequestState::Pending),
        ]
    };
    let mut s = before(all());
    let ids = |s: &State| s.requests.rows.iter().map(|r| r.body.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&s), ["R1", "R3"]);
    // Nor is one that ended before anybody was asked.
    let mut gone = of("R4", "bob", RequestState::Draft);
    gone.state = RequestState::Expired;
    update(&mut s, now(), Msg::Requests(Ok([all(), vec![gone.clone()]].concat())));
    assert_eq!(ids(&s), ["R1", "R3"]);
    gone.body.requester = PersonId::new("alice").unwrap();
    update(&mut s, now(), Msg::Requests(Ok(vec![gone])));
    assert_eq!(ids(&s), ["R4"]);
    // Whoever sits down instead sees theirs.
    let mut s = before(all());
    s.switchable = vec![person("bob", "Bob", Role::Lead)];
    let out = press(&mut s, "@ enter");
    assert!(out.contains(&Effect::Requests), "{out:?}");
    assert_eq!(ids(&s), ["R3"], "Alice's is gone at once");
    update(&mut s, now(), Msg::Requests(Ok(all())));
    assert_eq!(ids(&s), ["R2", "R3"]);
}

#[test]
fn a_draft_is_edited_in_the_form_it_was_made_with() {
    let mut draft = of(MINE, "alice", RequestState::Draft);
    draft.body.suggested_by = Suggested::Model;
    draft.body.case = Some(CaseId(118));
    let mut s = before(vec![draft.clone()]);
    press(&mut s, "enter");
    quiet(&mut s);
    press(&mut s, "e");
    let Some(Overlay::Form(f)) = s.overlays.last() else { panic!("{:?}", s.overlays) };
    assert_eq!(
        (f.text_of("targets").as_str(), f.text_of("reason").as_str()),
        ("fin-ws-014 fin-ws-022", "spread to 3 subnets")
    );
    assert!(f.lead[0].0.as_str().contains("nobody is asked"), "{:?}", f.lead);
    assert!(f.lead[1].0.as_str().contains("left out: zone"), "the catalogue has no such parameter: {:?}", f.lead);
    type_text(&mut s, " more");
    for keys in ["ctrl-o", "ctrl-s"] {
        let out = press(&mut s, keys);
        let Some(Effect::EditRequest { by, id, draft: new }) = out.first() else { panic!("{keys}: {out:?}") };
        assert_eq!((by.as_str(), id.as_str()), ("alice", MINE));
        // Where it came from is not forgotten by editing it.
        assert_eq!(
            (new.suggested_by, new.case, new.alerts.as_slice()),
            (Suggested::Model, Some(CaseId(118)), &[AlertId(1)][..])
        );
        update(&mut s, now(), Msg::Kept { run: None, result: Err(say!("no")) });
    }
    press(&mut s, "ctrl-s");
    let mut new = draft;
    (new.body.reason, new.rev) = ("spread to 3 subnets more".into(), 2);
    update(&mut s, now(), Msg::Kept { run: None, result: Ok(Box::new(new.clone())) });
    let Some(Overlay::Decide(d)) = s.overlays.last() else { panic!("{:?}", s.overlays) };
    assert!(d.request == new && d.changed.is_none(), "it is shown as it is now");
    update(&mut s, now(), Msg::Requests(Ok(vec![new])));
    assert!(matches!(s.overlays.last(), Some(Overlay::Decide(d)) if d.changed.is_none()));
}

#[test]
fn editing_what_waits_says_that_it_is_taken_back() {
    for state in [RequestState::Pending, RequestState::Approved] {
        let old = of(MINE, "alice", state);
        let mut s = before(vec![old.clone()]);
        press(&mut s, "enter");
        quiet(&mut s);
        press(&mut s, "e");
        let Some(Overlay::Form(f)) = s.overlays.last() else { panic!("{:?}", s.overlays) };
        let lead = f.lead[0].0.as_str();
        assert!(lead.contains("TAKES IT BACK") && lead.contains(state.word()), "{lead}");
        assert_eq!(lead.contains("approval(s) are void"), !old.approvals.is_empty(), "{lead}");
        press(&mut s, "ctrl-s");
        let mut new = of("R9", "alice", RequestState::Draft);
        new.body.replaces = RequestId::new(MINE);
        update(&mut s, now(), Msg::Kept { run: None, result: Ok(Box::new(new)) });
        // The draft that takes its place is in hand, on screen and in the list.
        assert!(matches!(s.overlays.last(), Some(Overlay::Decide(d)) if d.request.body.id.as_str() == "R9"));
        assert_eq!(s.requests.cursor, RequestId::new("R9"));
    }
}

#[test]
fn what_is_not_ones_own_or_over_is_not_edited_or_submitted() {
    for (by, state) in [
        ("bob", RequestState::Pending),
        ("alice", RequestState::Done),
        ("alice", RequestState::Executing),
        ("alice", RequestState::Expired),
    ] {
        let mut s = before(vec![of(MINE, by, state)]);
        for keys in ["e", "s"] {
            let out = press(&mut s, keys);
            assert!(out.is_empty() && s.overlays.is_empty(), "{by} {state:?} {keys}: {out:?}");
            assert!(s.notice.is_some());
        }
    }
    // What waits is not submitted once more.
    let mut s = before(vec![of(MINE, "alice", RequestState::Pending)]);
    assert!(press(&mut s, "s").is_empty());
    // A line would lose the lines of a long text.
    let mut long = of(MINE, "alice", RequestState::Draft);
    long.body.reason = "one\ntwo".into();
    let mut s = before(vec![long]);
    press(&mut s, "e");
    assert!(s.notice.as_ref().is_some_and(|n| n.text.as_str().contains("watchfloor draft edit R1")), "{:?}", s.notice);
    // Nor does somebody who may only read.
    let mut s = before(vec![of(MINE, "alice", RequestState::Draft)]);
    s.read_only = true;
    assert!(press(&mut s, "e").is_empty() && press(&mut s, "s").is_empty() && press(&mut s, "w").is_empty());
}

#[test]
fn a_refused_submission_is_said_and_the_draft_stays() {
    for first in ["s", "enter s"] {
        let draft = of(MINE, "alice", RequestState::Draft);
        let mut s = before(vec![draft.clone()]);
        let mut out = Vec::new();
        for key in first.split(' ') {
            out = press(&mut s, key);
            quiet(&mut s);
            if out.is_empty() {
                // The first key on a fresh screen only wakes it.
                out = press(&mut s, key);
            }
        }
        let submit = Effect::SubmitRequest { by: PersonId::new("alice").unwrap(), id: draft.body.id.clone() };
        assert!(out.contains(&submit), "{first}: {out:?}");
        assert!(press(&mut s, "s").is_empty(), "{first}: once");
        let result = Err(say!("dc-01 is protected: by hand"));
        update(&mut s, now(), Msg::Decided { what: "submitted", result });
        let Some(Overlay::Decide(d)) = s.overlays.last() else { panic!("{:?}", s.overlays) };
        assert!(d.error.as_ref().is_some_and(|e| e.as_str().contains("protected")) && !d.busy);
        update(&mut s, now(), Msg::Requests(Ok(vec![draft.clone()])));
        assert!(matches!(s.overlays.last(), Some(Overlay::Decide(d)) if d.error.is_some() && d.request == draft));
        // The next time it goes through: it is shown with what was found, and waits for others.
        quiet(&mut s);
        assert!(press(&mut s, "s").contains(&submit), "{first}: again");
        let waits = of(MINE, "alice", RequestState::Pending);
        let out = update(&mut s, now(), Msg::Decided { what: "submitted", result: Ok(Box::new(waits)) });
        assert!(matches!(s.overlays.last(), Some(Overlay::Decide(d)) if d.request.state == RequestState::Pending));
        assert!(out.iter().any(|e| matches!(e, Effect::Standing { judge: false, .. })), "{out:?}");
        assert!(s.notice.as_ref().unwrap().text.as_str().contains("submitted; it needs 1 approval(s)"));
    }
}
