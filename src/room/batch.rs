//! Questions that come in while the last call runs go together in the next one, in their order of arrival.

use super::errors::RoomError;
use std::{future::Future, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

/// How long a question waits for room in the queue, when everyone comes at once.
const QUEUE_PATIENCE: Duration = Duration::from_secs(3);
/// A call that took so long was tried again and again.
const LONG: Duration = Duration::from_secs(1);

/// A question and who waits for its answer.
pub(super) struct Asked<Q, A> {
    question: Q,
    reply: oneshot::Sender<Result<A, RoomError>>,
}

/// Where questions are asked.
pub(super) struct Batcher<Q, A> {
    queue: mpsc::Sender<Asked<Q, A>>,
}

/// A batcher, and the queue that [`serve`] empties.
pub(super) fn batcher<Q, A>(queue_max: usize) -> (Batcher<Q, A>, mpsc::Receiver<Asked<Q, A>>) {
    let (queue, asked) = mpsc::channel(queue_max);
    (Batcher { queue }, asked)
}

impl<Q, A> Batcher<Q, A> {
    /// How many questions wait for a call.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&self, question: Q) -> Result<A, RoomError> {
        let (reply, answer) = oneshot::channel();
        match timeout(QUEUE_PATIENCE, self.queue.send(Asked { question, reply })).await {
            Ok(Ok(())) => answer.await.unwrap_or(Err(RoomError::Ended)),
            Ok(Err(_)) => Err(RoomError::Ended),
            Err(_) => Err(RoomError::Overloaded),
        }
    }
}

/// Makes one call after another, each of up to `max` questions, until nobody can ask any more. Unless one was full, the next
/// begins no sooner than after a pause, in which questions gather.
pub(super) async fn serve<Q, A, F>(
    asked: &mut mpsc::Receiver<Asked<Q, A>>,
    max: usize,
    pause: impl Fn() -> Duration,
    call: impl Fn(Vec<Q>) -> F,
) where
    F: Future<Output = Result<Vec<A>, RoomError>>,
{
    let mut batch = Vec::with_capacity(max);
    while asked.recv_many(&mut batch, max).await > 0 {
        let (began, is_full) = (Instant::now(), batch.len() == max);
        let (questions, replies): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|Asked { question, reply }| (question, reply)).unzip();
        // Who has gone meanwhile finds what came of it when he returns.
        match call(questions).await {
            Ok(answers) => replies.into_iter().zip(answers).for_each(|(reply, answer)| {
                let _ = reply.send(Ok(answer));
            }),
            // A call that took its time had all the patience that there is: with one for each, the last would wait for the sum of all.
            Err(error) => {
                let waiting = if began.elapsed() >= LONG { asked.len() } else { 0 };
                let waited = (0..waiting).map_while(|_| asked.try_recv().ok());
                let waited: Vec<_> = waited.map(|waited| waited.reply).collect();
                replies.into_iter().chain(waited).for_each(|reply| {
                    let _ = reply.send(Err(error.clone()));
                });
            }
        }
        if !is_full {
            sleep_until(began + pause()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::{sync::Semaphore, time::sleep};

    /// Three are asked while the first call runs: they go together, in order, and each gets his own answer.
    #[tokio::test(start_paused = true)]
    async fn what_waits_goes_together_in_order() {
        let (batcher, mut asked) = batcher::<u32, u32>(10);
        let (calls, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let call = {
            let (calls, gate) = (calls.clone(), gate.clone());
            move |questions: Vec<u32>| {
                let gate = gate.clone();
                calls.lock().unwrap().push(questions.clone());
                async move {
                    gate.acquire().await.unwrap().forget();
                    match questions[0] {
                        13 => sleep(LONG).await,
                        14 => {}
                        _ => return Ok(questions.iter().map(|q| q * 10).collect()),
                    }
                    Err(RoomError::Overloaded)
                }
            }
        };
        let serving = tokio::spawn(async move { serve(&mut asked, 10, || Duration::ZERO, call).await });
        let asking = async {
            tokio::join!(batcher.ask(1), async {
                while calls.lock().unwrap().is_empty() {
                    tokio::task::yield_now().await;
                }
                let together = tokio::join!(batcher.ask(2), batcher.ask(3), async {
                    gate.add_permits(2);
                    batcher.ask(4).await
                });
                [together.0, together.1, together.2].map(Result::unwrap)
            })
        };
        let (first, others) = asking.await;
        assert_eq!((first.unwrap(), others), (10, [20, 30, 40]));
        assert_eq!(*calls.lock().unwrap(), [vec![1], vec![2, 3, 4]]);
        let asking = async |bad| {
            let (batcher, calls, gate) = (&batcher, &calls, &gate);
            let known = calls.lock().unwrap().len();
            tokio::join!(batcher.ask(bad), async {
                while calls.lock().unwrap().len() == known {
                    tokio::task::yield_now().await;
                }
                let (waited, ()) = tokio::join!(batcher.ask(5), async {
                    tokio::task::yield_now().await;
                    gate.add_permits(2);
                });
                waited
            })
        };
        // A call that failed after it had been tried for long takes who waited with it; one that failed at once does not.
        let (failed, waited) = asking(13).await;
        assert!(matches!((failed, waited), (Err(RoomError::Overloaded), Err(RoomError::Overloaded))));
        let (failed, waited) = asking(14).await;
        assert!(matches!((failed, waited), (Err(RoomError::Overloaded), Ok(50))));
        drop(batcher);
        serving.await.unwrap();
    }

    /// The first is asked at once; those who come in the pause after it go together, at its end; so many that they fill a call do not
    /// wait for it.
    #[tokio::test(start_paused = true)]
    async fn a_pause_gathers_what_comes_and_holds_up_no_full_call() {
        let (batcher, mut asked) = batcher::<u64, (Duration, Vec<u64>)>(10);
        let (began, pause) = (Instant::now(), Duration::from_millis(50));
        let call = move |all: Vec<u64>| async move { Ok(vec![(began.elapsed(), all.clone()); all.len()]) };
        let serving = tokio::spawn(async move { serve(&mut asked, 3, || pause, call).await });
        let ask = async |after_ms, question| {
            sleep(Duration::from_millis(after_ms)).await;
            let (at, together) = batcher.ask(question).await.unwrap();
            (at.as_millis(), together.len())
        };
        let told =
            tokio::join!(ask(0, 1), ask(10, 2), ask(20, 3), ask(60, 4), ask(60, 5), ask(60, 6), ask(101, 7));
        assert_eq!(told, ((0, 1), (50, 2), (50, 2), (100, 3), (100, 3), (100, 3), (101, 1)));
        drop(batcher);
        serving.await.unwrap();
    }
}
