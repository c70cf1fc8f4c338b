//! What a desk finds out itself for a playbook that asks: three-valued, with the reason. Nobody types it.

use super::Desk;
use crate::model::backup::AssetStatus;
use crate::model::backup::Grade;
use crate::model::health::Tri;
use crate::model::playbook::BACKUPS_FRESH;

/// Assets named in a reason.
const NAMED: usize = 4;

impl Desk {
    /// What holds now, and why.
    pub fn fact(&self, word: &str) -> (Tri, String) {
        match word {
            BACKUPS_FRESH => match self.remembered_backups() {
                Ok(read) => fresh(&read.assets),
                Err(e) => (Tri::Unknown, e.to_string()),
            },
            _ => (Tri::Unknown, format!("this desk cannot find out {word:?}")),
        }
    }
}

/// Every asset has a backup within its objective that is proven: restored in a drill, or its content read back.
fn fresh(assets: &[AssetStatus]) -> (Tri, String) {
    if assets.is_empty() {
        return (Tri::Unknown, "no asset is described: nothing says that there is a backup".into());
    }
    let of = |a: &AssetStatus| {
        let proven = match a.grade {
            Grade::A | Grade::B => Tri::Pass,
            Grade::Unknown => Tri::Unknown,
            Grade::C | Grade::D | Grade::Bad => Tri::Fail,
        };
        a.rpo.and(proven)
    };
    let mut bad: Vec<(Tri, String)> = Vec::new();
    for a in assets {
        let answer = of(a);
        if answer != Tri::Pass {
            let why = a.why.first().cloned().unwrap_or_else(|| "nothing proves it".into());
            bad.push((answer, format!("{} (grade {}): {why}", a.asset.name, a.grade.word())));
        }
    }
    let answer = bad.iter().fold(Tri::Pass, |all, (t, _)| all.and(*t));
    if bad.is_empty() {
        let have = if assets.len() == 1 { "1 asset has" } else { &format!("{} assets have", assets.len()) };
        return (Tri::Pass, format!("{have} a fresh and proven backup"));
    }
    bad.sort_by_key(|(t, _)| *t != Tri::Fail);
    let more = bad.len().saturating_sub(NAMED);
    let mut said = bad.iter().take(NAMED).map(|b| b.1.as_str()).collect::<Vec<_>>().join("; ");
    if more > 0 {
        said.push_str(&format!("; and {more} more"));
    }
    (answer, said)
}
