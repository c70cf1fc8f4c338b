//! The log for other programs.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use super::AuditError;
use crate::model::audit::AuditRecord;
use crate::text::to_safe_json;

/// The log's own bytes, which verify anywhere. Returns how many.
pub fn to_ndjson(log: &Path, out: &mut impl Write) -> Result<u64, AuditError> {
    let fail = |e: std::io::Error| AuditError::Unreadable { path: log.to_owned(), why: e.to_string() };
    match File::open(log) {
        Ok(f) => std::io::copy(&mut BufReader::new(f), out).map_err(fail),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(fail(e)),
    }
}

/// RFC 4180, one row per record, `body` as JSON with every invisible character escaped.
pub fn to_csv(records: &[AuditRecord], out: &mut impl Write) -> std::io::Result<()> {
    write!(out, "seq,at,by,kind,request_id,body,prev,hash\r\n")?;
    for r in records {
        let body = to_safe_json(&r.body).map_err(std::io::Error::other)?;
        let cells = [
            r.by.as_ref().map_or("", |p| p.as_str()),
            r.kind.as_str(),
            r.request_id.as_deref().unwrap_or(""),
            body.as_str(),
            r.prev.as_str(),
            r.hash.as_str(),
        ];
        write!(out, "{},{}", r.seq, r.at)?;
        for cell in cells {
            write!(out, ",{}", quoted(cell))?;
        }
        write!(out, "\r\n")?;
    }
    Ok(())
}

/// Quoted where CSV asks for it; a cell a spreadsheet would take for a formula gets a leading apostrophe.
fn quoted(cell: &str) -> String {
    let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if guard.is_empty() && !cell.contains(['"', ',', '\n', '\r']) {
        return cell.to_owned();
    }
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}
