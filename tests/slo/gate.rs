//! What budgets hold, with objectives measured on a real Prometheus: `slo gate`, approval and start by the desk, and the
//! approval key of the console. And what `slo lint --live` says of buckets that are not there.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use watchfloor::config::Settings;
use watchfloor::config::settings::PrometheusSettings;
use watchfloor::console::shot;
use watchfloor::desk::{Desk, DeskError, DeskOptions, Known};
use watchfloor::model::action::{Draft, Request, RequestState, Suggested};
use watchfloor::model::ids::PersonId;
use watchfloor::model::person::{Person, Role, Roster};
use watchfloor::respond::{Catalogue, Policy};

use super::{Server, run, this_minute};

/// Share of bad events of each service; 1 % may be.
const SERVICES: [(&str, f64); 3] = [("calm", 0.002), ("worn", 0.008), ("over", 0.012)];

/// A day of each, into the next minutes; a metric of `gone` never was. And a histogram.
fn metrics() -> String {
    let end = this_minute() + 1_800;
    let mut text = String::from("# TYPE http_requests counter\n");
    for (service, share) in SERVICES {
        for (code, per_minute) in [("200", 1_000.0 * (1.0 - share)), ("503", 1_000.0 * share)] {
            for i in 0..1_500 {
                let at = end - (1_499 - i) * 60;
                let n = per_minute * i as f64;
                writeln!(text, "http_requests_total{{service=\"{service}\",code=\"{code}\"}} {n} {at}").unwrap();
            }
        }
    }
    text.push_str("# TYPE took histogram\n");
    for le in ["0.1", "0.25", "0.5", "1.0", "+Inf"] {
        writeln!(text, "took_bucket{{le=\"{le}\"}} 5 {}", end - 900).unwrap();
    }
    text + "# EOF\n"
}

fn objectives(dir: &Path) {
    std::fs::create_dir_all(dir.join("slos")).unwrap();
    let mut text = String::new();
    for service in ["calm", "worn", "over", "gone"] {
        writeln!(
            text,
            "[[slo]]\nservice = \"{service}\"\nname = \"answers\"\ntarget = \"99%\"\nwindow = \"1d\"\n\
             bad = 'http_requests_total{{service=\"{service}\",code=\"503\"}}'\n\
             total = 'http_requests_total{{service=\"{service}\"}}'"
        )
        .unwrap();
    }
    std::fs::write(dir.join("slos/all.toml"), text).unwrap();
}

