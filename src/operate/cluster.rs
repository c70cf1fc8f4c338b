//! Connections to the clusters of the settings.

use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::config::settings::KubernetesSettings;

/// With which identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// Needs get, list and watch.
    Reader,
    Writer,
}

/// Longest wait for a cluster where its settings say nothing.
const TIMEOUT: u64 = 20;

/// How long an answer of this cluster may take.
pub fn timeout(settings: &KubernetesSettings) -> Duration {
    Duration::from_secs(settings.timeout_seconds.unwrap_or(TIMEOUT))
}

/// A client for a cluster. Nothing is asked of the cluster yet. Calls are not timed by it (a watch lasts): callers time
/// them with [`timeout`].
///
/// # Errors
/// In words: no such context, a file that cannot be read, or, for the writer, no identity in the settings.
pub async fn connect(name: &str, settings: &KubernetesSettings, who: As) -> Result<kube::Client, String> {
    let (file, context) = match who {
        As::Reader => (settings.kubeconfig.as_ref(), settings.context.clone()),
        As::Writer => (settings.write_kubeconfig.as_ref(), settings.write_context.clone()),
    };
    if who == As::Writer && file.is_none() && context.is_none() {
        return Err(format!(
            "{name} can only be read: operate.kubernetes.{name} has no write_kubeconfig and no write_context"
        ));
    }
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    // A writer with a context of its own and no file of its own takes it from the reader's file.
    let mut config = match file.or(settings.kubeconfig.as_ref()) {
        Some(path) => {
            let read = Kubeconfig::read_from(path).map_err(|e| format!("{}: {e}", path.display()))?;
            kube::Config::from_custom_kubeconfig(read, &options)
                .await
                .map_err(|e| format!("{}: {e}", path.display()))?
        }
        None if options.context.is_some() => {
            kube::Config::from_kubeconfig(&options).await.map_err(|e| format!("{name}: {e}"))?
        }
        None => kube::Config::infer().await.map_err(|e| format!("{name}: no kubeconfig and no pod account: {e}"))?,
    };
    config.connect_timeout = Some(timeout(settings));
    kube::Client::try_from(config).map_err(|e| format!("{name}: {e}"))
}
