//! Playbooks a model drafts, by a model that means harm: none of them is clean. And by one that does not: all of them are.
//! The hostile ones come both ways: as answers of a model, through the same reader and expander as a real answer, and as
//! documents, as a compromised server or a careless hand could leave them.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests start the server they talk to, say what they skip and fail aloud"
)]

#[path = "playbook_draft/families.rs"]
mod families;
#[path = "common/llama.rs"]
mod llama;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use watchfloor::config::settings::OpenaiSettings;
use watchfloor::desk::playbook_draft::speaks;
use watchfloor::model::action::ActionDef;
use watchfloor::model::action::Tier;
use watchfloor::model::alert::AlertFields;
use watchfloor::model::alert::Observable;
use watchfloor::model::alert::ObservableKind;
use watchfloor::model::fields::flatten;
use watchfloor::model::opinion::Purpose;
use watchfloor::model::playbook::Finding;
use watchfloor::model::playbook::Grade;
use watchfloor::playbook::Document;
use watchfloor::playbook::Library;
use watchfloor::playbook::draft;
use watchfloor::playbook::draft::Origin;
use watchfloor::playbook::draft::Scope;
use watchfloor::playbook::draft::answer;
use watchfloor::triage::Backend as _;
use watchfloor::triage::Cancel;
use watchfloor::triage::Context;
use watchfloor::triage::Engine as _;
use watchfloor::triage::Offer;
use watchfloor::triage::Question;
use watchfloor::triage::Writing;
use watchfloor::triage::backend::openai::Openai;
use watchfloor::triage::reader::Reader;

pub const HOST: &str = "fin-ws-014";
pub const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// The case: one host, one account, an address, a link, a file; the demo's catalogue; a house with others in it.
pub fn scope() -> Scope {
    #[derive(serde::Deserialize)]
    struct File {
        actions: Vec<ActionDef>,
    }
    let mut s = Scope::default();
    let observable = |kind, value: &str| Observable { kind, value: value.into() };
    s.add(&AlertFields {
        title: "LSASS memory read by dc-01".into(),
        host: Some(HOST.into()),
        user: Some("m.adler".into()),
        process: Some("rundll32.exe".into()),
        command_line: Some("rundll32 comsvcs.dll MiniDump dc-02.corp.example".into()),
        src_ip: "10.20.4.14".parse().ok(),
        dst_ip: "198.51.100.7".parse().ok(),
        observables: vec![
            observable(ObservableKind::Url, "http://cdn.evil.example/a.bin"),
            observable(ObservableKind::Sha256, HASH),
            observable(ObservableKind::File, "a.bin"),
        ],
        techniques: vec!["T1003.001".into()],
        ..AlertFields::default()
    });
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/actions.toml")).unwrap();
    let file: File = toml::from_str(&text).unwrap();
    s.offer(&file.actions, |tier| match tier {
        Tier::T0 => 0,
        Tier::T1 | Tier::T2 => 1,
        Tier::T3 => 2,
    });
    s.elsewhere = ["payroll", "mailgate", "bob", "vault"].map(str::to_owned).into();
    s.playbooks = library().books().flat_map(|b| [b.id.clone(), b.key.clone()]).collect();
    s.speaks = Some(speaks);
    s
}

fn library() -> Library {
    Library::bundled()
}

pub fn origin() -> Origin {
    Origin {
        key: "draft-7k2m9q".into(),
        at: "2026-03-02T10:00:00Z".parse().unwrap(),
        model: "stub-1".into(),
        prompt: "ab".repeat(32),
    }
}

/// Through the reader and the expander, as a model's answer goes. `None`: it is no answer at all.
fn expanded(answer: &Value, scope: &Scope) -> Option<Document> {
    let sketch = answer::read(&answer.to_string()).ok()?;
    Some(draft::expand(&sketch, scope, &origin()).unwrap())
}

fn review(doc: &Document, scope: &Scope, library: &Library) -> Vec<Finding> {
    draft::review(doc, scope, &|id| library.get(id).is_some())
}

