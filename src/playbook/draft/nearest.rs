//! The playbook of the library that a draft is nearest to, and how the two differ.

use std::collections::BTreeSet;

use crate::model::playbook::ACTION;
use crate::model::playbook::Phase;
use crate::model::playbook::Playbook;
use crate::model::playbook::Step;
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

/// A step that people do, in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub key: String,
    pub name: Untrusted,
    pub phase: Option<Phase>,
    /// The action of the catalogue that it proposes.
    pub action: Option<Untrusted>,
}

/// A step of a playbook of the library beside those of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beside {
    /// The draft has nothing like it.
    Missing(Line),
    Both {
        library: Line,
        draft: Line,
    },
    /// Only the draft has it.
    Added(Line),
}

impl Beside {
    /// As a list shows it: a mark (`-` only in the library's, `=` in both, `+` only in the draft), the step, and what the
    /// draft has like it.
    pub fn parts(&self) -> (&'static str, &Line, Option<&Line>) {
        match self {
            Self::Missing(l) => ("-", l, None),
            Self::Both { library, draft } => ("=", library, Some(draft)),
            Self::Added(l) => ("+", l, None),
        }
    }
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
    words_of(book.steps.iter().flat_map(texts).chain([&book.title, &book.description]))
}

fn texts(step: &Step) -> impl Iterator<Item = &Untrusted> {
    [&step.name].into_iter().chain(step.commands.iter().map(|c| &c.text))
}

fn words_of<'a>(texts: impl IntoIterator<Item = &'a Untrusted>) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for text in texts {
        let lower = text.expose().to_lowercase();
        out.extend(lower.split(|c: char| !c.is_alphanumeric()).filter(|w| w.len() > 3).map(str::to_owned));
    }
    out
}

/// Dice's coefficient, in thousandths.
fn dice(a: &BTreeSet<String>, b: &BTreeSet<String>) -> usize {
    2_000 * a.intersection(b).count() / (a.len() + b.len()).max(1)
}

/// The steps people do in a playbook of the library, in its order, beside those of a draft; then what only the draft has.
/// Two are alike when they propose the same action, or have half the words of their names in common, or in the same
/// phase a third of all their words. Each has one like at most, the likest first.
pub fn beside(library: &Playbook, draft: &Playbook) -> Vec<Beside> {
    let (theirs, ours): (Vec<&Step>, Vec<&Step>) = (library.work().collect(), draft.work().collect());
    let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
    for (i, a) in theirs.iter().enumerate() {
        let found = ours.iter().enumerate().map(|(j, b)| (alike(a, b), i, j));
        pairs.extend(found.filter(|(score, _, _)| *score > 0));
    }
    pairs.sort_by_key(|(score, i, j)| (std::cmp::Reverse(*score), *i, *j));
    let mut like = vec![None; theirs.len()];
    let mut taken = vec![false; ours.len()];
    for (_, i, j) in pairs {
        if like[i].is_none() && !taken[j] {
            (like[i], taken[j]) = (Some(j), true);
        }
    }
    let found = theirs.iter().zip(like).map(|(step, like)| match like {
        Some(j) => Beside::Both { library: line(step), draft: line(ours[j]) },
        None => Beside::Missing(line(step)),
    });
    let added = ours.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|(step, _)| Beside::Added(line(step)));
    found.chain(added).collect()
}

/// 0: they are not.
fn alike(a: &Step, b: &Step) -> usize {
    match (action(a), action(b)) {
        (Some(x), Some(y)) if x == y => return 2_000,
        (None, None) => {}
        _ => return 0,
    }
    let names = dice(&words_of([&a.name]), &words_of([&b.name]));
    let all = dice(&words_of(texts(a)), &words_of(texts(b)));
    let near = names >= 500 || (all >= 333 && a.phase == b.phase);
    if near { names.max(all) } else { 0 }
}

fn action(step: &Step) -> Option<&Untrusted> {
    step.commands.iter().find(|c| c.kind == ACTION).map(|c| &c.text)
}

fn line(step: &Step) -> Line {
    Line { key: step.key.clone(), name: step.name.clone(), phase: step.phase, action: action(step).cloned() }
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
    fn steps_stand_beside_their_like() {
        let library = Library::bundled();
        let all = library.get("malware").unwrap().book.clone();
        let said = |list: &[Beside]| -> Vec<String> {
            let name = |l: &Line| l.name.expose().to_owned();
            list.iter()
                .map(|b| match b {
                    Beside::Missing(l) => format!("- {}", name(l)),
                    Beside::Both { library, draft } => format!("= {} | {}", name(library), name(draft)),
                    Beside::Added(l) => format!("+ {}", name(l)),
                })
                .collect()
        };
        // Of itself nothing is missing, and each step is its own like.
        let same = said(&beside(&all, &all));
        assert_eq!(same.len(), all.work().count());
        for (b, step) in same.iter().zip(all.work()) {
            assert_eq!(*b, format!("= {0} | {0}", step.name.expose()));
        }
        // One left out, one that proposes the same under another name, one that is new.
        let mut draft = all.clone();
        let gone = draft.work().find(|s| action(s).is_none()).unwrap().clone();
        draft.steps.retain(|s| s.id != gone.id);
        let acts = draft.steps.iter_mut().find(|s| action(s).is_some()).unwrap();
        let was = std::mem::replace(&mut acts.name, "Cut it off".into());
        let mut new = gone.clone();
        (new.id, new.name) = ("x".into(), "Water the plants".into());
        new.commands.iter_mut().for_each(|c| c.text = "Give each one a little, not too much.".into());
        draft.steps.push(new);
        let got = said(&beside(&all, &draft));
        assert!(got.contains(&format!("- {}", gone.name.expose())), "{got:?}");
        assert!(got.contains(&format!("= {} | Cut it off", was.expose())), "{got:?}");
        assert_eq!(got.last().unwrap(), "+ Water the plants", "{got:?}");
        assert_eq!(got.iter().filter(|l| l.starts_with('=')).count(), same.len() - 1, "{got:?}");
    }

    #[test]
    fn a_bundled_playbook_is_nearest_to_its_like() {
        let library = Library::bundled();
        let mut copy = library.get("phishing").unwrap().book.clone();
        (copy.id, copy.techniques) = ("playbook--x".into(), vec![]);
        assert_eq!(nearest(&copy, library.books()).unwrap().key, "phishing");
    }
}
