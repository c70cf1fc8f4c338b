//! Handing a playbook on: as far as its marking lets it go (FIRST Traffic Light Protocol 2.0).

use crate::model::playbook::Audience;
use crate::model::playbook::Playbook;
use crate::model::playbook::Tlp;

/// What holds for a playbook nobody marked: it stays in the house.
pub const UNMARKED: Tlp = Tlp::AmberStrict;

/// Whether a playbook may be handed to them.
///
/// # Errors
/// Why it may not, in words.
pub fn may_go(book: &Playbook, to: Audience) -> Result<(), String> {
    let marking = book.tlp.unwrap_or(UNMARKED);
    if marking <= to.may_read() {
        return Ok(());
    }
    let said = match book.tlp {
        Some(t) => t.word().to_owned(),
        None => format!("not marked, which counts as {}", UNMARKED.word()),
    };
    let least = [Audience::Community, Audience::Clients, Audience::Organisation, Audience::Named];
    let widest = least.into_iter().find(|a| marking <= a.may_read()).unwrap_or(Audience::Named);
    let widest = match widest {
        Audience::Public => "the public",
        Audience::Community => "the community",
        Audience::Clients => "the organisation and its clients",
        Audience::Organisation => "the organisation",
        Audience::Named => "people named one by one",
    };
    Err(format!("{} is {said}: it may go to {widest}, no further", book.key))
}
