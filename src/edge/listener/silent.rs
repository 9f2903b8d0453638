//! Connections that have not said yet what they want: those that can be spared.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// The silent connections of a listener, in the order in which they came.
#[derive(Clone, Default)]
pub(super) struct Silent(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    next: u64,
    /// Since when each is, and how it is told to end.
    all: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

impl Silent {
    /// Serves a connection, which is silent until it says otherwise or ends.
    pub fn watch<F: Future<Output = ()> + Send + 'static>(&self, serve: impl FnOnce(Quiet) -> F) {
        let (end, ended) = oneshot::channel();
        let number = {
            let mut waiting = self.lock();
            waiting.next += 1;
            let number = waiting.next;
            waiting.all.insert(number, (Instant::now(), end));
            number
        };
        let served = serve(Quiet { silent: self.clone(), number });
        tokio::spawn(async move {
            tokio::select! {
                // Nobody can tell it once it has spoken: then it is served to its end.
                Ok(()) = ended => {}
                () = served => {}
            }
        });
    }

    /// Ends the connection that has been silent for longest; false if none is.
    pub fn end_the_longest(&self) -> bool {
        let mut longest = std::iter::from_fn(|| self.lock().all.pop_first());
        longest.any(|(_, (_, end))| end.send(()).is_ok())
    }

    /// Where more than `max` are silent, ends those that have been for longer than `within`; how many.
    pub fn end_the_many(&self, max: usize, within: Duration) -> u64 {
        let mut ended = 0;
        loop {
            let mut waiting = self.lock();
            let has_many = waiting.all.len() > max;
            let longest = waiting.all.first_entry();
            let Some(longest) = longest.filter(|one| has_many && one.get().0.elapsed() > within) else {
                return ended;
            };
            ended += u64::from(longest.remove().1.send(()).is_ok());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is silent still.
pub(super) struct Quiet {
    silent: Silent,
    number: u64,
}

impl Quiet {
    /// It is not any more.
    pub fn has_spoken(&self) {
        self.silent.lock().all.remove(&self.number);
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.has_spoken();
    }
}
