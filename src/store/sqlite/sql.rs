//! The functions our SQL calls. They are the same Rust that matches alerts in memory, and answer 0 for NULL, so that
//! `NOT` means what it says.

use std::sync::Arc;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use crate::model::alert::Observable;
use crate::model::query::{Glob, TextField, technique_is};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `wf_match(field, pattern, value)`, `wf_hex(field, pattern, bytes)`, `wf_obs(pattern, json)`,
/// `wf_tech(id, list)`, `wf_bit(set, id)`.
pub(super) fn add_functions(conn: &Connection) -> Result<()> {
    let pure = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    conn.create_scalar_function("wf_match", 3, pure, |ctx| {
        let glob = glob(ctx, 1)?;
        Ok(text(ctx.get_raw(2)).is_some_and(|v| field(ctx).value_matches(&glob, v)))
    })?;
    conn.create_scalar_function("wf_hex", 3, pure, |ctx| {
        let glob = glob(ctx, 1)?;
        Ok(ctx.get_raw(2).as_blob().is_ok_and(|v| field(ctx).value_matches(&glob, &hex::encode(v))))
    })?;
    conn.create_scalar_function("wf_obs", 2, pure, |ctx| {
        let glob = glob(ctx, 0)?;
        let Some(json) = text(ctx.get_raw(1)) else { return Ok(false) };
        let list: Vec<Observable> = serde_json::from_str(json).unwrap_or_default();
        Ok(list.iter().any(|o| TextField::Observable.value_matches(&glob, o.value.expose())))
    })?;
    conn.create_scalar_function("wf_tech", 2, pure, |ctx| {
        let (Some(want), Some(list)) = (text(ctx.get_raw(0)), text(ctx.get_raw(1))) else { return Ok(false) };
        Ok(list.split(',').any(|have| technique_is(have, want)))
    })?;
    conn.create_scalar_function("wf_bit", 2, pure, |ctx| {
        let (Ok(set), Ok(id)) = (ctx.get_raw(0).as_blob(), ctx.get_raw(1).as_i64()) else { return Ok(false) };
        let byte = usize::try_from(id >> 3).ok().and_then(|i| set.get(i));
        Ok(byte.is_some_and(|b| b >> (id & 7) & 1 == 1))
    })
}

fn text(v: ValueRef<'_>) -> Option<&str> {
    v.as_str().ok()
}

/// The compiled pattern, kept by SQLite for as long as the argument stays the same.
fn glob(ctx: &Context<'_>, arg: i32) -> Result<Arc<Glob>> {
    ctx.get_or_create_aux(arg, |v| -> std::result::Result<_, BoxError> { Ok(Glob::new(v.as_str()?)) })
}

const TEXT_FIELDS: [TextField; 11] = [
    TextField::Title,
    TextField::Rule,
    TextField::Host,
    TextField::User,
    TextField::Process,
    TextField::Format,
    TextField::Source,
    TextField::Product,
    TextField::Observable,
    TextField::Group,
    TextField::Identity,
];

/// How a field is named to `wf_match` and `wf_hex`.
pub(super) fn field_number(field: TextField) -> usize {
    TEXT_FIELDS.iter().position(|f| *f == field).unwrap_or(0)
}

fn field(ctx: &Context<'_>) -> TextField {
    let n = ctx.get_raw(0).as_i64().ok().and_then(|n| usize::try_from(n).ok());
    n.and_then(|n| TEXT_FIELDS.get(n).copied()).unwrap_or(TextField::Host)
}
