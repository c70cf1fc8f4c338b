//! Acting, with real servers and programs: the embedded store, the audit log on disk, real Ansible, a real HTTP server,
//! real processes killed with -9.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests start processes and say what they skip"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use watchfloor::audit::{self, Audit, AuditFilter};
use watchfloor::model::action::{Draft, Receipt, ReceiptState, Request, RequestState, Suggested};
use watchfloor::model::health::Tri;
use watchfloor::model::ids::{PersonId, RequestId};
use watchfloor::model::person::{Person, Role, Roster};
use watchfloor::model::slo::GateAnswer;
use watchfloor::respond::sign::SignerFiles;
use watchfloor::respond::{Catalogue, Clusters, Guards, Policy, RespondError, Responder, ResponderDeps};
use watchfloor::store::Store;
use watchfloor::store::sqlite::SqliteStore;

#[path = "common/cluster.rs"]
mod cluster;
mod common;

#[path = "respond/ansible.rs"]
mod ansible;
#[path = "respond/approvals.rs"]
mod approvals;
#[path = "respond/board.rs"]
mod board;
#[path = "respond/crash.rs"]
mod crash;
#[path = "respond/from_step.rs"]
mod from_step;
#[path = "respond/hostile.rs"]
mod hostile;
#[path = "respond/http.rs"]
mod http;
#[path = "respond/life.rs"]
mod life;
#[path = "respond/notify.rs"]
mod notify;
#[path = "respond/remote.rs"]
mod remote;
#[path = "respond/retry.rs"]
mod retry;
#[path = "respond/rollout.rs"]
mod rollout;
#[path = "respond/sign.rs"]
mod sign;
#[path = "respond/snapshot.rs"]
mod snapshot;
#[path = "respond/ssh.rs"]
mod ssh;

/// A desk on disk that several processes and connections can open.
struct Desk {
    dir: PathBuf,
    store: Arc<SqliteStore>,
    audit: Arc<Audit>,
    responder: Responder,
}

fn id(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

fn roster() -> Roster {
    let person = |name: &str, roles: &[Role]| Person {
        id: id(name),
        name: name.into(),
        os_users: vec![],
        uids: vec![],
        keys: vec![],
        roles: roles.to_vec(),
    };
    Roster {
        people: vec![
            person("alice", &[Role::Analyst]),
            person("bob", &[Role::Lead, Role::Approver]),
            person("carol", &[Role::Commander, Role::Approver]),
            person("dave", &[Role::Auditor]),
        ],
    }
}

/// Writes what is given and opens the desk.
fn desk(dir: &Path, actions: &str, policy: &str) -> Desk {
    fs::write(dir.join("actions.toml"), actions).unwrap();
    fs::write(dir.join("policy.toml"), policy).unwrap();
    open(dir)
}

fn open(dir: &Path) -> Desk {
    open_with(dir, no_clusters())
}

fn no_clusters() -> Clusters {
    Arc::new(|name| {
        let why = format!("there is no cluster {name:?}");
        Box::pin(async move { Err(why) })
    })
}

fn open_with(dir: &Path, clusters: Clusters) -> Desk {
    open_guarded(dir, clusters, Arc::new(|_, _, _, _| Default::default()))
}

/// What guards a change is asked when it is proposed, approved, and last of all before it is started.
fn open_guarded(dir: &Path, clusters: Clusters, guards: Guards) -> Desk {
    let store = Arc::new(SqliteStore::open(&dir.join("store.sqlite")).unwrap());
    let audit = Arc::new(Audit::open(&dir.join("audit")).unwrap());
    let responder = Responder::new(ResponderDeps {
        store: store.clone(),
        audit: audit.clone(),
        roster: Arc::new(roster()),
        roster_file: Some(dir.join("roster.toml")).filter(|p| p.exists()),
        catalogue: Catalogue::load(&dir.join("actions.toml")).unwrap().with_rollouts(),
        policy: Policy::load(&dir.join("policy.toml")).unwrap(),
        secrets: Arc::new(|reference| match reference {
            "keyring:soar" => Ok("s3cr3t-t0ken-0042".to_owned()),
            "env:OPENSEARCH" => Ok("admin".to_owned()),
            other => Err(format!("{other} is not set")),
        }),
        clusters,
        guards,
        run_dir: dir.join("run"),
        budgets: Arc::new(|class, _| GateAnswer {
            class,
            answer: Tri::Unknown,
            reasons: vec!["nothing is read here".into()],
        }),
        signers: signers(dir),
    });
    Desk { dir: dir.to_owned(), store, audit, responder }
}

/// Signatures are in use where a test wrote the file.
fn signers(dir: &Path) -> SignerFiles {
    let there = |name: &str| Some(dir.join(name)).filter(|p| p.exists());
    SignerFiles {
        organisation: "soc.example".into(),
        desk: "desk".into(),
        allowed: there("allowed_signers"),
        revoked: there("revoked_keys"),
    }
}

fn draft(action: &str, targets: &[&str], params: &[(&str, &str)]) -> Draft {
    Draft {
        action: action.into(),
        targets: targets.iter().map(|t| (*t).to_owned()).collect(),
        params: params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        alerts: vec![],
        case: None,
        reason: "it beacons".into(),
        suggested_by: Suggested::Person,
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

impl Desk {
    async fn propose(&self, d: Draft) -> Result<Request, RespondError> {
        self.responder.propose(&id("alice"), d, now()).await
    }

    /// Proposed by alice, approved by bob.
    async fn approved(&self, d: Draft) -> Request {
        let r = self.propose(d).await.unwrap();
        self.responder.approve(&id("bob"), &r.body.id, &r.digest, now()).unwrap()
    }

    async fn execute(&self, r: &Request) -> Result<Request, RespondError> {
        self.responder.execute(&id("alice"), &r.body.id, now()).await
    }

    fn state(&self, r: &Request) -> RequestState {
        self.store.request(&r.body.id).unwrap().unwrap().state
    }

    /// Kinds of the records of a request, in order.
    fn kinds(&self, r: &RequestId) -> Vec<String> {
        let f = AuditFilter::request(r.as_str());
        self.audit.records(&f, 100).unwrap().into_iter().map(|r| r.kind).collect()
    }

    fn verify(&self) {
        let report = audit::verify(&self.dir.join("audit"), None).unwrap();
        assert!(report.ok, "{report:?}");
    }
}

fn refused(r: Result<Request, RespondError>, why: &str) {
    match r {
        Err(RespondError::Refused(said)) => assert!(said.contains(why), "{said:?} does not say {why:?}"),
        other => panic!("not refused: {other:?}"),
    }
}

fn receipt<'a>(r: &'a Request, target: &str) -> &'a Receipt {
    r.receipts.iter().find(|x| x.target == target).unwrap()
}

fn states(r: &Request) -> Vec<ReceiptState> {
    r.receipts.iter().map(|x| x.state).collect()
}

const DEMO: &str = r#"
[[actions]]
name = "isolate"
title = "Isolate"
tier = "T2"
targets = { is = { type = "host" } }
executor = { kind = "demo", millis_per_target = 5, changes = "open -> closed" }

[[actions]]
name = "look"
title = "Look"
tier = "T0"
targets = { is = { type = "host" } }
executor = { kind = "demo" }

[[actions]]
name = "wipe"
title = "Wipe"
tier = "T3"
targets = { is = { type = "host" } }
executor = { kind = "demo", changes = "erased" }
"#;