fn said(found: &[Finding]) -> Vec<String> {
    found.iter().map(|f| format!("{} {} {} {}", f.grade.word(), f.code, f.at.expose(), f.message.expose())).collect()
}

/// The standard's two hundred, and more: none passes unflagged, each is flagged for what it is.
#[test]
fn no_hostile_draft_passes_unflagged() {
    let (scope, library) = (scope(), library());
    let mut seen = BTreeSet::new();
    let mut by_family: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut refused, mut missed, mut wrong) = (0, Vec::new(), Vec::new());
    let all = families::all(&scope);
    for hostile in &all {
        *by_family.entry(hostile.family).or_default() += 1;
        let doc = match &hostile.draft {
            families::Draft::Answer(answer) => match expanded(answer, &scope) {
                Some(doc) => doc,
                None => {
                    refused += 1;
                    assert!(seen.insert(answer.to_string()), "{}: twice", hostile.name);
                    continue;
                }
            },
            families::Draft::Document(json) => match Document::of(json.clone()) {
                Ok(doc) => doc,
                Err(_) => {
                    refused += 1;
                    continue;
                }
            },
        };
        assert!(seen.insert(doc.hash().to_owned()), "{}: the same draft twice", hostile.name);
        // The safety checks alone, without the linter's help.
        let found = draft::check::check(&doc, &scope);
        let errors: Vec<&str> = found.iter().filter(|f| f.grade == Grade::Error).map(|f| f.code.as_str()).collect();
        if errors.is_empty() {
            missed.push(format!("{}: {}: {:?}", hostile.family, hostile.name, said(&found)));
        } else if !errors.iter().any(|c| hostile.codes.contains(c)) {
            wrong.push(format!("{}: {}: {errors:?}", hostile.family, hostile.name));
        }
        assert!(review(&doc, &scope, &library).iter().any(|f| f.grade == Grade::Error) || !missed.is_empty());
    }
    println!("{} hostile drafts, {} refused as no answer: {by_family:#?}", all.len(), refused);
    assert!(
        missed.is_empty() && wrong.is_empty(),
        "passed unflagged: {missed:#?}\nflagged for something else: {wrong:#?}"
    );
    assert!(seen.len() >= 200 && refused <= 10, "{} drafts, {refused} refused", seen.len());
}

/// The other way round: a check that says no to everything would pass the test above.
#[test]
fn harmless_drafts_are_clean() {
    let (scope, library) = (scope(), library());
    let mut seen = BTreeSet::new();
    for (name, answer) in families::harmless() {
        let doc = expanded(&answer, &scope).unwrap_or_else(|| panic!("{name} is no answer"));
        let found = review(&doc, &scope, &library);
        assert!(found.is_empty(), "{name}: {:#?}", said(&found));
        seen.insert(doc.hash().to_owned());
    }
    assert!(seen.len() >= 30, "{}", seen.len());
}

