use super::*;

#[test]
fn those_that_ship_are_whole() {
    let books = Playbooks::bundled();
    for b in books.all() {
        assert!(!b.title.is_empty() && (4..=12).contains(&b.steps.len()), "{b:#?}");
        assert!(b.steps.iter().all(|s| s.chars().count() < MAX_STEP), "{}: a step is too long", b.name);
        assert!(!b.techniques.is_empty() || !b.rules.is_empty(), "{}", b.name);
        for t in &b.techniques {
            assert!(crate::model::technique::lookup(t).is_some_and(|t| !t.old), "{}: {t}", b.name);
        }
        assert_eq!(books.get(&b.name), Some(b));
    }
    let fits = |t: &[&str], title: &str| {
        let t: Vec<String> = t.iter().map(|t| (*t).to_owned()).collect();
        books.matching(&t, &[], title).map(|b| b.name.as_str())
    };
    assert_eq!(fits(&["T1003.001"], "LSASS memory read"), Some("credential-theft"));
    assert_eq!(fits(&["T1486"], "x"), Some("ransomware"));
    assert_eq!(fits(&["T1566.001"], "x"), Some("phishing"));
    assert_eq!(fits(&["T1110.003"], "Failed password"), Some("brute-force"));
    assert_eq!(fits(&["T1071.001"], "x"), Some("c2-beacon"));
    assert_eq!(fits(&["T1505.003"], "x"), Some("web-shell"));
    assert_eq!(fits(&["T1041"], "x"), Some("data-theft"));
    assert_eq!(fits(&[], "sshd: brute force trying to get access"), Some("brute-force"));
    assert_eq!(fits(&[], "Disk nearly full"), None);
}

#[test]
fn a_folder_of_our_own_comes_first_and_replaces_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    put(
        "x.md",
        "---\nname: Ransomware\ntitle: Ours\nrules: [\"4711\", 'crypt*']\ntechniques:\n  - T1486\n---\n# no\n1. **Call** the `boss`.\n   - not a step\n2. Then act.\n",
    );
    put("plain.md", "## Playbook: Phishing\nSee T1566.002, t1204.\n* Look\n* Act\n");
    put("notes.txt", "not a playbook");
    put(
        "c.json",
        r#"{"type":"playbook","name":"Contain","external_references":[{"name":"x","url":"https://attack.mitre.org/techniques/T1003/001"}],
        "workflow_start":"s","workflow":{"s":{"type":"start","on_completion":"i"},"i":{"type":"if-condition","on_true":"a","on_false":"b"},
        "a":{"type":"action","name":"Isolate","on_completion":"b"},"b":{"type":"action","name":"Tell","on_completion":"s"},"z":{"type":"action","name":"Unreached"}}}"#,
    );
    let books = Playbooks::read(dir.path()).unwrap();
    let own = books.get("ransomware").unwrap();
    assert_eq!((own.title.as_str(), own.bundled), ("Ours", false));
    assert_eq!(own.steps, ["Call the boss.", "Then act."]);
    assert_eq!(
        (own.rules.clone(), own.techniques.clone()),
        (vec!["4711".into(), "crypt*".into()], vec!["T1486".into()])
    );
    assert_eq!(books.matching(&[], &["4711"], "").unwrap().name, "ransomware");
    assert_eq!(books.matching(&["T1566.002".into()], &[], "").unwrap().name, "plain", "ours before what ships");
    let plain = books.get("plain").unwrap();
    assert_eq!((plain.title.as_str(), plain.steps.len()), ("Phishing", 2));
    let cacao = books.get("c").unwrap();
    assert_eq!(
        (cacao.steps.clone(), cacao.techniques.clone()),
        (vec!["Isolate".into(), "Tell".into()], vec!["T1003.001".into()])
    );
    assert!(books.get("credential-theft").is_some_and(|b| b.bundled));
}

#[test]
fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.json"), "{}").unwrap();
    std::fs::write(dir.path().join("b.json"), "{").unwrap();
    std::fs::write(dir.path().join("c.md"), "---\nname: same\n---\n").unwrap();
    std::fs::write(dir.path().join("d.md"), "---\nname: same\n---\n").unwrap();
    let faults = Playbooks::read(dir.path()).unwrap_err();
    let said = faults.to_string();
    assert_eq!(faults.0.len(), 3, "{said}");
    assert!(said.contains("a.json: no CACAO playbook") && said.contains("b.json: no JSON"), "{said}");
    assert!(said.contains("d.md: a second playbook of the name \"same\""), "{said}");
    assert!(Playbooks::read(&dir.path().join("none")).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn names_are_safe_everywhere() {
    for (given, want) in [("Brute Force!", "brute-force"), ("--", "playbook"), ("../../x", "x"), ("Ä b", "b")] {
        assert_eq!(name_of(given), want);
    }
    assert!(name_of(&"x y".repeat(100)).len() <= MAX_NAME);
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_playbook(text in "\\PC{0,300}", lines in "(---\n|[a-z]{1,4}: [^\n]{0,9}\n|- x\n|1. y\n|# z\n){0,12}") {
        let _ = markdown("x", &text);
        let book = markdown("x", &lines);
        proptest::prop_assert!(!book.name.is_empty() && book.steps.len() <= MAX_STEPS);
        let _ = cacao("x", &text);
    }
}
