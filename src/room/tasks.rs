//! The tasks of a room, watched: one that breaks down is started again, and the instance says that it is not well.

use crate::{drain::Drain, metrics};
use futures_util::FutureExt;
use std::{
    collections::HashMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::AbortHandle, time::sleep};
use wire::domain::ids::SaleId;

/// Pause before a task is started again.
const PAUSE: Duration = Duration::from_secs(1);
/// A task that broke down within this is not to be relied upon.
const UNWELL: Duration = Duration::from_secs(10);

/// A room's tasks. They end with [`Tasks::end`].
pub(super) struct Tasks {
    sale: SaleId,
    drain: watch::Receiver<Drain>,
    running: Mutex<Vec<AbortHandle>>,
    broken: Arc<Mutex<HashMap<&'static str, Instant>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tasks {
    pub fn new(sale: SaleId, drain: watch::Receiver<Drain>) -> Self {
        let (running, broken) = Default::default();
        Self { sale, drain, running, broken }
    }

    /// Runs a task, again and again if need be, until the server has left or the room ends. It may end by itself only
    /// when the server has left.
    pub fn keep<F>(&self, name: &'static str, task: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        metrics::task_restarts(name, 0);
        let (sale, drain, broken) = (self.sale.clone(), self.drain.clone(), self.broken.clone());
        let kept = tokio::spawn(async move {
            loop {
                let ended = AssertUnwindSafe(task()).catch_unwind().await;
                if ended.is_ok() && *drain.borrow() >= Drain::Done {
                    return;
                }
                lock(&broken).insert(name, Instant::now());
                metrics::task_restarts(name, 1);
                let how = if ended.is_ok() { "ended" } else { "panicked" };
                tracing::error!(%sale, "the task {name} {how} and is started again");
                sleep(PAUSE).await;
            }
        });
        lock(&self.running).push(kept.abort_handle());
    }

    /// Tasks that are not to be relied upon now.
    pub fn unwell(&self) -> Vec<&'static str> {
        let broken = lock(&self.broken);
        broken.iter().filter(|(_, at)| at.elapsed() < UNWELL).map(|(name, _)| *name).collect()
    }

    /// Ends them all.
    pub fn end(&self) {
        lock(&self.running).drain(..).for_each(|task| task.abort());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_and_told_of() {
        let (leave, drain) = watch::channel(Drain::NotYet);
        let tasks = Tasks::new(SaleId::parse("spring").unwrap(), drain);
        let runs = Arc::new(AtomicU32::new(0));
        tasks.keep("ticker", {
            let runs = runs.clone();
            move || {
                let run = runs.fetch_add(1, Ordering::Relaxed);
                async move {
                    if run == 0 {
                        panic!("planted");
                    }
                    std::future::pending().await
                }
            }
        });
        sleep(PAUSE / 2).await;
        assert_eq!((tasks.unwell(), runs.load(Ordering::Relaxed)), (vec!["ticker"], 1));
        sleep(PAUSE).await;
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        tasks.end();
        leave.send_replace(Drain::Done);
    }
}
