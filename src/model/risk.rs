//! Risk order: severity x asset x confidence x age.
//!
//! `risk = severity weight x (asset / 100) x (confidence / 100) x 2^(age / 24 h)`: what waits grows.
//! Because every alert grows at the same pace, the order of any two never changes with time, so the
//! store keeps `rank = log2(risk at age 0) - t_ingest / 24 h` in an index and never re-sorts.

use jiff::Timestamp;
use serde::Serialize;

use super::priority::Priority;

/// Seconds in which a waiting alert's risk doubles.
pub const DOUBLING_SECONDS: f64 = 86_400.0;
/// Confidence taken when the detector gave none, in percent.
pub const DEFAULT_CONFIDENCE: u8 = 75;

/// The factors of one alert's risk, for showing when asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Risk {
    pub severity: f64,
    pub asset: f64,
    pub confidence: f64,
    pub age: f64,
    pub score: f64,
}

/// The weight of a priority (the severity after any raise): each step is four times the next.
pub fn severity_weight(priority: Priority) -> f64 {
    match priority {
        Priority::P0 => 64.0,
        Priority::P1 => 16.0,
        Priority::P2 => 4.0,
        Priority::P3 => 1.0,
    }
}

fn base(priority: Priority, asset_weight: u16, confidence: Option<u8>) -> (f64, f64, f64) {
    let asset = f64::from(asset_weight.max(1)) / 100.0;
    let confidence = f64::from(confidence.unwrap_or(DEFAULT_CONFIDENCE).clamp(1, 100)) / 100.0;
    (severity_weight(priority), asset, confidence)
}

/// The sort key: higher is riskier. Independent of the present time.
pub fn rank(priority: Priority, asset_weight: u16, confidence: Option<u8>, t_ingest: Timestamp) -> f64 {
    let (s, a, c) = base(priority, asset_weight, confidence);
    (s * a * c).log2() - t_ingest.as_millisecond() as f64 / 1000.0 / DOUBLING_SECONDS
}

/// The same in words and numbers at `now`.
pub fn explain(
    priority: Priority,
    asset_weight: u16,
    confidence: Option<u8>,
    t_ingest: Timestamp,
    now: Timestamp,
) -> Risk {
    let (severity, asset, confidence) = base(priority, asset_weight, confidence);
    let waited = (now.as_millisecond() - t_ingest.as_millisecond()) as f64 / 1000.0;
    let age = (waited.max(0.0) / DOUBLING_SECONDS).exp2();
    Risk { severity, asset, confidence, age, score: severity * asset * confidence * age }
}
