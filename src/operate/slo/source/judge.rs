//! Judging while answers come: an objective is judged as soon as each of its questions was answered, on other threads
//! than those that ask.

use std::collections::BTreeMap;
use std::mem;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Ask;
use super::MINUTE;
use super::Need;
use super::Reader;
use crate::model::slo::Slo;
use crate::model::slo::SloState;
use crate::model::slo::SloStatus;
use crate::operate::slo::eval;
use crate::operate::slo::series;
use crate::operate::slo::series::Series;

/// So many objectives are judged together.
const TOGETHER: usize = 16;

type Judged = Vec<(Slo, SloStatus)>;

/// `told`: questions that were answered, each once. When it ends, what was not answered is judged by what is kept of it.
pub(super) async fn as_answered(
    reader: &Reader,
    slos: &[Slo],
    needs: &[Result<Need, String>],
    mut told: mpsc::Receiver<Ask>,
    at: i64,
) -> Judged {
    let mut waiting = Waiting::new(needs);
    let mut parts = Vec::new();
    loop {
        let answered = told.recv().await;
        match &answered {
            Some(ask) => waiting.answered(ask),
            None => waiting.give_up(),
        }
        if answered.is_some() && waiting.ready.len() < TOGETHER {
            continue;
        }
        for some in mem::take(&mut waiting.ready).chunks(TOGETHER) {
            let mut part = Vec::with_capacity(some.len());
            for (slo, need) in some.iter().filter_map(|i| slos.get(*i).zip(needs.get(*i))) {
                part.push((noted(slo, need), reader.series(slo, need, at).await));
            }
            parts.push(Part::start(part, series::stamp(at)));
        }
        if answered.is_none() {
            break;
        }
    }
    let mut all = Vec::with_capacity(slos.len());
    for part in parts {
        all.extend(part.end().await);
    }
    all
}

/// Which objectives wait for which questions.
struct Waiting<'a> {
    /// By the number of the objective.
    questions: Vec<usize>,
    objectives: BTreeMap<&'a Ask, Vec<usize>>,
    ready: Vec<usize>,
}

impl<'a> Waiting<'a> {
    fn new(needs: &'a [Result<Need, String>]) -> Self {
        let mut objectives: BTreeMap<&Ask, Vec<usize>> = BTreeMap::new();
        let mut questions = vec![0; needs.len()];
        for (i, need) in needs.iter().enumerate() {
            for (ask, _) in need.iter().flat_map(|n| &n.asks) {
                let waiting = objectives.entry(ask).or_default();
                // Both sides may be the same question.
                if waiting.last() != Some(&i) {
                    waiting.push(i);
                    questions[i] += 1;
                }
            }
        }
        let ready = (0..needs.len()).filter(|i| questions[*i] == 0).collect();
        Self { questions, objectives, ready }
    }

    fn answered(&mut self, ask: &Ask) {
        for i in self.objectives.remove(ask).unwrap_or_default() {
            self.questions[i] -= 1;
            if self.questions[i] == 0 {
                self.ready.push(i);
            }
        }
    }

    /// Nothing more is answered.
    fn give_up(&mut self) {
        self.objectives.clear();
        self.ready.extend((0..self.questions.len()).filter(|i| self.questions[*i] > 0));
        self.questions.fill(0);
    }
}

/// With a word on how it is read.
fn noted(slo: &Slo, need: &Result<Need, String>) -> Slo {
    let mut slo = slo.clone();
    if let Ok(need) = need
        && need.step > MINUTE
    {
        let step = need.step / 1000;
        slo.notes.push(format!("what is older than six hours is read every {step} s, resets by the minute"));
    }
    slo
}

/// Objectives that are being judged on a thread of their own.
struct Part {
    slos: Vec<Slo>,
    moment: Timestamp,
    task: JoinHandle<Vec<SloStatus>>,
}

impl Part {
    fn start(part: Vec<(Slo, Series)>, moment: Timestamp) -> Self {
        let slos = part.iter().map(|(slo, _)| slo.clone()).collect();
        let judge = move || part.iter().map(|(slo, series)| eval::evaluate(slo, series, moment)).collect();
        Self { slos, moment, task: tokio::task::spawn_blocking(judge) }
    }

    async fn end(self) -> Judged {
        let judged = self.task.await.unwrap_or_default();
        let mut judged = judged.into_iter();
        let one = |slo: Slo| {
            let lost =
                || eval::empty(&slo, self.moment, SloState::Unknown, "it could not be judged: a fault in watchfloor");
            let status = judged.next().unwrap_or_else(lost);
            (slo, status)
        };
        self.slos.into_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::slo::source::query::Shape;

    fn need(questions: &[&str]) -> Result<Need, String> {
        let ask = |query: &&str| {
            let ask = Ask { source: "s".into(), query: (*query).into(), step: MINUTE, counts: true };
            (ask, Shape::Other((*query).into()))
        };
        Ok(Need { from: 0, step: MINUTE, asks: questions.iter().map(ask).collect() })
    }

    #[test]
    fn an_objective_is_ready_when_its_last_question_is_answered() {
        let needs = [need(&["a", "b"]), need(&["b", "b"]), Err("no source".into()), need(&["c"]), need(&["a", "c"])];
        let ask = |q: &str| need(&[q]).unwrap().asks[0].0.clone();
        let mut waiting = Waiting::new(&needs);
        assert_eq!(mem::take(&mut waiting.ready), [2], "what asks nothing");
        waiting.answered(&ask("b"));
        assert_eq!(mem::take(&mut waiting.ready), [1], "both sides at once");
        waiting.answered(&ask("b"));
        assert!(waiting.ready.is_empty(), "told twice");
        waiting.answered(&ask("a"));
        assert_eq!(mem::take(&mut waiting.ready), [0]);
        waiting.give_up();
        assert_eq!(mem::take(&mut waiting.ready), [3, 4], "the rest, each once");
        waiting.give_up();
        assert!(waiting.ready.is_empty());
    }
}
