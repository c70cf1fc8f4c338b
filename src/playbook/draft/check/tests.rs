//! Sentences a draft may say and may not; whole documents are in `tests/playbook_draft.rs`.

use super::prose;
use super::prose::Place;
use super::*;
use crate::model::alert::AlertFields;
use crate::model::alert::Observable;
use crate::model::alert::ObservableKind;

fn scope() -> Scope {
    let mut s = Scope::default();
    let observable = |kind, value: &str| Observable { kind, value: value.into() };
    s.add(&AlertFields {
        host: Some("fin-ws-014".into()),
        user: Some("m.adler".into()),
        process: Some("powershell.exe".into()),
        src_ip: "198.51.100.7".parse().ok(),
        observables: vec![
            observable(ObservableKind::Url, "http://evil.example/a"),
            observable(ObservableKind::Sha256, &"ab".repeat(32)),
        ],
        techniques: vec!["T1059.001".into()],
        ..AlertFields::default()
    });
    s.elsewhere = ["payroll", "bob"].map(str::to_owned).into();
    s
}

fn codes(text: &str) -> Vec<String> {
    let mut out = Out { found: Vec::new() };
    prose::check(text, Place::text("/x"), &scope(), &mut out);
    out.found.into_iter().map(|f| format!("{}: {}", f.code, f.message.expose())).collect()
}

#[test]
fn every_pattern_is_one() {
    assert_eq!(prose::broken_patterns(), Vec::<&str>::new());
}

#[test]
fn ordinary_sentences_pass() {
    for text in [
        "Read the alert and note when it began.",
        "Check whether powershell.exe on fin-ws-014 was started by an Office program.",
        "List the processes that m.adler started in the hour before, with their parents.",
        "Search the proxy logs for 198.51.100.7 and evil.example over the last 7 days.",
        "Look for shadow copies that were deleted and for services that were disabled.",
        "Was the host already isolated?",
        "Should the account be disabled?",
        "Decide with the lead whether the host is to be isolated.",
        "Keep memory, running processes and connections; note the tool and its version.",
        "Do not reboot. Do not delete anything.",
        "Compare with T1059.001 and with what was seen in CVE-2024-3400.",
        "Hunt for the hash on all hosts, and record how many have it.",
        "Tell the owner of fin-ws-014 that somebody will call.",
        "Find out who the owner is, e.g. from the inventory.",
        "Write a timeline: what happened, when, and how it was noticed.",
        "Save the message as mail.eml and its hash as a text file.",
        "Event 4688 within 5 minutes, more than 3 times (> 3).",
        "Propose isolating the host once memory is kept.",
        "Message that asks for a password.",
        "Find out who gave their password, and when.",
        "Agree with the lead on who informs the customer.",
    ] {
        assert_eq!(codes(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn what_is_not_for_people_is_found() {
    for (text, code) in [
        ("List files | sort", "shell"),
        ("Look; rm it", "shell"),
        ("Save to > /tmp/x", "shell"),
        ("Check `id` first", "shell"),
        ("Check $(id) first", "shell"),
        ("Remove-Item on the folder", "shell"),
        ("Run curl on the address", "command-line"),
        ("Use powershell -enc now", "command-line"),
        ("net user m.adler /delete", "command-line"),
        ("Read aWV4IChuZXctb2JqZWN0IG5ldC53ZWJjbGllbnQp", "encoded"),
        ("Decode it and run it", "encoded"),
        ("Read \\x72\\x6d", "encoded"),
        ("Look at dc-01 too", "foreign-target"),
        ("Look at payroll too", "foreign-target"),
        ("Look at DB01 too", "foreign-target"),
        ("Ask eve@elsewhere.example", "foreign-target"),
        ("Open https://elsewhere.example/form", "foreign-target"),
        ("Open http://evil.example/a?d=1", "foreign-target"),
        ("Look at 10.0.0.0/8", "foreign-target"),
        ("Look at 192.0.2.1-254", "foreign-target"),
        ("Look at fin-ws-* hosts", "wildcard"),
        ("Delete the account.", "destructive"),
        ("Check the host and delete the files.", "destructive"),
        ("Ask the administrator to wipe it.", "destructive"),
        ("Have the account disabled.", "destructive"),
        ("Shut down the host.", "destructive"),
        ("Check it to isolate it.", "destructive"),
        ("Push the update to every workstation.", "blast-radius"),
        ("Apply it company-wide.", "blast-radius"),
        ("Do this without approval.", "bypass"),
        ("Approve the request yourself.", "bypass"),
        ("Do not tell the lead about it.", "bypass"),
        ("Clear the audit log.", "bypass"),
        ("The password is Winter2026!", "secret"),
        ("token=abcdef", "secret"),
        ("Paste your API key into the form.", "secret"),
        ("See <a href=x>", "markup"),
        ("See {{ 7 }}", "markup"),
        ("rea\u{200b}d it", "hidden-text"),
        ("\u{202e}ti daer", "hidden-text"),
        ("r\u{435}ad it", "unread-text"),
        ("\u{5ffd}\u{7565}", "unread-text"),
        ("d e l e t e it", "encoded"),
    ] {
        let found = codes(text);
        assert!(found.iter().any(|c| c.starts_with(code)), "{text}: {code} in {found:?}");
    }
}
