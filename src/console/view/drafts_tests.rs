//! A draft of the model on screen: asked for, read with its findings, approved, edited, rejected.

use super::super::state::overlay::FieldKind;
use super::super::state::playbook::For;
use super::super::state::{Overlay, State};
use super::super::update::tests::{HOSTILE, loaded, look, now, press, type_text};
use super::super::update::{Effect, Msg, update};
use super::super::words::say;
use super::tests::{each_of, text};
use crate::desk::playbook::library;
use crate::desk::playbook_draft::{DraftPage, Drafted};
use crate::model::alert::AlertFields;
use crate::model::ids::{AlertId, PersonId};
use crate::model::person::{Person, Role};
use crate::model::playbook_draft::{DraftState, PlaybookDraft};
use crate::playbook::draft;
use crate::playbook::short;

const LOOKS: [(&str, bool); 3] = [("dark", false), ("mono", true), ("deuteranopia", false)];
const ID: &str = "01JHQ3W5T0000000000000000C";

fn who(id: &str) -> PersonId {
    PersonId::new(id).unwrap()
}

/// A draft of three steps; a hostile one says what it should not.
fn page(hostile: bool) -> DraftPage {
    let text = if hostile { HOSTILE } else { "Read the alert and note when it began." };
    let answer = serde_json::json!({ "title": "Message that asks for a password", "summary": "Find out who got it.", "steps": [
        { "kind": "do", "name": "Read the message", "phase": "analyze", "text": text, "action": "none", "targets": [], "only_if": "always" },
        { "kind": "ask", "name": "Did anybody answer?", "phase": "analyze", "text": "Did anybody answer it?", "action": "none", "targets": [], "only_if": "always" },
        { "kind": "do", "name": "Look at the account", "phase": "analyze", "text": "Review the sign-ins of m.adler.", "action": "none", "targets": [], "only_if": "yes" },
    ]});
    let mut scope = draft::Scope::default();
    scope.add(&AlertFields { host: Some("fin-ws-014".into()), user: Some("m.adler".into()), ..AlertFields::default() });
    let sketch = draft::answer::read(&answer.to_string()).unwrap();
    let from =
        draft::Origin { key: "draft-1".into(), at: now(), model: "tiny-model-1".into(), prompt: "ab".repeat(32) };
    let doc = draft::expand(&sketch, &scope, &from).unwrap();
    let book = doc.view("draft-1");
    let library = library(None);
    let near = library.get("phishing").unwrap();
    let toml = short::to_toml(&doc).unwrap();
    DraftPage {
        findings: draft::review(&doc, &scope, &|_| true),
        diff: draft::diff(&short::to_toml(&near.document).unwrap(), &toml),
        beside: draft::beside(&near.book, &book),
        nearest: Some(("phishing".into(), near.book.title.clone())),
        toml: toml.into(),
        draft: PlaybookDraft {
            id: ID.into(),
            key: "draft-1".into(),
            title: book.title.clone(),
            alert: Some(AlertId(1)),
            case: None,
            asked_by: who("alice"),
            at: now(),
            state: DraftState::Open,
            hash: doc.hash().to_owned(),
            backend: "openai".into(),
            model: "tiny-model-1".into(),
            model_digest: None,
            prompt: "ab".repeat(32),
            request_id: "r".into(),
            edits: vec![],
            decided: None,
            document: doc.into_json(),
        },
        book,
        second_person: true,
    }
}

fn drafted(s: &mut State, hostile: bool) {
    let out = press(s, "B");
    assert_eq!(out, [Effect::Draft { by: who("alice"), of: For::Alert(AlertId(1)) }]);
    let result = Ok(Box::new(Drafted::Draft(Box::new(page(hostile)))));
    update(s, now(), Msg::Drafted { of: For::Alert(AlertId(1)), result });
    assert!(s.notice.is_none(), "what was said while it was waited for is gone: {:?}", s.notice);
}

