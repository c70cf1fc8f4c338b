//! Playbooks as files: the library, the linter, both forms, run sheets, suggestions. Works without a desk, but for
//! suggestions.

use std::path::Path;
use std::path::PathBuf;

use super::Desk;
use super::DeskError;
use super::Result;
use crate::config::Loaded;
use crate::model::ids::AlertId;
use crate::model::playbook::Finding;
use crate::model::playbook::Suggested;
use crate::playbook;
use crate::store::Store;

pub use crate::playbook::Document;
pub use crate::playbook::Item;
pub use crate::playbook::Library;
pub use crate::playbook::Origin;
pub use crate::playbook::clocks;
pub use crate::playbook::export::may_go;
pub use crate::playbook::lint::workable;
pub use crate::playbook::load;
pub use crate::playbook::react::name as react_name;
pub use crate::playbook::sheet::markdown as sheet;
pub use crate::playbook::sheet::span;
pub use crate::playbook::short::to_toml;

/// Where the settings have their playbooks: `triage.playbooks`, else `playbooks` beside the settings file.
pub fn folder(loaded: &Loaded) -> Option<PathBuf> {
    let beside = || Some(loaded.paths.config_dir.join("playbooks")).filter(|p| p.exists());
    loaded.settings.triage.playbooks.clone().or_else(beside)
}

pub fn library(folder: Option<&Path>) -> Library {
    folder.map_or_else(Library::bundled, Library::read)
}

/// What is wrong with a document. `library`: where other playbooks are looked for.
pub fn lint(document: &Document, library: &Library) -> Vec<Finding> {
    playbook::lint::lint(document, Some(&|id| library.get(id).is_some()))
}

impl Desk {
    /// The playbooks of this desk, read now: those of files, and drafts that were approved.
    pub fn playbooks(&self) -> Library {
        let mut library = self.library_of_files();
        self.add_drafts(&mut library);
        library
    }

    pub(super) fn library_of_files(&self) -> Library {
        library(self.settings.triage.playbooks.as_deref())
    }

    /// Playbooks that fit an alert, the best first, and why.
    pub fn suggest_playbooks(&self, alert: AlertId) -> Result<Vec<Suggested>> {
        let found = self.store.alert(alert)?;
        let found = found.ok_or_else(|| DeskError::No(format!("{alert}: there is no such alert")))?;
        Ok(playbook::suggest(self.playbooks().books(), &found.fields))
    }
}
