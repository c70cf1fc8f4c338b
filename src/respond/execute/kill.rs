//! Watching the kill switch while something runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Stop;
use crate::store::Store;

/// How often the switch is asked for. A run is gone well within a second of it.
pub const POLL: Duration = Duration::from_millis(200);

/// So many failed readings in a row count as the switch being on.
const BLIND: u32 = 5;

/// Watches until the guard is dropped. The first reading is made before this returns.
pub async fn watch_kill_switch(store: Arc<dyn Store>) -> (Stop, impl Drop) {
    let (tx, rx) = watch::channel(None);
    let mut blind = 0;
    if let Some(why) = look(&store, &mut blind).await {
        tx.send_replace(Some(why));
    }
    let task = tokio::spawn(async move {
        while tx.borrow().is_none() {
            tokio::time::sleep(POLL).await;
            if let Some(why) = look(&store, &mut blind).await {
                tx.send_replace(Some(why));
            }
        }
        // Whoever waits on it still may: the sender stays until the guard goes.
        std::future::pending::<()>().await;
    });
    (rx, Guard(task))
}

struct Guard(tokio::task::JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn look(store: &Arc<dyn Store>, blind: &mut u32) -> Option<String> {
    let store = store.clone();
    let read = tokio::task::spawn_blocking(move || store.kill_switch()).await;
    match read {
        Ok(Ok(None)) => {
            *blind = 0;
            None
        }
        Ok(Ok(Some((by, _)))) => Some(format!("the kill switch was set by {by}")),
        Ok(Err(e)) => {
            *blind += 1;
            (*blind >= BLIND).then(|| format!("the kill switch cannot be read: {e}"))
        }
        Err(e) => Some(format!("the kill switch cannot be read: {e}")),
    }
}
