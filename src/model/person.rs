//! Who is who. People come from a roster file; the OS user comes from the kernel.

use serde::{Deserialize, Serialize};

use super::ids::PersonId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Analyst,
    Lead,
    Commander,
    Approver,
    Facilitator,
    Auditor,
}

impl Role {
    pub fn word(self) -> &'static str {
        match self {
            Self::Analyst => "analyst",
            Self::Lead => "lead",
            Self::Commander => "commander",
            Self::Approver => "approver",
            Self::Facilitator => "facilitator",
            Self::Auditor => "auditor",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    pub id: PersonId,
    /// As shown on screen.
    pub name: String,
    /// OS account names that are this person (looked up to uids by the kernel's own table).
    #[serde(default)]
    pub os_users: Vec<String>,
    /// OS uids that are this person.
    #[serde(default)]
    pub uids: Vec<u32>,
    /// SSH public keys or their fingerprints that are this person.
    #[serde(default)]
    pub keys: Vec<String>,
    #[serde(default)]
    pub roles: Vec<Role>,
}

impl Person {
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Reading only: an auditor without any working role.
    pub fn read_only(&self) -> bool {
        self.roles.is_empty() || self.roles.iter().all(|r| *r == Role::Auditor)
    }

    /// The role to show beside the name: the highest one held.
    pub fn main_role(&self) -> &'static str {
        const RANK: [Role; 6] =
            [Role::Commander, Role::Lead, Role::Approver, Role::Analyst, Role::Facilitator, Role::Auditor];
        RANK.into_iter().find(|r| self.has(*r)).map_or("guest", Role::word)
    }
}

/// The people of one desk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    pub people: Vec<Person>,
}

impl Roster {
    pub fn get(&self, id: &PersonId) -> Option<&Person> {
        self.people.iter().find(|p| p.id == *id)
    }

    pub fn by_uid(&self, uid: u32) -> Option<&Person> {
        self.people.iter().find(|p| p.uids.contains(&uid))
    }
}
