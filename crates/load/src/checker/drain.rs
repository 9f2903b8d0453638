//! Invariant 9: every story comes to its end, and nobody is left hanging.

use super::{
    finding::{Findings, Invariant},
    log::{Log, Op, Spot, What},
};
use crate::facts::Micros;
use wire::{
    domain::place::LapseReason,
    protocol::{
        close::{ErrorCode, TOO_BIG},
        server::PlaceState,
    },
};

/// An operation that is not answered by then, on a connection that goes on, never will be: all bounds of the contract
/// (a dead peer, the slowest rank, a drain) have passed.
const ANSWER_MAX_US: Micros = 60_000_000;

/// Whether a connection that the server ended so is the end of the story.
fn is_last(code: u16) -> bool {
    let last =
        [ErrorCode::BadMessage, ErrorCode::IdentityInvalid, ErrorCode::LimitReached, ErrorCode::SaleClosed];
    code == TOO_BIG || last.iter().any(|error| error.close_code() == code)
}

/// Looks at how each visitor's story stands when the run ends.
pub(super) fn check(log: &Log, findings: &mut Findings) {
    let mut open = 0;
    for ops in log.visitors() {
        findings.over(Invariant::Drained, 1);
        let footer = log.parts().get(usize::from(ops[0].spot.part)).and_then(|part| part.footer.as_ref());
        let Story { ended, unanswered, late } = story(log, ops);
        open += usize::from(!ended);
        let Some(footer) = footer else { continue };
        let at_the_end =
            unanswered.iter().map(|asked| (asked.spot, footer.ended_us.saturating_sub(asked.at)));
        for (spot, waited) in late.into_iter().chain(at_the_end).filter(|(_, waited)| *waited > ANSWER_MAX_US)
        {
            findings.add(Invariant::Drained, [spot], || {
                format!("visitor {} had no answer for {} s", ops[0].visitor, waited / 1_000_000)
            });
        }
    }
    if open > 0 {
        findings.lack(
            Invariant::Drained,
            format!("the stories of {open} visitors had not ended when the run did"),
        );
    }
}

/// A join, or the redeem of that request, that has no answer.
struct Asked {
    connection: u32,
    request: Option<u32>,
    at: Micros,
    spot: Spot,
}

struct Story {
    ended: bool,
    /// What was never answered.
    unanswered: Vec<Asked>,
    /// How long an answer, or the connection's end, was waited for.
    late: Vec<(Spot, Micros)>,
}

fn story(log: &Log, ops: &[Op]) -> Story {
    let (mut ended, mut unanswered, mut late) = (false, Vec::<Asked>::new(), Vec::new());
    for op in ops {
        let (connection, at, spot) = (op.connection, op.at, op.spot);
        let mut over = |is_over: &dyn Fn(&Asked) -> bool| {
            let over = unanswered.extract_if(.., |asked| asked.connection == connection && is_over(asked));
            late.extend(over.map(|asked| (asked.spot, at.saturating_sub(asked.at))));
        };
        let answers = |request: Option<u32>| move |asked: &Asked| asked.request == request;
        match op.what {
            What::Join => {
                ended = false;
                unanswered.push(Asked { connection, request: None, at, spot });
            }
            What::Redeem { request, .. } => {
                unanswered.push(Asked { connection, request: Some(request), at, spot });
            }
            What::Joined(index) => {
                over(&answers(None));
                ended = log.joined[index as usize].state == PlaceState::Booked;
            }
            What::Booking(index) => {
                ended = true;
                if let Some(request) = log.bookings[index as usize].request {
                    over(&answers(Some(request)));
                }
            }
            What::Refused { request, .. } => over(&answers(Some(request))),
            What::Lapsed(reason) => ended = reason != LapseReason::Missed,
            What::Leave => ended = true,
            What::Cut(code) => {
                ended |= code.is_some_and(is_last);
                over(&|_| true);
            }
            _ => {}
        }
    }
    Story { ended, unanswered, late }
}
