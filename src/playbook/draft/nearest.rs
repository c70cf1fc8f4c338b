//! The playbook of the library that a draft is nearest to, and how the two differ.

use std::collections::BTreeSet;

use crate::model::playbook::Playbook;
use crate::text::Untrusted;

/// Lines of each side that are compared; longer ones are cut there.
const LINES: usize = 2_000;
/// Unchanged lines shown around a change.
const AROUND: usize = 2;

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Same(Untrusted),
    /// Only in the first.
    Gone(Untrusted),
    /// Only in the second.
    New(Untrusted),
    /// So many lines that are the same.
    Skipped(usize),
}

/// The one with the most words and techniques in common, by key. `None`: none has any.
pub fn nearest<'a>(draft: &Playbook, library: impl IntoIterator<Item = &'a Playbook>) -> Option<&'a Playbook> {
    let own = words(draft);
    let mut best: Option<(u32, &Playbook)> = None;
    for book in library.into_iter().filter(|b| b.id != draft.id && !b.revoked && b.generated.is_none()) {
        let theirs = words(book);
        let common = own.intersection(&theirs).count() as u32;
        let all = (own.len() + theirs.len()).max(1) as u32;
        let kin = book.techniques.iter().filter(|t| draft.techniques.contains(t)).count() as u32;
        // Dice, in thousandths; a technique in common weighs more than a few words.
        let score = 2_000 * common / all + 150 * kin.min(4);
        if score > 0 && best.is_none_or(|b| b.0 < score) {
            best = Some((score, book));
        }
    }
    best.map(|b| b.1)
}

fn words(book: &Playbook) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let texts = book.steps.iter().flat_map(|s| [&s.name].into_iter().chain(s.commands.iter().map(|c| &c.text)));
    for text in texts.chain([&book.title, &book.description]) {
        let lower = text.expose().to_lowercase();
        out.extend(lower.split(|c: char| !c.is_alphanumeric()).filter(|w| w.len() > 3).map(str::to_owned));
    }
    out
}

/// What turns `a` into `b`, line by line: longest common subsequence, unchanged stretches cut short.
pub fn diff(a: &str, b: &str) -> Vec<Change> {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.lines().take(LINES).collect(), b.lines().take(LINES).collect());
    // len[i][j]: of the longest common subsequence of a[i..] and b[j..].
    let width = b.len() + 1;
    let mut len = vec![0_u16; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            len[i * width + j] = if a[i] == b[j] {
                len[(i + 1) * width + j + 1] + 1
            } else {
                len[(i + 1) * width + j].max(len[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut all = Vec::new();
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            all.push(Change::Same(a[i].into()));
            (i, j) = (i + 1, j + 1);
        } else if j >= b.len() || (i < a.len() && len[(i + 1) * width + j] >= len[i * width + j + 1]) {
            all.push(Change::Gone(a[i].into()));
            i += 1;
        } else {
            all.push(Change::New(b[j].into()));
            j += 1;
        }
    }
    shortened(all)
}

fn shortened(all: Vec<Change>) -> Vec<Change> {
    let changed: Vec<usize> =
        all.iter().enumerate().filter(|(_, c)| !matches!(c, Change::Same(_))).map(|(i, _)| i).collect();
    let mut out = Vec::new();
    let mut skipped = 0;
    for (i, c) in all.into_iter().enumerate() {
        let at = changed.partition_point(|x| *x < i);
        let near = [at.checked_sub(1), Some(at)].into_iter().flatten().filter_map(|n| changed.get(n));
        if near.into_iter().any(|x| x.abs_diff(i) <= AROUND) {
            if skipped > 0 {
                out.push(Change::Skipped(std::mem::take(&mut skipped)));
            }
            out.push(c);
        } else {
            skipped += 1;
        }
    }
    if skipped > 0 {
        out.push(Change::Skipped(skipped));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::playbook::Library;

    #[test]
    fn a_difference_is_short() {
        let a = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        let b = "1\n2\n3\n4\nx\n6\n7\n8\n9";
        let same = |n: &str| Change::Same(n.into());
        let want = [
            Change::Skipped(2),
            same("3"),
            same("4"),
            Change::Gone("5".into()),
            Change::New("x".into()),
            same("6"),
            same("7"),
            Change::Skipped(2),
        ];
        assert_eq!(diff(a, b), want);
        assert_eq!(diff(a, a), [Change::Skipped(9)]);
    }

    proptest! {
        #[test]
        fn both_sides_can_be_read_from_it(a in "[ab\n]{0,40}", b in "[ab\n]{0,40}") {
            let changes = diff(&a, &b);
            let side = |first: bool| changes.iter().map(|c| match c {
                Change::Same(_) => 1,
                Change::Gone(_) => usize::from(first),
                Change::New(_) => usize::from(!first),
                Change::Skipped(n) => *n,
            }).sum::<usize>();
            prop_assert_eq!(side(true), a.lines().count());
            prop_assert_eq!(side(false), b.lines().count());
        }
    }

    #[test]
    fn a_bundled_playbook_is_nearest_to_its_like() {
        let library = Library::bundled();
        let mut copy = library.get("phishing").unwrap().book.clone();
        (copy.id, copy.techniques) = ("playbook--x".into(), vec![]);
        assert_eq!(nearest(&copy, library.books()).unwrap().key, "phishing");
    }
}