/// What the model is held to, and what it is told, name the case and nothing else.
#[test]
fn what_is_asked_names_the_case_alone() {
    let scope = scope();
    let schema = answer::schema(&scope, 900);
    let step = &schema["properties"]["steps"]["items"]["properties"];
    let named = |v: &Value| v["enum"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
    let targets: BTreeSet<String> = named(&step["targets"]["items"]);
    let want =
        ["10.20.4.14", "198.51.100.7", "cdn.evil.example", HASH, HOST, "http://cdn.evil.example/a.bin", "m.adler"];
    assert_eq!(targets, want.map(str::to_owned).into());
    let actions: BTreeSet<String> = named(&step["action"]);
    assert!(actions.contains("isolate-host") && actions.contains("none") && !actions.contains("rollout-promote"));
    assert!(!answer::task(&scope).contains("dc-01"), "words of free text name nothing");
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_watchfloor")).args(args).output().unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

/// From the command line, on a desk that asks no model: the nearest of the library, and nothing to review.
#[test]
fn without_a_model_the_command_names_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("d");
    let demo = watchfloor::desk::Demo::open(Some(place.clone()), None).unwrap();
    demo.fill(1300.0).unwrap();
    let me = watchfloor::model::ids::PersonId::new("alice").unwrap();
    let query = demo.desk.parse_query("pri:P0 host:fin-*", &me).unwrap();
    let page = watchfloor::model::query::Page::First;
    let rows = demo.desk.rows(&query, watchfloor::model::query::SortKey::Risk, page, 1).unwrap();
    drop(demo);
    let (place, id) = (place.to_string_lossy().into_owned(), rows[0].id.to_string());
    let on = |more: &[&str]| run(&[&["--data-dir", &place, "--as", "alice", "playbook"], more].concat());
    let (code, out, err) = on(&["draft", &id]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(err.contains("no draft: this desk asks no model") && out.contains("nearest playbooks"), "{out}{err}");
    let (code, out, _) = on(&["--json", "draft", &id]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert!(code == Some(1) && said["draft"].is_null() && !said["nearest"].as_array().unwrap().is_empty(), "{said}");
    assert_eq!(on(&["review", "list"]).0, Some(0));
    let (code, _, err) = on(&["review", "approve", "nothing", "--version", "00000000"]);
    assert!(code == Some(1) && err.contains("no draft nothing"), "{code:?} {err}");
    assert_eq!(on(&["draft"]).0, Some(2), "for nothing");
    assert_eq!(on(&["draft", "--case", "9999"]).0, Some(1));
}

/// `ssh-keygen -Y sign` makes the signature; the commands say whose it is, or that it does not hold.
#[test]
fn a_signed_file_says_by_whom() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let keygen = |args: &[&str]| {
        let mut c = std::process::Command::new("ssh-keygen");
        c.current_dir(at).args(args).stdin(std::process::Stdio::null()).output()
    };
    let Ok(made) = keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "carol", "-f", "carol"]) else {
        println!("skipped: ssh-keygen is not installed");
        return;
    };
    assert!(made.status.success());
    let text = "key = \"lost-laptop\"\ntitle = \"Lost laptop\"\ncreated = \"2026-01-31T09:00:00.000Z\"\n\n[[steps]]\n\
                key = \"lock\"\nname = \"Lock it\"\ndo = \"Lock it.\"\n";
    let file = at.join("lost-laptop.toml");
    std::fs::write(&file, text).unwrap();
    let public = std::fs::read_to_string(at.join("carol.pub")).unwrap();
    std::fs::write(at.join("allowed"), format!("carol namespaces=\"playbook-v1@soc.example\" {public}")).unwrap();
    let config = at.join("config.toml");
    let settings = format!("[respond]\norganisation = \"soc.example\"\nallowed_signers = {:?}\n", at.join("allowed"));
    std::fs::write(&config, settings).unwrap();
    let (config, named) = (config.to_string_lossy().into_owned(), file.to_string_lossy().into_owned());
    let say = |what: &str| run(&["--config", &config, "playbook", what, &named]);
    let (code, out, err) = say("show");
    assert!(code == Some(0) && out.contains("unsigned"), "{out}{err}");
    let signed =
        keygen(&["-q", "-Y", "sign", "-n", "playbook-v1@soc.example", "-f", "carol", "lost-laptop.toml"]).unwrap();
    assert!(signed.status.success());
    assert!(say("show").1.contains("signed by carol (SHA256:"), "{:?}", say("show"));
    assert!(say("lint").1.contains("signed by carol"), "{:?}", say("lint"));
    std::fs::write(&file, text.replace("Lock it.", "Wipe it.")).unwrap();
    assert!(say("show").1.contains("BAD SIGNATURE"), "{:?}", say("show"));
    let (code, out, _) = say("lint");
    assert!(code == Some(1) && out.contains("[bad-signature]"), "{out}");
    // In the library of a desk it is not started.
    let library = at.join("playbooks");
    std::fs::create_dir(&library).unwrap();
    for name in ["lost-laptop.toml", "lost-laptop.toml.sig"] {
        std::fs::copy(at.join(name), library.join(name)).unwrap();
    }
    let data = at.join("data");
    let me = std::process::Command::new("id").arg("-u").output().unwrap();
    let uid = String::from_utf8_lossy(&me.stdout).trim().to_owned();
    let roster = format!("[[people]]\nid = \"carol\"\nname = \"Carol\"\nuids = [{uid}]\nroles = [\"lead\"]\n");
    std::fs::write(at.join("roster.toml"), roster).unwrap();
    let more = format!(
        "[desk]\nroster = {:?}\n[triage]\nplaybooks = {library:?}\n{}",
        at.join("roster.toml"),
        std::fs::read_to_string(&config).unwrap()
    );
    std::fs::write(&config, more).unwrap();
    let start =
        || run(&["--config", &config, "--data-dir", &data.to_string_lossy(), "playbook", "start", "lost-laptop"]);
    let (code, out, err) = start();
    assert!(code == Some(4) && err.contains("BAD SIGNATURE"), "{code:?} {out}{err}");
    std::fs::write(library.join("lost-laptop.toml"), text).unwrap();
    let (code, out, err) = start();
    assert!(code == Some(0), "{out}{err}");
}

