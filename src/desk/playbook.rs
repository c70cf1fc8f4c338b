//! Playbooks as files: the library, the linter, both forms, run sheets, suggestions. Works without a desk, but for
//! suggestions.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::PoisonError;
use std::time::SystemTime;

use super::Desk;
use super::DeskError;
use super::Result;
use super::playbook_runs::marked;
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
pub use crate::playbook::sheet::marking_of_run;
pub use crate::playbook::sheet::span;
pub use crate::playbook::short::to_toml;

/// Where the settings have their playbooks: `triage.playbooks`, else `playbooks` beside the settings file.
pub fn folder(loaded: &Loaded) -> Option<PathBuf> {
    let beside = || Some(loaded.paths.config_dir.join("playbooks")).filter(|p| p.exists());
    loaded.settings.triage.playbooks.clone().or_else(beside)
}

/// Where the settings have the clocks of a breach: `desk.breach_clocks`, else `breach_clocks.toml` beside them.
pub fn breach_clocks(loaded: &Loaded) -> Option<PathBuf> {
    let beside = || Some(loaded.paths.config_dir.join("breach_clocks.toml")).filter(|p| p.exists());
    loaded.settings.desk.breach_clocks.clone().or_else(beside)
}

pub fn library(folder: Option<&Path>) -> Library {
    folder.map_or_else(Library::bundled, Library::read)
}

/// What is wrong with a document. `library`: where other playbooks are looked for.
pub fn lint(document: &Document, library: &Library) -> Vec<Finding> {
    playbook::lint::lint(document, Some(&|id| library.get(id).is_some()))
}

/// What tells whether a folder changed: its files, how long they are and when they were written.
pub(super) type Stamp = Vec<(PathBuf, u64, Option<SystemTime>)>;

fn stamp(folder: &Path) -> Stamp {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut out: Stamp =
        entries.filter_map(|e| e.metadata().ok().map(|m| (e.path(), m.len(), m.modified().ok()))).collect();
    out.sort();
    out
}

impl Desk {
    /// The playbooks of this desk: those of files, and drafts that were approved.
    pub fn playbooks(&self) -> Arc<Library> {
        let files = self.library_of_files();
        // Most desks have no drafts, and this is asked at every look at an alert.
        if !self.has_drafts() {
            return files;
        }
        let mut library = (*files).clone();
        self.add_drafts(&mut library);
        Arc::new(library)
    }

    /// A folder is read again when a file of it changed.
    pub(super) fn library_of_files(&self) -> Arc<Library> {
        let Some(folder) = self.settings.triage.playbooks.as_deref() else {
            static BUNDLED: LazyLock<Arc<Library>> = LazyLock::new(|| Arc::new(Library::bundled()));
            return Arc::clone(&BUNDLED);
        };
        let now = stamp(folder);
        let mut kept = self.library.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref() {
            Some((then, library)) if *then == now => Arc::clone(library),
            _ => {
                let library = Arc::new(library(Some(folder)));
                *kept = Some((now, Arc::clone(&library)));
                library
            }
        }
    }

    /// Playbooks that fit an alert, the best first, and why.
    pub fn suggest_playbooks(&self, alert: AlertId) -> Result<Vec<Suggested>> {
        let found = self.store.alert(alert)?;
        let found = found.ok_or_else(|| DeskError::No(format!("{alert}: there is no such alert")))?;
        let library = self.playbooks();
        let mut all = playbook::suggest(library.books(), &found.fields);
        for s in &mut all {
            if library.get(&s.playbook).is_some_and(|i| i.book.generated.is_some()) {
                s.title = marked(&s.title);
            }
        }
        Ok(all)
    }
}
