//! Malware and ransomware worked to their ends from the keyboard, with the console killed in the middle of their parallel
//! branches.

use std::path::Path;

use serde_json::Value;

use crate::common::{BIN, Term, as_person, check_grammar, demo_desk, json, type_code};

const SIZE: (u16, u16) = (80, 24);

/// A console on a demo desk, played by a person who reads the screen.
struct Player {
    data: String,
    term: Term,
    run: String,
}

/// The first line of the step's text: below the rule.
fn heading(screen: &str) -> String {
    let mut lines = screen.lines().skip_while(|l| !l.starts_with("\u{2500}\u{2500}\u{2500}\u{2500}"));
    lines.nth(1).unwrap_or_default().trim().to_owned()
}

/// How many steps are over, as the run says it: another line when a step was ended and the run read again.
fn over(screen: &str) -> &str {
    screen.lines().find(|l| l.contains(" steps over") || l.contains(" step over")).unwrap_or_default()
}

/// Where the cursor stands: how many lines below the head of the run.
fn cursor(screen: &str) -> Option<usize> {
    let at = |found: &dyn Fn(&str) -> bool| screen.lines().position(found);
    at(&|l| l.starts_with('\u{25b8}'))?.checked_sub(at(&|l| l == over(screen))?)
}

impl Player {
    /// Starts a playbook on the alert about the look-alike sender: `b`, its name, and what is filled in as it is.
    fn start(dir: &Path, playbook: &str, title: &str) -> Self {
        let data = demo_desk(dir);
        let mut term = Self::open(&data);
        term.send("/");
        term.press(" look-alike");
        term.send("\r");
        term.wait("one alert", |s| {
            s.contains("look-alike  by ") && s.contains("look-alike sender") && s.contains("fin-ws-014")
        });
        term.send("b");
        term.wait_for("Playbooks for alert");
        term.press(playbook);
        term.wait_for(title);
        term.send("\r");
        let screen = term.wait_for(&format!("Start: {title}"));
        assert!(screen.contains("fin-ws-014") && screen.contains("from host of"), "{screen}");
        term.send("\u{13}");
        term.wait("the run", |s| {
            assert!(!s.contains("is needed"), "{s}");
            s.contains(title) && s.contains("running") && s.contains("NEXT")
        });
        let runs = json(&data, &["--as", "alice", "playbook", "runs"]);
        let run = runs[0]["id"].as_str().unwrap().to_owned();
        Self { data, term, run }
    }

    fn open(data: &str) -> Term {
        let term = Term::start(BIN, &["--data-dir", data, "--as", "alice"], SIZE);
        term.wait("alerts", |s| s.contains(" P1 ") || s.contains(" P0 "));
        term
    }

    fn status(&self) -> Value {
        json(&self.data, &["--as", "alice", "playbook", "status", &self.run]).remove(0)
    }

    /// The step in front is this one.
    fn at(&mut self, step: &str) -> &mut Self {
        let screen = self.term.wait(step, |s| heading(s).starts_with(step));
        // No step leaves one without a word on what comes next.
        assert!(screen.contains(" NEXT "), "{screen}");
        self
    }

    /// To the step of this name, up or down the list.
    fn go_to(&mut self, step: &str) -> &mut Self {
        self.term.send("g");
        let mut screen = self.term.wait("the first step", |s| cursor(s) == Some(1));
        while !heading(&screen).starts_with(step) {
            let before = (cursor(&screen), heading(&screen));
            self.term.send("j");
            let what = format!("{step:?}, or the step after {:?}", before.1);
            screen = self.term.wait(&what, |s| (cursor(s), heading(s)) != before);
        }
        self
    }

    /// Done, where nothing is asked for.
    fn done(&mut self) {
        let before = self.term.screen();
        self.term.send("d");
        self.term.wait("done", |s| over(s) != over(&before) && s.contains("done: "));
    }

    /// Done with outputs: keys for each field of the form, in order; a field that is filled in takes none.
    fn gives(&mut self, keys: &[&str]) {
        let before = self.term.screen();
        self.term.send("d");
        self.term.wait_for("\u{2500} Done: ");
        for key in keys {
            self.term.press(key);
            self.term.send("\r");
        }
        self.term.wait("done", |s| !s.contains("\u{2500} Done: ") && over(s) != over(&before));
    }

    /// A form of one line: its key, its title, what is written.
    fn says(&mut self, key: &str, title: &str, text: &str) {
        self.term.send(key);
        self.term.wait_for(title);
        self.term.press(text);
        self.term.send("\r");
        self.term.wait("sent", |s| !s.contains(&format!("\u{2500} {title}")));
    }

    /// A file attached, which is then in the step.
    fn attach(&mut self, dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        self.says("e", "Evidence of: ", &path.display().to_string());
        self.term.wait_for(&format!("kept {name}"));
    }

    fn become_(&mut self, id: &str, name: &str) {
        self.term.send("@");
        self.term.wait_for("Act as");
        self.term.press(id);
        self.term.send("\r");
        self.term.wait_for(&format!("you are {name} now"));
    }

