//! The phishing playbook from the alert to the closed case, by somebody who has never seen it: every key that is pressed
//! stands on the screen, with what it does beside it.

use std::path::Path;

use crate::common::{BIN, Term, check_grammar, demo_desk, json};

/// Presses only keys it has read.
struct Newcomer {
    term: Term,
}

impl Newcomer {
    /// The key that the last line gives beside these words.
    fn footer_key(screen: &str, words: &str) -> Option<String> {
        let line = screen.lines().rfind(|l| !l.trim().is_empty())?;
        let pairs = line.trim().split("  ").filter_map(|p| p.trim().split_once(' '));
        pairs.into_iter().find(|(_, title)| title.trim() == words).map(|(key, _)| key.to_owned())
    }

    fn sent(key: &str) -> String {
        match key {
            "enter" => "\r".into(),
            "esc" => "\u{1b}".into(),
            "tab" => "\t".into(),
            c if c.chars().count() == 1 => c.to_owned(),
            other => panic!("how is {other:?} pressed?"),
        }
    }

    /// By the last line of the screen.
    fn press(&mut self, words: &str) {
        let screen = self.term.wait(words, |s| Self::footer_key(s, words).is_some());
        self.term.send(&Self::sent(&Self::footer_key(&screen, words).unwrap()));
    }

    /// By a sentence such as `b starts it`.
    fn press_in(&mut self, screen: &str, words: &str) {
        let before = screen.split(words).next().filter(|_| screen.contains(words));
        let key = before.and_then(|b| b.split_whitespace().last());
        let key = key.unwrap_or_else(|| panic!("nothing says which key {words:?}:\n{screen}"));
        self.term.send(&Self::sent(key));
    }

    /// What the line `NEXT` says, with what it goes on with below.
    fn next(screen: &str) -> String {
        let lines: Vec<Vec<char>> = screen.lines().map(|l| l.chars().collect()).collect();
        let find = |l: &Vec<char>| l.windows(5).position(|w| w == ['N', 'E', 'X', 'T', ' ']);
        let Some((row, at)) = lines.iter().enumerate().find_map(|(i, l)| Some((i, find(l)?))) else {
            panic!("nothing says what comes next:\n{screen}");
        };
        let part = |row: usize, from: usize, to: usize| -> String {
            lines.get(row).map(|l| l.iter().skip(from).take(to - from).collect()).unwrap_or_default()
        };
        let mut said = part(row, at + 4, 400).trim().to_owned();
        let mut below = row + 1;
        while part(below, at, at + 12).trim().is_empty() && !part(below, at + 12, 400).trim().is_empty() {
            said.push(' ');
            said.push_str(part(below, at + 12, 400).trim());
            below += 1;
        }
        said
    }

    /// Fills in the form in front: what is asked for with letters is answered by the first that fits.
    fn fill(&mut self, form: &str, answers: &[&str]) {
        for _ in 0..4 {
            let screen = self.term.wait_for(form);
            // A choice that was not made: its letters stand before their words.
            let letter = |l: &str, answer: &str| {
                let mut before = l.split_once(&format!(" {answer} "))?.0.chars().rev();
                let letter = before.next()?;
                (before.next() == Some(' ') && before.next() == Some(' ')).then(|| letter.to_string())
            };
            let open = screen.lines().filter(|l| l.contains('\u{2502}') && !l.contains('\u{25cf}'));
            let mut open = open.filter_map(|l| Some((l, answers.iter().find_map(|a| letter(l, a))?)));
            let Some((line, letter)) = open.next() else { break };
            self.term.send(&letter);
            self.term.wait("the choice is made", |s| s.contains(form) && s.lines().all(|l| l != line));
        }
        self.press("go on");
        let screen = self.term.wait("the form is sent", |s| !s.contains(form) || s.contains(" is needed"));
        assert!(!screen.contains(" is needed"), "{screen}");
    }
}

