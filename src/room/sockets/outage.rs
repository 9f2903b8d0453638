//! Visitors are told when the line stands still because a store does not answer: nobody is admitted then and nothing can be booked,
//! and a page that was not told would go on promising both.

use super::Hub;
use crate::{drain::Drain, room::line::LiveLine};
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked: health itself takes 3 s to call a store away.
const EVERY: Duration = Duration::from_millis(250);

/// Tells of each outage and of its end, until the server has stopped.
pub(in crate::room) async fn run(hub: Arc<Hub>, line: Arc<LiveLine>) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while line.drain() < Drain::Done {
        every.tick().await;
        let stands_still = line.stands_still();
        if stands_still != hub.outage() {
            hub.tell_outage(stands_still);
        }
    }
}