#[test]
fn a_draft_that_is_being_written_is_stopped() {
    let mut s = loaded((80, 24), look("dark", false));
    let of = For::Alert(AlertId(1));
    assert!(press(&mut s, "T").is_empty(), "nothing is being written");
    assert_eq!(press(&mut s, "B").len(), 1);
    assert!(text(&s).contains("T stops it"), "{}", text(&s));
    assert!(press(&mut s, "B").is_empty(), "one at a time");
    assert_eq!(press(&mut s, "T"), [Effect::CancelDraft(of)]);
    assert!(press(&mut s, "T").is_empty(), "once");
    update(&mut s, now(), Msg::Drafted { of, result: Err(say!("cancelled")) });
    assert!(text(&s).contains("stopped: no draft was written"), "{}", text(&s));
    // From the cases, where no alert is in hand.
    press(&mut s, "2");
    let of = For::Case(crate::model::ids::CaseId(118));
    assert_eq!(press(&mut s, "B"), [Effect::Draft { by: who("alice"), of }]);
    assert_eq!(press(&mut s, "T"), [Effect::CancelDraft(of)]);
    // It was there before it was stopped: it is not thrown away.
    let result = Ok(Box::new(Drafted::Draft(Box::new(page(false)))));
    update(&mut s, now(), Msg::Drafted { of, result });
    assert!(matches!(s.overlays.last(), Some(Overlay::Review(_))) && s.drafting.is_empty());
}

#[test]
fn who_asked_or_edited_does_not_approve() {
    let mut s = loaded((80, 24), look("dark", false));
    drafted(&mut s, false);
    lead(&mut s);
    let approves = |s: &mut State| press(s, "a").iter().any(|e| matches!(e, Effect::ApproveDraft { .. }));
    assert!(approves(&mut s));
    s.me.as_mut().unwrap().id = who("alice");
    assert!(!approves(&mut s));
    assert!(text(&s).contains("alice asked for it: somebody else approves it"), "{}", text(&s));
    s.me.as_mut().unwrap().id = who("bob");
    let mut edited = page(false);
    edited.draft.edits.push(crate::model::playbook_draft::DraftEdit { by: who("bob"), at: now(), hash: "x".into() });
    update(&mut s, now(), Msg::DraftDecided { what: "changed", result: Ok(Box::new(edited.clone())) });
    assert!(!approves(&mut s));
    assert!(text(&s).contains("bob edited it"), "{}", text(&s));
    // A desk of one person says otherwise in its settings.
    edited.second_person = false;
    update(&mut s, now(), Msg::DraftDecided { what: "changed", result: Ok(Box::new(edited)) });
    assert!(approves(&mut s));
}

fn lead(s: &mut State) {
    s.me = Some(Person {
        id: who("bob"),
        name: "Bob".into(),
        os_users: vec![],
        uids: vec![],
        keys: vec![],
        roles: vec![Role::Lead],
    });
}

#[test]
fn pictures() {
    each_of(&LOOKS, "draft_flagged", |s| drafted(s, true));
    each_of(&LOOKS[..1], "draft_clean", |s| {
        drafted(s, false);
        lead(s);
    });
    each_of(&LOOKS[..1], "draft_diff", |s| {
        drafted(s, true);
        press(s, "pagedown");
    });
    each_of(&LOOKS[..1], "draft_edit", |s| {
        drafted(s, false);
        press(s, "e");
    });
}

