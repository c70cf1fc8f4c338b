//! Makes an address unclickable: `hxxp://evil[.]example`.

use super::{Clean, Untrusted, clean};

/// Defanged and clean.
pub fn defang(text: &Untrusted) -> Clean<'static> {
    let swapped = text.expose().replace("http", "hxxp").replace('.', "[.]");
    clean(&Untrusted::new(swapped)).into_owned()
}