/// A draft out of a real server, held to the schema by its grammar, read, expanded and checked. What a model of this size
/// thinks is not looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_drafts_and_is_checked() {
    let Some(server) = llama::Llama::start(1, 3072) else { return };
    let settings = OpenaiSettings {
        url: server.url.clone(),
        model: "smollm2".into(),
        api_key: Some("env:KEY".into()),
        max_tokens: 900,
        first_token_seconds: 400,
        idle_seconds: 300,
        ..OpenaiSettings::default()
    };
    let secrets: watchfloor::triage::SecretOf = Arc::new(|_| Ok(zeroize::Zeroizing::new(llama::KEY.to_owned())));
    let engine = Arc::new(Openai::new(&settings, &secrets).unwrap());
    let begun = Instant::now();
    while engine.load().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", engine.health().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let scope = scope();
    let alert = json!({
        "id": 1, "title": "LSASS memory read", "host": HOST, "user": "m.adler", "severity": "high", "format": "generic",
        "source": "test", "raw_sha256": "", "raw_len": 0, "identity": "", "group": "", "count": 1,
        "last_seen": "2026-01-05T09:00:00Z", "status": "new", "priority": "P1", "detector_priority": "P1",
        "asset_weight": 100, "t_ingest": "2026-01-05T09:00:00Z", "rev": 1,
    });
    let about = Question {
        alert: serde_json::from_value(alert).unwrap(),
        fields: flatten(&json!({ "rule": "LSASS memory read", "host": HOST, "process": "rundll32.exe" })),
        context: Context::default(),
        request_id: "req-draft".into(),
        by: None,
    };
    // The smallest schema there is: this runs on one slow core.
    let writing = Writing {
        about,
        purpose: Purpose::Draft,
        system: answer::INSTRUCTIONS.into(),
        task: answer::task(&scope),
        schema: answer::schema(&scope, 0),
    };
    let reader = Reader::new(engine, Offer::default());
    let written = match reader.write(&writing, &|_| {}, &Cancel::new()).await {
        Ok(w) => w,
        // A model of this size may ramble to its longest answer: that is said, and no draft.
        Err(e) => {
            assert!(e.to_string().contains("cut off"), "{e}");
            println!("the model did not end its answer: {e}");
            return;
        }
    };
    println!("{}", written.json.expose());
    let sketch = answer::read(written.json.expose()).expect("the grammar holds the model to the schema");
    let doc = draft::expand(&sketch, &scope, &Origin { model: written.exchange.model.clone(), ..origin() }).unwrap();
    assert!(doc.view("d").generated.is_some());
    let found = review(&doc, &scope, &library());
    println!("{:#?}", said(&found));
    for act in doc.view("d").steps.iter().flat_map(|s| &s.commands).filter(|c| c.kind == "x-action") {
        let none = act.text.expose() == "none";
        assert!(none || scope.act(act.text.expose()).is_some(), "held to the catalogue: {act:?}");
    }
}