#[test]
fn a_draft_is_decided_by_keys() {
    let mut s = loaded((80, 24), look("dark", false));
    drafted(&mut s, false);
    assert!(text(&s).contains("GENERATED") && text(&s).contains("tiny-model-1"), "{}", text(&s));
    // An analyst reads and may not approve.
    assert!(press(&mut s, "a").is_empty());
    assert!(text(&s).contains("a lead, a commander or an approver"), "{}", text(&s));
    lead(&mut s);
    let hash = page(false).draft.hash;
    let approve = Effect::ApproveDraft { by: who("bob"), id: ID.into(), hash: hash.clone() };
    assert!(press(&mut s, "a").contains(&approve));
    update(&mut s, now(), Msg::DraftDecided { what: "approved", result: Err(say!("it changed meanwhile")) });
    assert!(text(&s).contains("it changed meanwhile"));
    // With a reason it ends.
    press(&mut s, "x ctrl-s");
    assert!(text(&s).contains("reason is needed"), "{}", text(&s));
    type_text(&mut s, "too thin");
    let out = press(&mut s, "enter");
    assert!(matches!(out.as_slice(), [Effect::RejectDraft { id, .. }] if id == ID), "{out:?}");
    let mut done = page(false);
    done.draft.state = DraftState::Rejected;
    update(&mut s, now(), Msg::DraftDecided { what: "rejected", result: Ok(Box::new(done)) });
    assert!(matches!(s.overlays.as_slice(), [Overlay::Review(r)] if r.page.draft.state == DraftState::Rejected));
    assert!(press(&mut s, "e").is_empty(), "what was decided is not edited");
}

#[test]
fn what_is_flagged_is_edited_first() {
    let mut s = loaded((80, 24), look("dark", false));
    lead(&mut s);
    s.me.as_mut().unwrap().id = who("alice");
    drafted(&mut s, true);
    assert!(page(true).blocking() > 0 && page(false).blocking() == 0, "{:?}", page(false).findings);
    assert!(press(&mut s, "a").is_empty());
    assert!(text(&s).contains("edit it first"), "{}", text(&s));
    press(&mut s, "e");
    let Some(Overlay::Form(f)) = s.overlays.last() else { panic!("no form") };
    let FieldKind::Text(i) = &f.fields[0].kind else { panic!("no text") };
    assert!(i.text().starts_with("key = \"draft-1\"") && i.lines().1 == (0, 0));
    // Enter ends a line here; its own key sends the whole.
    assert!(press(&mut s, "enter").is_empty());
    let out = press(&mut s, "ctrl-s");
    let Some(Effect::EditDraft { text: sent, .. }) = out.first() else { panic!("{out:?}") };
    assert!(sent.starts_with("\nkey ="), "{sent}");
    update(&mut s, now(), Msg::DraftDecided { what: "changed", result: Ok(Box::new(page(false))) });
    assert!(matches!(s.overlays.as_slice(), [Overlay::Review(r)] if r.page.blocking() == 0));
    assert!(text(&s).contains("checked again"), "{}", text(&s));
}

#[test]
fn without_a_model_the_nearest_are_offered() {
    let mut s = loaded((80, 24), look("dark", false));
    press(&mut s, "B");
    let of = For::Alert(AlertId(1));
    let one =
        crate::model::playbook::Suggested { playbook: "phishing".into(), title: "t".into(), score: 1, why: vec![] };
    let result = Ok(Box::new(Drafted::Nearest { why: "this desk asks no model".into(), suggested: vec![one] }));
    assert_eq!(update(&mut s, now(), Msg::Drafted { of, result }), [Effect::Offer(of)]);
    assert!(text(&s).contains("asks no model"), "{}", text(&s));
    // And where somebody looks for drafts: those there are, or how to come by one.
    press(&mut s, "2 2");
    let out = press(&mut s, "D");
    assert!(out.contains(&Effect::Drafts), "{out:?}");
    update(&mut s, now(), Msg::Drafts(Ok(vec![])));
    assert!(text(&s).contains("no draft waits"), "{}", text(&s));
    update(&mut s, now(), Msg::Drafts(Ok(vec![(page(true).draft, 3)])));
    assert!(text(&s).contains("GENERATED") && text(&s).contains("3 in the way"), "{}", text(&s));
    assert_eq!(press(&mut s, "enter"), [Effect::DraftOf(ID.into())]);
}
