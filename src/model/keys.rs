//! Identity key (the same alert again) and group key (the same story), both configurable.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::alert::AlertFields;

/// A part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyField {
    /// The id the source gave the record, or the SHA-256 of its bytes when it gave none.
    Record,
    Format,
    Title,
    Rule,
    Severity,
    Host,
    User,
    Process,
    SrcIp,
    DstIp,
    DstPort,
    /// The UTC day of `t_event`.
    Day,
    /// The UTC hour of `t_event`.
    Hour,
}

/// Which fields make each key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyPolicy {
    pub identity: Vec<KeyField>,
    pub group: Vec<KeyField>,
}

impl Default for KeyPolicy {
    /// Identity: the record itself, so that nothing is folded that the source did not send twice.
    /// Group: the same rule on the same host, user and source address.
    fn default() -> Self {
        Self {
            identity: vec![KeyField::Format, KeyField::Record],
            group: vec![KeyField::Rule, KeyField::Host, KeyField::User, KeyField::SrcIp],
        }
    }
}

impl KeyPolicy {
    pub fn identity(&self, format: &str, fields: &AlertFields, raw_sha256: &[u8; 32]) -> [u8; 16] {
        key(b"identity", &self.identity, format, fields, raw_sha256)
    }

    pub fn group(&self, format: &str, fields: &AlertFields, raw_sha256: &[u8; 32]) -> [u8; 16] {
        key(b"group", &self.group, format, fields, raw_sha256)
    }
}

fn key(domain: &[u8], parts: &[KeyField], format: &str, f: &AlertFields, raw: &[u8; 32]) -> [u8; 16] {
    let mut h = Sha256::new();
    let mut put = |tag: u8, bytes: &[u8]| {
        h.update([tag]);
        h.update((bytes.len() as u64).to_be_bytes());
        h.update(bytes);
    };
    put(0, domain);
    for part in parts {
        let tag = 1 + *part as u8;
        let text =
            |t: &Option<crate::text::Untrusted>| t.as_ref().map(|t| t.expose().to_lowercase()).unwrap_or_default();
        match part {
            KeyField::Record => match &f.source_id {
                Some(id) => put(tag, id.expose().as_bytes()),
                None => put(tag, raw),
            },
            KeyField::Format => put(tag, format.as_bytes()),
            KeyField::Title => put(tag, f.title.expose().as_bytes()),
            KeyField::Rule => {
                let rule = f.rule_id.as_ref().or(f.rule_name.as_ref()).unwrap_or(&f.title);
                put(tag, rule.expose().as_bytes());
            }
            KeyField::Severity => put(tag, &[f.severity as u8]),
            KeyField::Host => put(tag, text(&f.host).as_bytes()),
            KeyField::User => put(tag, text(&f.user).as_bytes()),
            KeyField::Process => put(tag, text(&f.process).as_bytes()),
            KeyField::SrcIp => put(tag, f.src_ip.map(|i| i.to_string()).unwrap_or_default().as_bytes()),
            KeyField::DstIp => put(tag, f.dst_ip.map(|i| i.to_string()).unwrap_or_default().as_bytes()),
            KeyField::DstPort => put(tag, &f.dst_port.unwrap_or(0).to_be_bytes()),
            KeyField::Day => put(tag, &bucket(f, 86_400)),
            KeyField::Hour => put(tag, &bucket(f, 3_600)),
        }
    }
    let digest = h.finalize();
    let mut out = [0; 16];
    out.copy_from_slice(&digest[..16]);
    out
}

fn bucket(f: &AlertFields, seconds: i64) -> [u8; 8] {
    f.t_event.or(f.t_alert).map_or(0, |t| t.as_second().div_euclid(seconds)).to_be_bytes()
}