/// How many steps are over, as the run says it.
fn over(screen: &str) -> Option<&str> {
    screen.lines().find(|l| l.contains(" steps over") || l.contains(" step over"))
}

fn walk(dir: &Path, size: (u16, u16), more: &[&str]) {
    let data = demo_desk(dir);
    let mut args = vec!["--data-dir", data.as_str(), "--as", "alice"];
    args.extend(more);
    let mut n = Newcomer { term: Term::start(BIN, &args, size) };
    n.term.wait("alerts", |s| s.contains(" P1 ") || s.contains(" P0 "));

    // The alert, and on it the playbook that fits, with why.
    n.press("filter");
    n.term.press("look-alike");
    n.press("go on");
    n.term.wait("one alert", |s| {
        s.contains("look-alike  by ") && s.contains("look-alike sender") && s.contains('\u{25b8}')
    });
    n.press("open");
    let screen = n.term.wait_for("starts it");
    assert!(screen.contains("Phishing message") && screen.contains("T1566"), "{screen}");
    n.press_in(&screen, " starts it");
    let screen = n.term.wait_for("Playbooks for alert");
    assert!(screen.contains("* Phishing message"), "{screen}");
    n.press("take");
    let screen = n.term.wait_for("Start: Phishing message");
    assert!(screen.contains("What is known is filled in") && screen.contains("parcel-notice.example"), "{screen}");
    n.press("go on");
    n.term.wait_for("NEXT");

    let (mut steps, mut attached, mut before) = (0, false, None);
    loop {
        let screen = n.term.wait("the next step", |s| over(s).is_some() && over(s) != before.as_deref());
        let next = Newcomer::next(&screen);
        if next.contains(" closes case") {
            n.press_in(&format!(" {next}"), " closes case");
            break;
        }
        steps += 1;
        assert!(steps < 40, "it does not come to an end:\n{screen}");
        if next.contains(" attaches a file") && !attached {
            let mail = dir.join("message.eml");
            std::fs::write(&mail, "From: accounts@parcel-notice.example\n").unwrap();
            n.press_in(&format!(" {next}"), " attaches a file");
            n.term.wait_for("Evidence of: ");
            n.term.press(&mail.display().to_string());
            n.press("go on");
            n.term.wait_for("kept message.eml");
            attached = true;
            continue;
        }
        n.press_in(&format!(" {next}"), " when it is done");
        let asks = next.contains("asks for");
        if asks {
            n.term.wait_for("\u{2500} Done: ");
            n.fill("\u{2500} Done: ", &["true", "password"]);
        }
        before = over(&screen).map(str::to_owned);
    }
    n.term.wait_for("Close case #");
    n.fill("Close case #", &["true positive"]);
    let screen = n.term.wait_for("CLOSED");
    assert!(screen.contains("true positive") && screen.contains("Phishing message: done"), "{screen}");
    assert!(screen.contains("message.eml"), "the evidence is in the case: {screen}");
    check_grammar(&n.term.bytes()).unwrap();
    drop(n);

    let case = json(&data, &["case", "list"]).into_iter().find(|c| c["title"].as_str().unwrap().contains("look-alike"));
    let id = case.unwrap()["id"].as_i64().unwrap().to_string();
    let case = json(&data, &["--as", "alice", "case", "show", &id]).remove(0);
    assert!(case["case"]["closed_at"].is_string() && case["alerts"][0]["status"] == "closed", "{case:#}");
    assert_eq!(case["runs"][0]["state"], "done");
    assert!(steps > 9, "{steps}");
}

#[test]
fn a_newcomer_goes_from_the_alert_to_the_closed_case_in_80_columns() {
    walk(tempfile::tempdir().unwrap().path(), (80, 24), &[]);
}

#[test]
fn a_newcomer_goes_from_the_alert_to_the_closed_case_on_a_large_screen_without_colours() {
    walk(tempfile::tempdir().unwrap().path(), (160, 45), &["--no-color"]);
}