fn id(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

/// Actions `SERVICE-CLASS`, each held by the budget of that service for a change of that class.
fn rules(dir: &Path) -> (Catalogue, Policy) {
    let (mut actions, mut policy) = (String::new(), String::new());
    for service in ["calm", "worn", "over", "gone"] {
        for class in ["normal", "critical", "emergency"] {
            let name = format!("{service}-{class}");
            writeln!(
                actions,
                "[[actions]]\nname = \"{name}\"\ntitle = \"Change\"\ntier = \"T1\"\ntargets = {{ is = {{ type = \"host\" }} }}\n\
                 executor = {{ kind = \"demo\" }}"
            )
            .unwrap();
            writeln!(policy, "[[budget]]\nactions = [\"{name}\"]\nslos = [\"{service}/*\"]\nclass = \"{class}\"")
                .unwrap();
        }
    }
    std::fs::write(dir.join("actions.toml"), actions).unwrap();
    std::fs::write(dir.join("policy.toml"), policy).unwrap();
    (Catalogue::load(&dir.join("actions.toml")).unwrap(), Policy::load(&dir.join("policy.toml")).unwrap())
}

/// The desk at the terminal of one person.
pub fn open(dir: &Path, url: &str, me: &str) -> Arc<Desk> {
    let person = |name: &str, roles: &[Role]| Person {
        id: id(name),
        name: name.into(),
        os_users: Vec::new(),
        uids: Vec::new(),
        keys: Vec::new(),
        roles: roles.to_vec(),
    };
    let mut settings = Settings::default();
    settings.operate.slos = Some(dir.join("slos"));
    let server = PrometheusSettings { url: url.into(), ..PrometheusSettings::default() };
    settings.operate.prometheus.insert("main".into(), server);
    let (catalogue, policy) = rules(dir);
    let desk = Desk::open(DeskOptions {
        data_dir: dir.join("people"),
        settings,
        roster: Roster {
            people: vec![
                person("alice", &[Role::Analyst]),
                person("bob", &[Role::Lead, Role::Approver]),
                person("carol", &[Role::Commander, Role::Approver]),
            ],
        },
        roster_file: None,
        me: Some(id(me)),
        read_only: false,
        exercise: None,
        catalogue,
        policy,
        secrets: Arc::new(|_| Err("no secrets".into())),
        assets: Arc::new(|_| 100),
        known: Known::default(),
        notices: Vec::new(),
    });
    Arc::new(desk.unwrap())
}

fn propose(runtime: &tokio::runtime::Runtime, alice: &Desk, action: &str) -> Request {
    let draft = Draft {
        action: action.into(),
        targets: vec!["web1".into()],
        params: Default::default(),
        alerts: vec![],
        case: None,
        reason: "a change".into(),
        suggested_by: Suggested::Person,
    };
    runtime.block_on(alice.propose(&id("alice"), draft)).unwrap()
}

fn on_screen(state: &watchfloor::console::state::State) -> String {
    let buffer = shot::buffer(state);
    let width = usize::from(buffer.area.width);
    let lines = buffer.content.chunks(width).map(|row| row.iter().map(|c| c.symbol()).collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

/// Presses `y` on the newest request in the console of this desk.
fn press_approve(desk: &Arc<Desk>) -> String {
    let state = shot::state(desk, 160, 45, "3 enter").unwrap();
    // Nothing counts until the screen was there for a while.
    std::thread::sleep(Duration::from_millis(900));
    on_screen(&shot::play(desk, state, &shot::script("y").unwrap()).unwrap())
}

const GATES: [(&str, &str, i32); 9] = [
    ("calm/*", "normal", 0),
    ("worn/*", "normal", 1),
    ("worn/*", "critical", 0),
    ("over/*", "normal", 1),
    ("over/*", "critical", 1),
    ("over/*", "emergency", 0),
    ("gone/*", "normal", 1),
    ("gone/*", "emergency", 1),
    ("nothing/*", "emergency", 1),
];

#[test]
fn budgets_hold_the_command_and_the_approval_key() {
    let Some(server) = Server::start(&metrics()) else { return };
    let dir = tempfile::tempdir().unwrap();
    objectives(dir.path());
    let config = format!("[operate.prometheus.main]\nurl = \"{}\"\n", server.url);
    std::fs::write(dir.path().join("config.toml"), config).unwrap();
    for (slo, class, expected) in GATES {
        let (code, said) = run(dir.path(), &["slo", "gate", "--class", class, "--slo", slo]);
        assert_eq!(code, expected, "{slo} {class}: {said}");
        let word = match (slo, expected) {
            (_, 0) => "may go ahead",
            ("worn/*", _) => "worn/answers: 80.0 % of the budget spent, freeze from 75 %: no normal changes",
            ("over/*", _) => "over/answers: 120.0 % of the budget spent, emergency freeze from 100 %",
            ("gone/*", _) => "gone/answers: absent: no series answers the query",
            _ => "there are no objectives",
        };
        assert!(said.contains(word), "{slo} {class}: {said}");
    }
    let (code, said) = run(dir.path(), &["slo", "gate", "--class", "emergency"]);
    assert!(code == 1 && said.contains("(unknown)"), "one that is not known holds all of them together: {said}");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|me| open(dir.path(), &server.url, me));
    let early = propose(&runtime, &alice, "calm-normal");
    assert!(bob.approve(&id("bob"), &early.body.id, &early.digest).is_err(), "nothing was measured yet");
    alice.withdraw(&id("alice"), &early.body.id).unwrap();
    for desk in [&bob, &carol] {
        runtime.block_on(desk.refresh_slos()).unwrap();
    }
    for (slo, class, expected) in GATES.into_iter().filter(|(slo, ..)| *slo != "nothing/*") {
        let request = propose(&runtime, &alice, &slo.replace("/*", &format!("-{class}")));
        let said = bob.approve(&id("bob"), &request.body.id, &request.digest);
        match (expected, said) {
            (0, said) => assert_eq!(said.unwrap().state, RequestState::Approved, "{slo} {class}"),
            (_, Err(DeskError::Refused(why))) => {
                assert!(why.contains("error budget"), "{slo} {class}: {why}");
                alice.withdraw(&id("alice"), &request.body.id).unwrap();
            }
            (_, other) => panic!("{slo} {class}: {other:?}"),
        }
    }
    keys(&runtime, &alice, &bob);
    set_aside(&runtime, &alice, &carol);
    let watching = open(dir.path(), &server.url, "bob");
    drop(server);
    let lost = propose(&runtime, &alice, "calm-emergency");
    runtime.block_on(watching.know_budgets());
    let why = watching.approve(&id("bob"), &lost.body.id, &lost.digest).unwrap_err().to_string();
    assert!(why.contains("not known") && why.contains("could not be asked"), "the server is gone: {why}");
}

/// The key on the approval screen meets the same budgets.
fn keys(runtime: &tokio::runtime::Runtime, alice: &Desk, bob: &Arc<Desk>) {
    for (action, says, state) in [
        ("worn-normal", "the error budget is closed for normal changes", RequestState::Pending),
        ("gone-normal", "the error budget is not known for normal changes", RequestState::Pending),
        ("worn-critical", "", RequestState::Approved),
    ] {
        let request = propose(runtime, alice, action);
        let screen = press_approve(bob);
        assert!(screen.contains(says), "{action}:\n{screen}");
        assert_eq!(bob.request(&request.body.id).unwrap().unwrap().state, state, "{action}:\n{screen}");
        // Out of the way of the next one, which is then the newest.
        if state == RequestState::Pending {
            alice.withdraw(&id("alice"), &request.body.id).unwrap();
        }
    }
}

/// A commander may set a closed budget aside, with a reason, on the record.
fn set_aside(runtime: &tokio::runtime::Runtime, alice: &Desk, carol: &Desk) {
    let request = propose(runtime, alice, "over-normal");
    let over = |reason: &str| carol.approve_over_budget(&id("carol"), &request.body.id, &request.digest, reason.into());
    assert!(over("  ").is_err(), "without a reason");
    assert_eq!(over("the fix for the burn itself").unwrap().state, RequestState::Approved);
    let records =
        carol.audit_records(&watchfloor::desk::audit::AuditFilter::request(request.body.id.as_str()), 10).unwrap();
    let record = records.iter().find(|r| r.kind == "budget.override").expect("on the record");
    let body = record.body.to_string();
    assert!(body.contains("the fix for the burn itself") && body.contains("120.0 %"), "{body}");
}

#[test]
fn a_threshold_that_is_no_bucket_of_the_server_is_offered_its_neighbours() {
    let Some(server) = Server::start(&metrics()) else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("slos")).unwrap();
    let config = format!("[operate.prometheus.main]\nurl = \"{}\"\n", server.url);
    std::fs::write(dir.path().join("config.toml"), config).unwrap();
    let lint = |metric: &str, le: &str| {
        let text = format!(
            "[[slo]]\nservice='x'\nname='fast'\ntarget='99%'\nwindow='30d'\ngood='{metric}{{le=\"{le}\"}}'\ntotal='took_count'\n"
        );
        std::fs::write(dir.path().join("slos/a.toml"), text).unwrap();
        run(dir.path(), &["slo", "lint", "--live"])
    };
    let (code, said) = lint("took_bucket", "0.4");
    assert!(code == 1 && said.contains("0.4 is no bucket of took_bucket; the nearest are 0.25 and 0.5"), "{said}");
    // Written otherwise, the same number.
    assert_eq!(lint("took_bucket", "1").0, 0);
    let (code, said) = lint("other_bucket", "1");
    assert!(code == 1 && said.contains("the server knows no bucket of other_bucket"), "{said}");
    drop(server);
    assert_eq!(lint("took_bucket", "0.5").0, 3, "nobody to ask");
}
