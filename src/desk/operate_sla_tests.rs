use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::config::Settings;
use crate::desk::DeskOptions;
use crate::model::person::Person;
use crate::model::person::Roster;
use crate::respond::Catalogue;
use crate::respond::Policy;

fn who(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

/// The desk of this person, over a folder that several share.
fn desk(dir: &TempDir, me: &str, agreement: &str) -> Arc<Desk> {
    let person = |name: &str, role| Person {
        id: who(name),
        name: name.into(),
        os_users: Vec::new(),
        uids: Vec::new(),
        keys: Vec::new(),
        roles: vec![role],
    };
    let mut settings = Settings::default();
    settings.operate.refresh_seconds = 5;
    settings.operate.sla = Some(dir.path().join("sla.toml"));
    std::fs::write(dir.path().join("sla.toml"), agreement).unwrap();
    let people = vec![
        person("alice", Role::Approver),
        person("bob", Role::Commander),
        person("dan", Role::Analyst),
        person("eve", Role::Auditor),
    ];
    let desk = Desk::open(DeskOptions {
        data_dir: dir.path().join("data"),
        settings,
        roster: Roster { people },
        roster_file: None,
        me: Some(who(me)),
        read_only: false,
        exercise: None,
        catalogue: Catalogue::default(),
        policy: Policy::built_in(),
        secrets: Arc::new(|name| Err(format!("{name}: no secrets here"))),
        assets: Arc::new(|_| 100),
        known: Default::default(),
        notices: Vec::new(),
    });
    Arc::new(desk.unwrap())
}

const ONE: &str = "[[services]]\nname = \"api\"\ntcp = \"127.0.0.1:1\"\n";

#[test]
fn an_exclusion_is_approved_by_somebody_else_who_may() {
    let dir = tempfile::tempdir().unwrap();
    let [alice, bob, dan] = ["alice", "bob", "dan"].map(|p| desk(&dir, p, ONE));
    let now = Timestamp::now();
    let hours = |n| now + SignedDuration::from_hours(n);
    let mut draft = ExclusionDraft {
        service: "api".into(),
        from: hours(24 * 8),
        until: hours(24 * 8 + 2),
        kind: ExclusionKind::Maintenance,
        reason: Untrusted::new("new switch"),
    };
    let e = alice.ask_exclusion(&who("alice"), &draft).unwrap();
    assert!(matches!(alice.approve_exclusion(&who("alice"), &e.id), Err(DeskError::Refused(_))));
    assert!(matches!(alice.approve_exclusion(&who("bob"), &e.id), Err(DeskError::Refused(_))), "you are not bob");
    assert!(matches!(dan.approve_exclusion(&who("dan"), &e.id), Err(DeskError::Refused(_))));
    assert!(!counts(&bob.exclusions().unwrap()[0]).0);
    let approved = bob.approve_exclusion(&who("bob"), &e.id).unwrap();
    assert!(counts(&approved).0, "{approved:?}");
    assert!(matches!(bob.approve_exclusion(&who("bob"), &e.id), Err(DeskError::No(_))), "once");
    let kinds: Vec<_> = bob.audit_records(&Default::default(), 9).unwrap().into_iter().map(|r| r.kind).collect();
    assert_eq!(kinds.iter().filter(|k| k.starts_with("sla.exclusion.")).count(), 2, "{kinds:?}");

    for (change, said) in [
        (&mut (|d: &mut ExclusionDraft| d.service = "apu".into()) as &mut dyn FnMut(&mut _), "did you mean api"),
        (&mut |d: &mut ExclusionDraft| d.reason = Untrusted::new(" "), "reason"),
        (&mut |d: &mut ExclusionDraft| d.until = d.from, "ends after"),
        (&mut |d: &mut ExclusionDraft| d.until = d.from + SignedDuration::from_hours(24 * 40), "31 days"),
    ] {
        let mut wrong = draft.clone();
        change(&mut wrong);
        let e = alice.ask_exclusion(&who("alice"), &wrong).unwrap_err().to_string();
        assert!(e.contains(said), "{e}");
    }
    // Too soon: it may be asked for and approved, and does not count.
    draft.from = hours(24);
    let e = alice.ask_exclusion(&who("alice"), &draft).unwrap();
    assert!(counts(&bob.approve_exclusion(&who("bob"), &e.id).unwrap()).1.contains("7 days"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_desk_probes_and_tells() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let up = listener.local_addr().unwrap();
    // Nobody is there, and no other test can get this port meanwhile.
    let down = "127.0.0.1:1";
    let text = format!(
        "[[services]]\nname = \"up\"\ntitle = \"Door\"\ntcp = \"{up}\"\ninterval_seconds = 5\n\
         [[services]]\nname = \"down\"\ntcp = \"{down}\"\ninterval_seconds = 5\npublic = false\n"
    );
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(&dir, "alice", &text);
    let live = desk.start_live(None).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(120);
    let months = loop {
        let months = desk.platform().sla.clone();
        if months.len() == 2 && months.iter().all(|m| m.uptime.is_some()) {
            break months;
        }
        assert!(std::time::Instant::now() < until, "{months:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    drop(live);
    let of = |name: &str| months.iter().find(|m| m.service == name).unwrap();
    assert_eq!((of("up").uptime, of("down").uptime), (Some(1.0), Some(0.0)));
    assert!(of("down").outages.iter().any(|o| o.known && o.detail.expose().contains("no connection")));
    // Nothing is known of the month before this desk was there: met by neither.
    assert_eq!(of("up").met, Tri::Unknown);
    assert!(desk.platform().sources.iter().any(|s| s.kind == "agreement" && s.state == SourceWord::Live));
    let report = desk.sla_report(None, Some("down")).unwrap();
    assert_eq!(report.months.len(), 1);
    assert!(report.markdown().contains("no connection"));
    let (page, html) = desk.status_page(Some("Ours")).unwrap();
    assert_eq!(page.services.len(), 1);
    assert!(
        html.contains("<h1>Ours</h1>") && html.contains("Door: operational") && !html.contains("127.0.0.1"),
        "{html}"
    );
    assert_eq!(desk.probe_once().await.unwrap().iter().filter(|(_, r)| r.up).count(), 1);
}

#[test]
fn a_broken_agreement_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(&dir, "alice", "[[services]]\nname = \"api\"\ntcp = \"h:1\"\ntarget = 0.995\n");
    let e = desk.sla_report(None, None).unwrap_err().to_string();
    assert!(e.contains("sla.toml:4:10") && e.contains("99.5"), "{e}");
}
