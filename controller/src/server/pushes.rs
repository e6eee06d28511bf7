//! Between the registry and the workflow: hands every push on, in order, and lets the registry forget it when it is
//! dealt with. A push that a crash cut off is handed on again at the next start; the workflow does nothing twice.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::Push;
use crate::registry::{self, Registry, error::RegistryError};
use crate::store::StoreError;
use crate::workflow::{Workflow, chain};

/// Pushes taken up at once.
const BATCH: usize = 100;
/// Between hearing of a push and looking: what is pushed together costs one write to forget, not one each.
const GATHER: Duration = Duration::from_millis(50);
/// After a fault of store or registry.
const PAUSE: Duration = Duration::from_secs(5);

/// Why pushes are not dealt with now.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Follows the registry until the server stops.
pub async fn follow(registry: Arc<Registry>, workflow: Arc<Workflow>, mut stopped: watch::Receiver<bool>) {
    let mut pushed = registry.pushed();
    loop {
        pushed.borrow_and_update();
        let dealt = tokio::select! {
            dealt = deal(&registry, &workflow) => dealt,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let again = match dealt {
            Ok(more) => more.then_some(Duration::ZERO),
            Err(error) => {
                tracing::warn!(error = chain(&error), "pushes wait for their rules");
                Some(PAUSE)
            }
        };
        let waited = async {
            match again {
                Some(pause) => tokio::time::sleep(pause).await,
                // The registry lives as long as this, so that it always is a push.
                None if pushed.changed().await.is_ok() => tokio::time::sleep(GATHER).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = waited => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// Deals with the oldest pushes; whether there may be more.
async fn deal(registry: &Arc<Registry>, workflow: &Arc<Workflow>) -> Result<bool, Stuck> {
    let pushes = registry.pushes_after(0, BATCH).await?;
    let Some(last) = pushes.last().map(|push| push.seq) else { return Ok(false) };
    let more = pushes.len() == BATCH;
    for push in pushes {
        workflow.pushed(told(push)).await?;
    }
    registry.forget_pushes(last).await?;
    Ok(more)
}

fn told(push: registry::Push) -> Push {
    Push {
        id: push.id,
        repository: push.repository.to_string(),
        tag: push.tag.to_string(),
        digest: push.digest.to_string(),
        media_type: push.media_type,
        by: push.by,
        at: push.at,
    }
}
