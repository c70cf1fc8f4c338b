//! Telling others, over real sockets.

use std::time::{Duration, Instant};

use serde_json::json;
use watchfloor::config::settings::NotifySettings;
use watchfloor::model::happening::Happening;
use watchfloor::respond::execute::Clock;
use watchfloor::respond::notify::{configured, deliver, outbox};

use super::retry::{Do, Scripted, scripted};
use super::*;

/// How long a receiver is waited for. Far longer than a slow machine needs for an answer.
const LIMIT: Duration = Duration::from_secs(10);

const SECRET: &str = "n0tify-s3cret-0815";

fn to(kind: &str, s: &Scripted) -> NotifySettings {
    NotifySettings {
        kind: kind.into(),
        url: Some(format!("http://127.0.0.1:{}/in", s.port)).filter(|_| kind != "slack"),
        secret: Some("keyring:notify".into()),
        project: "SOC".into(),
        timeout_seconds: LIMIT.as_secs(),
        ..NotifySettings::default()
    }
}

fn telling(d: &Desk, all: &[(&str, NotifySettings)]) -> deliver::Desk {
    telling_at(d, all, 0)
}

/// `slack`: the port of the address that is its secret.
fn telling_at(d: &Desk, all: &[(&str, NotifySettings)], slack: u16) -> deliver::Desk {
    let (notifiers, wrong) = configured(&all.iter().map(|(n, s)| ((*n).to_owned(), s.clone())).collect());
    assert_eq!(wrong, []);
    deliver::Desk {
        store: d.store.clone(),
        audit: d.audit.clone(),
        secrets: Arc::new(move |r| match r {
            "keyring:notify" if slack > 0 => Ok(format!("http://127.0.0.1:{slack}/{SECRET}")),
            "keyring:notify" => Ok(SECRET.to_owned()),
            other => Err(format!("{other} is not set")),
        }),
        name: "desk".into(),
        notifiers,
    }
}

fn clock() -> Clock {
    Clock::starting(now())
}

fn later(hours: i64) -> Clock {
    Clock::starting(now() + SignedDuration::from_hours(hours))
}

fn events(s: &Scripted) -> Vec<String> {
    let got = s.got.lock().unwrap();
    let event =
        |b: &String| serde_json::from_str::<serde_json::Value>(b).unwrap()["event"].as_str().unwrap().to_owned();
    got.iter().map(|(_, _, body)| event(body)).collect()
}

