//! What a stranger can cause as often as he likes is told rarely, and briefly: the log is on a disk that is not his to fill.

use axum::http::HeaderValue;
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// From one line of the log to the next.
const PAUSE: Duration = Duration::from_secs(5);
/// Letters of what a stranger wrote that are told.
const EXCERPT: usize = 100;

/// How often something has happened, and when that was told last.
pub struct Rarely(Mutex<(u64, Option<Instant>)>);

impl Rarely {
    /// Never yet.
    pub const fn new() -> Self {
        Self(Mutex::new((0, None)))
    }

    /// It happens. How often it has, if that is to be told.
    pub fn happens(&self) -> Option<u64> {
        self.happens_at(Instant::now())
    }

    fn happens_at(&self, now: Instant) -> Option<u64> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, told) = &mut *counted;
        *count += 1;
        if told.is_some_and(|told| now.duration_since(told) < PAUSE) {
            return None;
        }
        *told = Some(now);
        Some(*count)
    }
}

/// The beginning of what a stranger wrote.
pub fn excerpt(written: Option<&HeaderValue>) -> String {
    let Some(written) = written else { return String::new() };
    let text = String::from_utf8_lossy(written.as_bytes());
    let begin: String = text.chars().take(EXCERPT).collect();
    if begin.len() < text.len() { format!("{begin}…") } else { begin }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_how_many_there_were_meanwhile() {
        let (foreign, start) = (Rarely::new(), Instant::now());
        let told: Vec<_> = (0..120).filter_map(|i| foreign.happens_at(start + PAUSE / 50 * i)).collect();
        assert_eq!(told, [1, 51, 101]);
    }

    #[test]
    fn what_a_stranger_wrote_is_cut_off() {
        let long = HeaderValue::from_bytes(&[0xff; 15_000]).unwrap();
        assert!(excerpt(Some(&long)).len() < 500);
        let short = HeaderValue::from_static("https://shop.example");
        assert_eq!((excerpt(Some(&short)).as_str(), excerpt(None).as_str()), ("https://shop.example", ""));
    }
}
