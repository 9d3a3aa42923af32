//! What the workers have counted, over all their lives, in a file for Prometheus.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Service;
use crate::config::Listen;
use crate::worker::Counted;

/// How often the file is written.
const EVERY: Duration = Duration::from_secs(1);

/// The counts of each worker.
pub(super) struct Metrics {
    token: String,
    workers: Mutex<Vec<Worker>>,
}

#[derive(Clone, Default)]
struct Worker {
    starts: u64,
    /// Of processes that have ended, and of the one that lives.
    former: Counted,
    now: Counted,
}

impl Metrics {
    pub fn new(service: &Service) -> Self {
        let workers = vec![Worker::default(); usize::from(service.workers.max(1))];
        Self { token: service.config.token.name.clone(), workers: Mutex::new(workers) }
    }

    /// A worker is started: its counts begin with 0.
    pub fn starts(&self, at: usize) {
        let worker = &mut self.workers.lock().unwrap_or_else(PoisonError::into_inner)[at];
        worker.starts += 1;
        worker.former = std::mem::take(&mut worker.former).plus(&std::mem::take(&mut worker.now));
    }

    /// What a worker has counted since its start.
    pub fn hears(&self, at: usize, counted: Counted) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)[at].now = counted;
    }

    /// Writes the file over and over. Whoever reads it never sees half of it.
    pub async fn write_forever(self: Arc<Self>, path: PathBuf) {
        let mut is_told = false;
        // Nobody needs it any more when the workers are gone.
        while Arc::strong_count(&self) > 1 {
            match write(&path, &self.render()) {
                Ok(()) => is_told = false,
                Err(error) if !is_told => {
                    tracing::error!(%error, path = %path.display(), "the metrics cannot be written");
                    is_told = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn render(&self) -> String {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let starts: u64 = workers.iter().map(|worker| worker.starts).sum();
        let all = workers
            .into_iter()
            .fold(Counted::default(), |sum, Worker { former, now, .. }| sum.plus(&former).plus(&now));
        let mut text = String::new();
        let mut family = |name: &str, help: &str, counts: Vec<(String, u64)>| {
            let _ = writeln!(text, "# HELP rederive_worker_{name} {help}\n# TYPE rederive_worker_{name} counter");
            for (labels, count) in counts {
                let _ = writeln!(text, "rederive_worker_{name}{{token={:?}{labels}}} {count}", self.token);
            }
        };
        let refusals = all.refusals.iter().map(|(reason, count)| (format!(",reason=\"{reason}\""), *count));
        family("requests_total", "Requests read, by kind and generation", labelled("kind", all.requests.requests()));
        family(
            "master_uses_total",
            "Uses of masters, by purpose and generation",
            labelled("purpose", all.uses.purposes()),
        );
        family("refusals_total", "Requests that the worker's rules refused, by reason", refusals.collect());
        family("connections_total", "Connections taken", vec![(String::new(), all.connections)]);
        family("turned_away_total", "Peers turned away", vec![(String::new(), all.turned_away)]);
        family("starts_total", "Workers started, the first included", vec![(String::new(), starts)]);
        text
    }
}

fn labelled(key: &str, counts: impl Iterator<Item = (&'static str, String, u64)>) -> Vec<(String, u64)> {
    counts.map(|(name, of, count)| (format!(",{key}=\"{name}\",generation=\"{of}\""), count)).collect()
}

fn write(path: &Path, text: &str) -> Result<(), std::io::Error> {
    let new = Listen::beside(path, "new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)
}