fn demo(dir: &Path) -> Desk {
    desk(dir, DEMO, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_request_is_told_in_order_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let d = demo(dir.path());
    let s = scripted(&[Do::Answer(204)]);
    let quiet = scripted(&[Do::Answer(200)]);
    let mut few = to("webhook", &quiet);
    few.events = vec!["failed".into(), "denied".into()];
    let t = telling(&d, &[("all", to("webhook", &s)), ("few", few)]);
    let old = d.approved(draft("isolate", &["web0"], &[])).await;
    assert_eq!(deliver::round(&t, clock()).await.unwrap(), 0, "what was before is history");
    let r = d.approved(draft("isolate", &["web1", "web2"], &[])).await;
    d.execute(&r).await.unwrap();
    // Read and queued; then the process dies before it tells anybody.
    assert_eq!(deliver::feed(&t, now()).unwrap(), 4);
    drop((t, d));
    let d = open(dir.path());
    let mut few = to("webhook", &quiet);
    few.events = vec!["failed".into(), "denied".into()];
    let t = telling(&d, &[("all", to("webhook", &s)), ("few", few)]);
    assert_eq!(deliver::round(&t, clock()).await.unwrap(), 4);
    assert_eq!(deliver::round(&t, clock()).await.unwrap(), 0);
    assert_eq!(events(&s), ["proposed", "approved", "started", "done"]);
    d.responder.deny(&id("bob"), &old.body.id, "no".into(), now()).unwrap();
    assert_eq!(deliver::round(&t, clock()).await.unwrap(), 2);
    assert_eq!(events(&quiet), ["denied"]);
    let got = s.got.lock().unwrap().clone();
    let mut keys: Vec<&str> = got.iter().map(|(_, h, _)| super::retry::header(h, "idempotency-key")).collect();
    keys.dedup();
    assert_eq!(keys.len(), 5, "each has its own key");
    for (_, head, body) in &got {
        let at = super::retry::header(head, "x-watchfloor-timestamp");
        let Some(hex) = super::retry::openssl_hmac(SECRET, &format!("{at}.{body}")) else { continue };
        assert_eq!(super::retry::header(head, "x-watchfloor-signature"), format!("sha256={hex}"));
        assert!(!body.contains(SECRET));
    }
    let done: serde_json::Value = serde_json::from_str(&got[3].2).unwrap();
    assert_eq!((&done["request"], &done["tier"]), (&json!(r.body.id), &json!("T2")));
    assert!(done["text"].as_str().unwrap().starts_with("web1: done"), "{done}");
    d.verify();
}

/// A receiver that never answers: nobody who decides or acts waits for it, and others are told.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let d = demo(dir.path());
    let (hangs, well) = (scripted(&[Do::Silence]), scripted(&[Do::Answer(200)]));
    let t = telling(&d, &[("hangs", to("webhook", &hangs)), ("well", to("webhook", &well))]);
    deliver::feed(&t, now()).unwrap();
    let time = async |n: usize| {
        let mut all = Vec::new();
        for i in 0..n {
            let r = d.propose(draft("isolate", &[&format!("web{i}")], &[])).await.unwrap();
            let before = Instant::now();
            d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()).unwrap();
            all.push(before.elapsed());
        }
        all.sort();
        all[n / 2]
    };
    let alone = time(15).await;
    let telling = t.clone();
    let background = tokio::spawn(async move {
        loop {
            let _ = deliver::round(&telling, clock()).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    super::ansible::until("it hangs", || !hangs.got.lock().unwrap().is_empty()).await;
    let beside = time(15).await;
    println!("an approval takes {alone:?}, and {beside:?} beside a receiver that hangs");
    assert!(beside < LIMIT / 2, "{beside:?} against {alone:?}");
    super::ansible::until("the other one heard", || well.got.lock().unwrap().len() >= 30).await;
    background.abort();
    let state = outbox::state(&*d.store, "hangs").unwrap();
    assert_eq!(state.sent, 0);
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_arrives_is_a_dead_letter_and_can_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let d = demo(dir.path());
    let mut script = vec![Do::Answer(503); usize::try_from(deliver::TRIES).unwrap()];
    script.extend([Do::Answer(400), Do::Answer(200)]);
    let s = scripted(&script);
    let t = telling(&d, &[("hook", to("webhook", &s))]);
    deliver::feed(&t, now()).unwrap();
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    let before = now();
    assert_eq!(deliver::round(&t, Clock::starting(before)).await.unwrap(), 0);
    // However long that took: for this round no time has passed.
    assert_eq!(deliver::round(&t, Clock::starting(before)).await.unwrap(), 0);
    assert_eq!(s.got.lock().unwrap().len(), 1, "it waits before the next try");
    for hour in 1..i64::from(deliver::TRIES) {
        deliver::round(&t, later(hour)).await.unwrap();
    }
    assert_eq!(outbox::waiting(&*d.store, "hook", 10).unwrap(), []);
    let dead = outbox::dead_letters(&*d.store, "hook", 10).unwrap();
    assert_eq!((dead.len(), dead[0].1.tries), (1, deliver::TRIES));
    assert!(dead[0].1.last.starts_with("503"), "{dead:?}");
    // What the receiver will never take is not tried again, and does not stand in the way.
    d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()).unwrap();
    deliver::round(&t, later(15)).await.unwrap();
    assert_eq!(outbox::dead_letters(&*d.store, "hook", 10).unwrap().len(), 2);
    assert_eq!(outbox::revive(&*d.store, "hook", now()).unwrap(), 2);
    assert_eq!(deliver::round(&t, later(16)).await.unwrap(), 2);
    let state = outbox::state(&*d.store, "hook").unwrap();
    assert_eq!((state.sent, state.failing, state.dead), (2, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_glass_is_told_first_to_everybody_even_where_nothing_arrived() {
    let dir = tempfile::tempdir().unwrap();
    let d = demo(dir.path());
    let s = scripted(&[Do::Answer(500), Do::Answer(200)]);
    let mut deaf = to("webhook", &s);
    deaf.events = vec!["proposed".into()];
    let t = telling(&d, &[("hook", deaf)]);
    deliver::feed(&t, now()).unwrap();
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    let before = now();
    deliver::round(&t, Clock::starting(before)).await.unwrap();
    let glass = json!({ "digest": r.digest, "reason": "it burns" });
    d.audit.append(Some(&id("carol")), "action.glass", Some(r.body.id.as_str()), glass, now()).unwrap();
    // However long that took: for this round no time has passed.
    assert_eq!(deliver::round(&t, Clock::starting(before)).await.unwrap(), 1, "the pause is not for this");
    assert_eq!(events(&s), ["proposed", "break-glass"]);
    assert_eq!(deliver::round(&t, later(1)).await.unwrap(), 1);
}

/// Every kind over the wire: the secret is where the vendor wants it and nowhere else, and later bulletins go to what
/// the first one made.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_arrives() {
    for kind in ["webhook", "slack", "pagerduty", "opsgenie", "servicenow", "jira"] {
        let dir = tempfile::tempdir().unwrap();
        let d = demo(dir.path());
        let id_ = "0123456789abcdef0123456789abcdef";
        let made = json!({ "key": "SOC-7", "result": { "sys_id": id_ } }).to_string();
        let s = super::retry::scripted_with(&[Do::Answer(201)], &made);
        let mut settings = to(kind, &s);
        settings.username = Some("soc@example".into()).filter(|_| kind == "jira");
        let t = telling_at(&d, &[("x", settings)], if kind == "slack" { s.port } else { 0 });
        deliver::feed(&t, now()).unwrap();
        let r = d.approved(draft("isolate", &["web1"], &[])).await;
        d.execute(&r).await.unwrap();
        assert_eq!(deliver::round(&t, clock()).await.unwrap(), 4, "{kind}");
        let got = s.got.lock().unwrap().clone();
        let lines: Vec<&str> = got.iter().map(|(_, h, _)| h.lines().next().unwrap()).collect();
        let body = |i: usize| serde_json::from_str::<serde_json::Value>(&got[i].2).unwrap();
        let auth = got[0].1.lines().find_map(|l| l.strip_prefix("authorization: ")).unwrap_or_default();
        match kind {
            "webhook" => assert_eq!(lines[3], "POST /in HTTP/1.1"),
            "slack" => assert_eq!(lines[0], format!("POST /{SECRET} HTTP/1.1")),
            "pagerduty" => {
                assert_eq!(
                    (body(0)["routing_key"].as_str(), body(3)["event_action"].as_str()),
                    (Some(SECRET), Some("resolve"))
                );
            }
            "opsgenie" => {
                assert_eq!(auth, format!("GenieKey {SECRET}"));
                assert_eq!(lines[0], "POST /in/v2/alerts HTTP/1.1");
                let close = format!("POST /in/v2/alerts/desk%2F{}/close?identifierType=alias HTTP/1.1", r.body.id);
                assert_eq!(lines[3], close);
            }
            "servicenow" => {
                assert_eq!(auth, format!("Bearer {SECRET}"));
                assert_eq!(lines[0], "POST /in/api/now/table/incident HTTP/1.1");
                assert_eq!(lines[3], format!("PATCH /in/api/now/table/incident/{id_} HTTP/1.1"));
            }
            _ => {
                // soc@example:n0tify-s3cret-0815
                assert_eq!(auth, "Basic c29jQGV4YW1wbGU6bjB0aWZ5LXMzY3JldC0wODE1");
                assert_eq!(lines[0], "POST /in/rest/api/3/issue HTTP/1.1");
                assert_eq!(lines[3], "POST /in/rest/api/3/issue/SOC-7/comment HTTP/1.1");
            }
        }
        drop((t, d));
        for file in super::http::walk(dir.path()) {
            let bytes = fs::read(&file).unwrap();
            assert!(memchr::memmem::find(&bytes, SECRET.as_bytes()).is_none(), "{kind}: {file:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_has_an_end_and_keeps_what_is_urgent() {
    let dir = tempfile::tempdir().unwrap();
    let d = demo(dir.path());
    let s = scripted(&[Do::Answer(200)]);
    let t = telling(&d, &[("hook", to("webhook", &s))]);
    deliver::feed(&t, now()).unwrap();
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    deliver::feed(&t, now()).unwrap();
    let one = outbox::waiting(&*d.store, "hook", 10).unwrap().remove(0).1.bulletin;
    assert_eq!(one.request, Some(r.body.id));
    let mut glass = one.clone();
    glass.what = Happening::BreakGlass;
    outbox::put(&*d.store, "hook", 0, &glass, now()).unwrap();
    // As many as there is room for, written as the store has them.
    let (doc, _) = outbox::waiting(&*d.store, "hook", 10).unwrap().pop().unwrap();
    for n in 0..outbox::QUEUE - 2 {
        d.store.put_doc(&doc.kind, &format!("1-{:020}", 1_000_000 + n), &doc.body, 0, now()).unwrap();
    }
    outbox::put(&*d.store, "hook", 5_000_000, &one, now()).unwrap();
    let all = outbox::waiting(&*d.store, "hook", outbox::QUEUE * 2).unwrap();
    assert_eq!(all.len(), outbox::QUEUE);
    assert_eq!(all[0].1.bulletin.what, Happening::BreakGlass);
    assert_eq!(outbox::state(&*d.store, "hook").unwrap().dropped, 1);
}
