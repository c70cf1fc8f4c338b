//! Who has to hear of a breach: what people say of each deadline, and the times from which they count.

use super::super::deadlines::{clock, from};
use super::super::state::input::Input;
use super::super::state::overlay::{Form, Pick, Purpose};
use super::super::state::playbook::run_in_hand;
use super::super::state::{State, own_words};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Effect, open};
use crate::model::ids::PersonId;
use crate::model::playbook_run::{Deadline, DeadlineWord, Event};
use crate::model::when;
use crate::text::Untrusted;

/// The deadlines of the open run, and the times they count from.
pub fn pick(state: &mut State) {
    let Some(page) = state.playbook.open.as_ref() else { return };
    let Some(run) = run_in_hand(state) else { return };
    let mut items = Vec::new();
    let mut begun: Vec<&str> = Vec::new();
    for d in &page.deadlines {
        let (left, _) = clock(d, state.now);
        let detail = say!(Said::of(&d.to), "; ", Said::of(&d.law));
        let label = say!(Said::of(&d.id), "  ", left);
        items.push(open::item(Pick::Deadline { run: run.id.clone(), clock: d.id.clone() }, label, detail));
    }
    for d in &page.deadlines {
        if begun.contains(&d.from.as_str()) {
            continue;
        }
        begun.push(&d.from);
        let since = d.began.map_or_else(|| say!("not known"), |t| say!(Said::minute(t), " UTC"));
        let pick = Pick::DeadlineFrom { run: run.id.clone(), name: d.from.clone() };
        items.push(open::item(pick, say!(from(d), "  ", since), say!("the time they count from: enter changes it")));
    }
    open::pick(state, say!("Deadlines"), items, Vec::new());
}

fn found<'a>(state: &'a State, clock: &str) -> Option<&'a Deadline> {
    state.playbook.open.as_ref()?.deadlines.iter().find(|d| d.id == clock)
}

/// Asks what is said of one.
pub fn form(state: &mut State, run: String, clock: String) {
    let Some(d) = found(state, &clock) else { return };
    let (left, role) = super::super::deadlines::clock(d, state.now);
    let mut options = vec![('t', say!("told")), ('n', say!("does not apply"))];
    if !d.open() {
        options.push(('o', say!("open after all")));
    }
    let title = say!(Said::of(&d.to));
    let lead = say!(Said::of(&d.law), ": ", Said::of(&d.within), ", ", left, ". For ", Said::of(&d.applies));
    let f = Form::new(Purpose::Deadline { run, clock }, title).lead(lead, role).choice("it is", options, None).text(
        "because",
        Input::line(""),
        say!("number and time of the receipt, or counsel's reason"),
        true,
    );
    open::form(state, f, Vec::new());
}

/// Asks for the time some of them count from.
pub fn from_form(state: &mut State, run: String, name: String) {
    let shown = Said::of(&name.trim_matches('_').replace('_', " "));
    let f = Form::new(Purpose::DeadlineFrom { run, name }, say!("Deadlines count from: ", shown))
        .lead(say!("The value before stays in the log, with who gave it."), Role::Dim)
        .text("time", Input::line(""), say!(when::EXPECTED, "; ? where it is not known"), true);
    open::form(state, f, Vec::new());
}

/// What the forms send.
pub fn sent(form: &Form, by: PersonId) -> Result<Effect, Said> {
    let (run, event, done) = match &form.purpose {
        Purpose::Deadline { run, clock } => {
            let (word, said) = match form.chosen("it is") {
                Some(0) => (Some(DeadlineWord::Told), "told"),
                Some(1) => (Some(DeadlineWord::Excluded), "does not apply"),
                Some(_) => (None, "open"),
                None => return Err(say!("pick what it is")),
            };
            let text = own_words(&form.text_of("because"));
            let done = say!(Said::of(clock), ": ", said);
            (run, Event::Deadline { clock: clock.clone(), word, text }, done)
        }
        Purpose::DeadlineFrom { run, name } => {
            let text = form.text_of("time");
            let value = (text.trim() != "?").then(|| Untrusted::new(text.trim()));
            (run, Event::Set { name: name.clone(), value }, say!("the deadlines count from there"))
        }
        _ => return Err(say!("this form is about no deadline")),
    };
    Ok(Effect::StepRun { by, run: run.clone(), event: Box::new(event), done })
}