    /// Signs in a role of the roster, or records who outside it did.
    fn sign(&mut self, role: &str, given_by: Option<&str>) {
        let before = self.term.screen();
        self.term.send("S");
        let screen = self.term.wait("signed, or asked", |s| s.contains("Sign: ") || s.contains("signed as"));
        if screen.contains("\u{2500} Sign: ") {
            // The option's letter stands before it.
            let line =
                screen.lines().find(|l| l.contains(" as ") && l.contains(role)).unwrap_or_else(|| panic!("{screen}"));
            let before = line.split(role).next().unwrap().trim_end();
            let letter = before.chars().last().unwrap().to_string();
            self.term.send(&letter);
            if let Some(who) = given_by {
                self.term.press(who);
            }
            self.term.send("\r");
        }
        self.term.wait_for(&format!("signed as {role}"));
        // The notice stays until the next key.
        self.term.send("k");
        self.term.wait("nothing is said", |s| !s.contains("signed as"));
        self.term.send("j");
        self.term.wait("back at the step", |s| cursor(s) == cursor(&before));
    }

    /// The console dies on the spot; what was acknowledged is there afterwards.
    fn killed(&mut self) {
        let before = self.status();
        self.term.signal("KILL");
        let _ = self.term.child.wait();
        self.term = Self::open(&self.data);
        let mut after = self.status();
        // Time may have passed over a box in between; nothing else may have changed.
        for (b, a) in before["visits"].as_array().unwrap().iter().zip(after["visits"].as_array_mut().unwrap()) {
            a["overdue"] = b["overdue"].clone();
        }
        assert_eq!(before["visits"], after["visits"], "state, owners, clocks, evidence");
        assert_eq!(before["variables"], after["variables"]);
        self.term.send("2");
        self.term.wait_for("CASE");
        self.term.send("]");
        self.term.wait("the runs", |s| s.contains("PLAYBOOK") && s.contains('\u{25b8}'));
        self.term.send("\r");
        self.term.wait("the run", |s| !over(s).is_empty() && s.contains(" NEXT "));
    }

    /// How it ended, and that the log holds every transition once.
    fn over(&mut self, evidence: usize) {
        self.term.wait("the end", |s| s.contains("closes case"));
        let run = self.status();
        assert_eq!(run["state"], "done", "{run:#}");
        let kept: usize =
            run["visits"].as_array().unwrap().iter().map(|v| v["evidence"].as_array().unwrap().len()).sum();
        assert_eq!(kept, evidence);
        let of_run = |r: &Value| (r["body"]["run"] == run["id"]).then(|| r["body"]["seq"].as_u64()).flatten();
        let all = json(&self.data, &["audit", "query", "--limit", "100000"]);
        let mut seqs: Vec<u64> = all.iter().filter_map(of_run).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=run["seq"].as_u64().unwrap()).collect::<Vec<_>>(), "each transition once");
        assert_eq!(as_person(&self.data, "alice", &["audit", "verify"]).0, Some(0));
        // All of the evidence is in the case, and is what it was.
        let case = run["case"].as_i64().unwrap().to_string();
        let shown = json(&self.data, &["--as", "alice", "case", "show", &case]).remove(0);
        assert_eq!(shown["evidence"].as_array().unwrap().len(), evidence);
        assert_eq!(
            as_person(&self.data, "alice", &["playbook", "status", &self.run]).0,
            Some(0),
            "no evidence is broken"
        );
        check_grammar(&self.term.bytes()).unwrap();
    }
}

