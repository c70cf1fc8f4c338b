//! Small makers for this room's unit tests.

use std::path::Path;

use super::catalogue::Catalogue;
use crate::model::action::{ActionDef, RequestBody, Suggested, Tier};
use crate::model::ids::{PersonId, RequestId};
use crate::model::person::{Person, Role};

pub fn def(executor: &str, more: &str) -> ActionDef {
    let text = format!(
        "[[actions]]\nname = \"act\"\ntitle = \"Act\"\ntier = \"T1\"\ntargets = {{ is = {{ type = \"host\" }} }}\n{more}\n\
         executor = {{ {executor} }}\n"
    );
    Catalogue::parse(Path::new("/c/actions.toml"), &text).unwrap().get("act").unwrap().clone()
}

pub fn person(id: &str, roles: &[Role]) -> Person {
    Person {
        id: PersonId::new(id).unwrap(),
        name: id.into(),
        os_users: vec![],
        uids: vec![],
        keys: vec![],
        roles: roles.to_vec(),
    }
}

pub fn body(targets: &[&str]) -> RequestBody {
    RequestBody {
        id: RequestId::new("01JTEST").unwrap(),
        action: "act".into(),
        tier: Tier::T1,
        targets: targets.iter().map(|t| (*t).to_owned()).collect(),
        params: Default::default(),
        commands: vec![],
        alerts: vec![],
        case: None,
        reason: "because".into(),
        suggested_by: Suggested::Person,
        requester: PersonId::new("alice").unwrap(),
        created: "2026-11-21T12:00:00Z".parse().unwrap(),
        approve_by: "2026-11-21T13:00:00Z".parse().unwrap(),
        execute_by: "2026-11-21T14:00:00Z".parse().unwrap(),
        approvals_needed: 1,
        policy_digest: "p".into(),
        action_digest: "a".into(),
        audit_head: "0:x".into(),
        undo: None,
        contains: false,
        replaces: None,
    }
}
