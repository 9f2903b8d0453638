//! What the writer does inside a batch.

use crate::stage::{Holder, Stage, settings};
use tokio::sync::{mpsc, oneshot};
use waitroom::room::redeems::{Redeem, write_alone};
use wire::domain::{
    booking::Wish,
    ids::{GrantKey, VisitorId},
    plan::SeatIndex,
    refusal::Refusal,
};

fn holder(seq: u64) -> Holder {
    let visitor = VisitorId::parse(&format!("visitor-{seq}")).unwrap();
    Holder { visitor, grant: GrantKey { seq, turn: 0 } }
}

fn redeem(holder: &Holder, seats: &[SeatIndex]) -> Redeem {
    Redeem { visitor: holder.visitor.clone(), grant: holder.grant, wish: Ok(Wish::Seats(seats.to_vec())) }
}

/// The first wants a seat that the second wants too, and then gets none at all: whoever was refused for his sake would
/// have been told a lie.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_refused_a_seat_before_it_is_somebody_elses_for_good() {
    let stage = Stage::shared(2, settings(0)).await;
    let instance = stage.instance(4).await;
    let (spent, second, third) = (holder(1), holder(2), holder(3));
    assert!(stage.desk().void(&[(spent.visitor.clone(), spent.grant)]).await.unwrap().is_empty());
    let (to_writer, redeems) = mpsc::channel(8);
    let answers: Vec<_> = [(&spent, [0, 1]), (&second, [1, 2]), (&third, [2, 3])]
        .into_iter()
        .map(|(holder, seats)| {
            let (reply, answer) = oneshot::channel();
            to_writer.try_send((redeem(holder, &seats), reply)).unwrap();
            answer
        })
        .collect();
    tokio::spawn(write_alone(instance.room.redeems.clone(), redeems));
    let mut heard = Vec::new();
    for answer in answers {
        heard.push(answer.await.unwrap());
    }
    assert_eq!(heard[0], Err(Refusal::TokenExpired));
    assert_eq!(heard[1].as_ref().map(|booking| booking.seats.clone()), Ok(vec![1, 2]), "{heard:?}");
    assert_eq!(heard[2], Err(Refusal::SeatTaken(vec![2])));
}

/// Who clicks again and again on seats that are gone is refused without asking anyone: but not once he has booked, on
/// whichever instance.
#[tokio::test(flavor = "multi_thread")]
async fn clicks_in_vain_are_forgotten_once_the_grant_has_booked() {
    let stage = Stage::shared(2, settings(0)).await;
    let (here, there) = (stage.instance(4).await, stage.instance(4).await);
    let holders = stage.holders(&here, 2).await;
    stage.redeem(&here, &holders[0], &[0]).await.unwrap();
    let in_vain = async || stage.redeem(&here, &holders[1], &[0]).await;
    assert_eq!(in_vain().await, Err(Refusal::SeatTaken(vec![0])));
    here.postgres.freeze();
    here.redis.freeze();
    let answer = tokio::time::timeout(std::time::Duration::from_secs(3), in_vain()).await;
    assert_eq!(answer.expect("no store is asked"), Err(Refusal::SeatTaken(vec![0])));
    here.redis.thaw();
    here.postgres.thaw();
    let booking = stage.redeem(&there, &holders[1], &[1]).await.unwrap();
    while here.room.glance().seats_left > 18 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let again = stage.redeem(&here, &holders[1], &[0]).await.unwrap();
    assert_eq!(again.id, booking.id, "the same seat clicked again");
    stage.assert_sold_right(&[&here, &there]).await;
}