#[test]
fn malware_is_played_to_the_end_with_the_console_killed_in_a_parallel_branch() {
    let dir = tempfile::tempdir().unwrap();
    let mut p = Player::start(dir.path(), "malware", "Malware on a host");
    p.at("Read the alert and the process tree").attach(dir.path(), "tree.txt", "winword > powershell");
    // The hash is known from the alert: only whether it ran is asked.
    p.gives(&["", "y"]);
    p.at("Say what the file is").gives(&["1"]);

    // Three branches. The first is taken, the second given away.
    p.at("Isolate the host").term.send("c");
    p.term.wait_for("yours: ");
    let screen = p.term.wait_for("active");
    assert!(screen.contains("1: Isolate") && screen.contains("2: Keep") && screen.contains("3: Look for"), "{screen}");
    p.go_to("Keep memory").term.send("A");
    p.term.wait_for("Give this step to");
    p.term.press("bob");
    p.term.send("\r");
    p.term.wait_for("given to bob");
    p.go_to("Isolate the host");

    // Its action, proposed with the host of the alert, for the reason that names playbook and step.
    p.term.send("p");
    let screen = p.term.wait_for("Propose: Isolate a host");
    assert!(screen.contains("fin-ws-014") && screen.contains("host of this playbook"), "{screen}");
    assert!(screen.contains("playbook malware"), "{screen}");
    p.term.send("\u{13}");
    let screen = p.term.wait_for("isolate-host on fin-ws-014: PENDING");
    assert!(screen.contains("proposed; 1 other"), "{screen}");
    p.killed();

    // Nothing ran. Somebody else approves and runs it from the step.
    p.become_("bob", "Bob Kessler");
    p.go_to("Isolate the host");
    p.term.wait_for("isolate-host on fin-ws-014: PENDING");
    p.term.send("v");
    let screen = p.term.wait("the code", |s| s.lines().any(|l| l.trim_start().starts_with("type ")));
    assert!(screen.contains("playbook"), "who thought of it: {screen}");
    type_code(&mut p.term);
    p.term.wait_for("runs it, once");
    p.term.send("x");
    p.term.wait_for("RUN NOW?");
    type_code(&mut p.term);
    p.term.wait("done", |s| s.contains("REQUEST") && s.contains("it is done"));
    p.term.send("q");
    p.term.wait_for("isolate-host on fin-ws-014: DONE");
    p.become_("alice", "Alice Moreau");
    p.go_to("Isolate the host").done();

    // Bob has this one: alice takes it over, and says so.
    p.go_to("Keep memory").term.send("c");
    p.term.wait_for("bob has this step");
    p.term.send("\r");
    p.term.wait_for("yours now: ");
    p.attach(dir.path(), "memory.txt", "fin-ws-014.lime sha256 00");
    p.killed();
    p.go_to("Keep memory").done();
    p.at("Look for the same elsewhere").gives(&["n"]);
    p.at("Block file, addresses").says("s", "Skip: ", "blocked by the mail team, ticket 4471");
    p.at("Reset what it could have read").done();
    p.at("Rebuild the host");
    p.term.send("d");
    p.term.wait_for("not signed off yet by: lead");
    p.become_("bob", "Bob Kessler");
    p.sign("lead", None);
    p.become_("alice", "Alice Moreau");
    p.at("Rebuild the host").done();
    p.at("Watch it for a week").done();
    p.at("Write down what was learned").done();
    // Two files, and the receipts of the isolation.
    p.over(3);
}

#[test]
fn ransomware_is_played_to_the_end_and_the_payment_decided_by_commander_and_counsel() {
    let dir = tempfile::tempdir().unwrap();
    let mut p = Player::start(dir.path(), "ransomware", "Ransomware or destruction of data");
    p.at("Declare it and name a commander").done();
    p.at("Cut off every host").attach(dir.path(), "hosts.txt", "fin-ws-014 09:12");
    p.go_to("Save the backups").gives(&["2"]);
    p.killed();
    p.go_to("Cut off every host").gives(&["y"]);
    p.go_to("Keep what decides later").done();
    // It still spreads: once around.
    p.at("Cut the next ring").gives(&["n"]);
    p.at("How, how far").gives(&["n"]);
    p.at("Who depends on").gives(&["y"]);

    p.at("What counsel and the authorities say").term.send("d");
    p.term.wait_for("Done: ");
    p.term.send("1\r");
    p.term.wait_for("not signed off yet by: commander, legal");
    p.term.escape("no form", |s| !s.contains("\u{2500} Done: "));
    p.become_("carol", "Carol Duarte");
    p.sign("commander", None);
    // One person is one signature, in whatever role.
    p.term.send("S");
    p.term.wait_for("Sign: ");
    p.term.press("1counsel, by mail\r");
    p.term.wait_for("you have signed this step already");
    p.term.escape("no form", |s| !s.contains("\u{2500} Sign: "));
    p.become_("bob", "Bob Kessler");
    p.sign("legal", Some("H. Stein of counsel, mail of 14:02"));
    p.gives(&["1"]);

    // Clear of sanctions, backups partial: it is decided, by three people.
    p.at("Decide on the demand");
    p.sign("legal", Some("H. Stein of counsel, in the room"));
    p.become_("carol", "Carol Duarte");
    p.sign("commander", None);
    p.become_("alice", "Alice Moreau");
    p.sign("executive", Some("M. Halden, by telephone"));
    p.killed();
    p.gives(&["1"]);
    p.at("Refuse, and get ready");
    p.become_("carol", "Carol Duarte");
    p.sign("commander", None);
    p.become_("bob", "Bob Kessler");
    p.sign("legal", Some("H. Stein of counsel"));
    p.done();
    p.at("Rebuild in the order of the plan");
    p.become_("carol", "Carol Duarte");
    p.sign("commander", None);
    p.done();
    p.at("Watch for them").done();
    p.at("Write down what was learned").done();
    p.over(1);
    let run = p.status();
    let held = |name: &str| run["variables"][name]["value"].as_str().unwrap_or_default().to_owned();
    assert_eq!([held("__pay__"), held("__sanctioned__"), held("__backups__")], ["refuse", "clear", "partial"]);
    let signed = |key: &str| {
        let v = run["visits"].as_array().unwrap().iter().find(|v| v["key"] == key).unwrap();
        let mut all: Vec<(String, String)> = v["signed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| (s["role"].as_str().unwrap().to_owned(), s["by"].as_str().unwrap().to_owned()))
            .collect();
        all.sort();
        all
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(signed("decide"), [pair("commander", "carol"), pair("executive", "alice"), pair("legal", "bob")]);
}
