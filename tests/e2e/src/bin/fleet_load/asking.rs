//! Somebody who looks at jobs and machines all the while, as people and dashboards do, and notes how long each answer
//! takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::sim::Api;

/// Between two requests.
const EVERY: Duration = Duration::from_millis(50);

/// The one who looks.
pub struct Asking {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<Vec<Duration>>>,
}

impl Asking {
    /// Asks for one of the jobs, then for machines, in turns.
    pub fn begin(api: Api, jobs: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut took = Vec::new();
            for n in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let path = match &jobs[n * 7 % jobs.len()] {
                    id if n % 2 == 0 => format!("/api/v1/jobs/{id}"),
                    _ => "/api/v1/machines".to_owned(),
                };
                let began = Instant::now();
                let answer = api.get(&path).await?;
                took.push(began.elapsed());
                ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text);
                tokio::time::sleep(EVERY).await;
            }
            Ok(took)
        });
        Self { stop, task }
    }

    /// The time of each answer, shortest first.
    pub async fn end(self) -> Result<Vec<Duration>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.task.await??;
        took.sort_unstable();
        Ok(took)
    }
}

/// The time within which that share of the answers came, in milliseconds.
pub fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0)
}
