//! The desk's own events, from its store.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::model::slo::DeskSli;
use crate::operate::slo::series::Events;
use crate::operate::slo::series::Series;
use crate::operate::slo::series::Signal;
use crate::operate::slo::series::stamp;
use crate::store::Store;

/// Events after `from`, up to and with `until` (milliseconds), good within `threshold` seconds.
pub async fn read(store: &Arc<dyn Store>, sli: DeskSli, threshold: f64, from: i64, until: i64) -> Series {
    let store = Arc::clone(store);
    let task = tokio::task::spawn_blocking(move || {
        let within = SignedDuration::try_from_secs_f64(threshold).map_err(|e| format!("the threshold: {e}"))?;
        store.own_events(sli, within, stamp(from), stamp(until)).map_err(|e| e.to_string())
    });
    match task.await {
        Ok(Ok(counted)) => {
            let events = counted.iter().map(|c| Events { at: c.until.as_millisecond(), good: c.good, bad: c.bad });
            Series::new(Signal::Events(events.collect()), 60_000)
        }
        Ok(Err(why)) => Series::failed(why),
        Err(_) => Series::failed("the store could not be read"),
    }
}
