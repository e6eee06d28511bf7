//! Somebody who looks at jobs and machines all the while, from before the first job is submitted, as people and dashboards
//! do, and notes how long each answer takes. On a thread of its own: a thousand simulated hosts and BMCs share the runtime of
//! the load, and what they hold up is not the controller's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use e2e::sim::Api;

/// Between two requests.
const EVERY: Duration = Duration::from_millis(50);

/// The one who looks.
pub struct Asking {
    stop: Arc<AtomicBool>,
    jobs: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<Result<Vec<Duration>>>,
}

impl Asking {
    /// Asks for one of the jobs that it was told of, then for machines, in turns.
    pub fn begin(api: Api) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, jobs) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, known) = (Arc::clone(&stop), Arc::clone(&jobs));
        let thread = std::thread::spawn(move || runtime.block_on(ask(&api, &known, &stopped)));
        Ok(Self { stop, jobs, thread })
    }

    /// There is a job to ask for.
    pub fn knows(&self, job: &str) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(job.to_owned());
    }

    /// The time of each answer, shortest first.
    pub fn end(self) -> Result<Vec<Duration>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.thread.join().map_err(|_| anyhow!("the one who asks panicked"))??;
        took.sort_unstable();
        Ok(took)
    }
}

async fn ask(api: &Api, jobs: &Mutex<Vec<String>>, stop: &AtomicBool) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let job = {
            let known = jobs.lock().unwrap_or_else(PoisonError::into_inner);
            if n % 2 == 0 && !known.is_empty() { Some(known[n * 7 % known.len()].clone()) } else { None }
        };
        let path = job.map_or_else(|| "/api/v1/machines".to_owned(), |id| format!("/api/v1/jobs/{id}"));
        let began = Instant::now();
        let answer = api.get(&path).await?;
        took.push(began.elapsed());
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text);
        tokio::time::sleep(EVERY).await;
    }
    Ok(took)
}

/// The time within which that share of the answers came, in milliseconds.
pub fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0)
}
