//! A desk of two people over real repositories.

use std::path::Path;
use std::sync::Arc;

use watchfloor::config::Settings;
use watchfloor::desk::{Desk, DeskError, DeskOptions, Known};
use watchfloor::model::action::{Draft, Request, Suggested};
use watchfloor::model::backup::AssetStatus;
use watchfloor::model::ids::PersonId;
use watchfloor::model::person::{Person, Role, Roster};
use watchfloor::respond::{Catalogue, Policy};

pub fn who(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

/// This person's, with `backups.toml` and `actions.toml` of the folder.
pub fn open(dir: &Path, me: &str) -> Desk {
    let person = |name: &str, roles: &[Role]| Person {
        id: who(name),
        name: name.into(),
        os_users: Vec::new(),
        uids: Vec::new(),
        keys: Vec::new(),
        roles: roles.to_vec(),
    };
    let mut settings = Settings::default();
    settings.operate.backups = Some(dir.join("backups.toml"));
    let people = vec![person("alice", &[Role::Analyst]), person("bob", &[Role::Lead, Role::Approver])];
    Desk::open(DeskOptions {
        data_dir: dir.join("data"),
        settings,
        roster: Roster { people },
        roster_file: None,
        me: Some(who(me)),
        read_only: false,
        exercise: None,
        catalogue: Catalogue::load(&dir.join("actions.toml")).unwrap(),
        policy: Policy::built_in(),
        secrets: Arc::new(|name| match name {
            "env:RESTIC" => Ok(super::restic::PASSWORD.into()),
            "env:OPENSEARCH" => Ok("admin".into()),
            other => Err(format!("{other} is not set")),
        }),
        assets: Arc::new(|_| 100),
        known: Known::default(),
        notices: Vec::new(),
    })
    .unwrap()
}

pub fn draft(action: &str, target: &str) -> Draft {
    Draft {
        action: action.into(),
        targets: vec![target.into()],
        params: Default::default(),
        alerts: Vec::new(),
        case: None,
        reason: "space".into(),
        suggested_by: Suggested::Person,
    }
}

pub fn approved(dir: &Path, request: &Request) {
    open(dir, "bob").approve(&who("bob"), &request.body.id, &request.digest).unwrap();
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(done: Result<T, DeskError>, why: &str) {
    match done {
        Err(DeskError::Refused(said)) => assert!(said.contains(why), "{said}"),
        other => panic!("{other:?}"),
    }
}

/// The one asset of the file, as it is read now.
pub async fn asset(desk: &Desk) -> AssetStatus {
    let mut read = desk.backups().await.unwrap();
    assert_eq!(read.assets.len(), 1);
    read.assets.remove(0)
}
