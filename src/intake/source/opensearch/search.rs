//! One search for a person, with the connection of a source: nothing is kept or followed.

use std::time::Duration;

use serde_json::Value;

use super::client::Client;
use super::fault::Fault;
use crate::config::settings::OpensearchSettings;
use crate::intake::source::SecretResolver;

/// Seconds one request may take.
const REQUEST: u64 = 20;
/// All of it, also looking the password up and asking again.
const WHOLE: Duration = Duration::from_secs(30);

/// Asks for `body["size"]` documents, and for fewer where the answer would be larger than `limit` bytes. Answers with the
/// server's own bytes, and with how many documents were asked for in the end.
///
/// # Errors
/// Why there is no answer.
pub async fn search(
    settings: &OpensearchSettings,
    resolver: &SecretResolver,
    indices: &[String],
    mut body: Value,
    limit: u64,
) -> Result<(Vec<u8>, u64), Fault> {
    let timeout_seconds = settings.timeout_seconds.min(REQUEST);
    let settings = OpensearchSettings { index: indices.join(","), timeout_seconds, ..settings.clone() };
    let asked = async {
        let client = Client::open(&settings, resolver).await?;
        let names: Vec<&str> = indices.iter().map(String::as_str).collect();
        let mut size = body["size"].as_u64().unwrap_or(0);
        loop {
            match client.search_partly(&names, body.clone(), limit).await {
                Ok(bytes) => return Ok((bytes, size)),
                Err(Fault::TooLarge(_)) if size > 1 => size = (size / 4).max(1),
                Err(fault) => return Err(fault),
            }
            body["size"] = size.into();
        }
    };
    tokio::time::timeout(WHOLE, asked).await.unwrap_or(Err(Fault::Timeout(WHOLE)))
}
