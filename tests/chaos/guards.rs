//! Each guard against a double sale, switched off: the same scene that goes right with it goes wrong without, and the
//! proof says so.

use crate::{
    proxy::{Then, When},
    stage::{Holder, Instance, Stage, settings},
};
use std::{future::ready, time::Duration};
use tokio::time::sleep;
use wire::domain::refusal::Refusal;

/// Long enough for a commit that nothing holds up.
const MOMENT: Duration = Duration::from_millis(400);

/// Two instances, and two whose turn it is.
struct Scene {
    stage: Stage,
    a: Instance,
    b: Instance,
    holders: Vec<Holder>,
}

impl Scene {
    /// With what `sql` does to the guards.
    async fn set(sql: &str) -> Self {
        let stage = Stage::shared(2, settings(0)).await;
        stage.sql(sql).await;
        let (a, b) = (stage.instance(4).await, stage.instance(4).await);
        let holders = stage.holders(&a, 2).await;
        Self { stage, a, b, holders }
    }

    async fn went_right(&self) {
        self.stage.assert_sold_right(&[&self.a, &self.b]).await;
    }

    /// While A's commit of holder 0's redeem is held before `sql`, `meanwhile` happens; `beside` begins then too, and
    /// may have to wait for its outcome.
    async fn while_held<T>(
        &self,
        sql: &'static str,
        meanwhile: impl Future<Output = ()>,
        beside: impl Future<Output = T>,
    ) {
        let mut trap = self.a.postgres.trap(When::Before, sql, Then::Hold);
        let meanwhile = async {
            trap.sprung().await;
            meanwhile.await;
            tokio::join!(beside, async {
                sleep(MOMENT).await;
                trap.release();
            })
        };
        let _ = tokio::join!(self.stage.redeem(&self.a, &self.holders[0], &[0]), meanwhile);
    }

    /// The line is made to believe that it is over with holder 0's turn, and with what else these keys tell of it.
    async fn time_is_up(&self, keys: &[&str]) {
        for key in keys {
            let set: i64 =
                self.stage.redis(&["ZADD", &self.stage.key(key), "XX", "CH", "1", self.visitor()]).await;
            assert_eq!(set, 1, "{key}");
        }
    }

    async fn no_fence(&self) {
        let removed: i64 = self.stage.redis(&["ZREM", &self.stage.key("fences"), self.visitor()]).await;
        assert_eq!(removed, 1);
    }

    fn visitor(&self) -> &str {
        self.holders[0].visitor.as_str()
    }
}

/// Both instances sell one seat at the same moment.
async fn two_want_one_seat(sql: &str) -> Scene {
    let scene = Scene::set(sql).await;
    // With the key, the other waits for the outcome.
    scene.while_held("COMMIT", ready(()), scene.stage.redeem(&scene.b, &scene.holders[1], &[0])).await;
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_on_seats() {
    two_want_one_seat("").await.went_right().await;
    let scene = two_want_one_seat("ALTER TABLE booked_seats DROP CONSTRAINT booked_seats_pkey").await;
    scene.stage.assert_sold_wrong("seat 0-0 was sold 2 times").await;
}

/// A fence is lost while its commit is under way, and the token is spent on another instance too.
async fn a_token_is_spent_twice(sql: &str) -> Scene {
    let scene = Scene::set(sql).await;
    let again = scene.stage.redeem(&scene.b, &scene.holders[0], &[1]);
    scene.while_held("COMMIT", scene.no_fence(), again).await;
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_on_grants() {
    a_token_is_spent_twice("").await.went_right().await;
    let scene = a_token_is_spent_twice(
        // The number of a visitor's booking would tell these two apart as well.
        "ALTER TABLE bookings DROP CONSTRAINT bookings_grant_id_key; DROP INDEX bookings_nth_of_visitor",
    )
    .await;
    scene.stage.assert_sold_wrong("one token, many rows").await;
}

/// A fence runs out, the turn is over, and then its commit arrives after all.
async fn a_commit_comes_late(sql: &str) -> Scene {
    let scene = Scene::set(sql).await;
    let meanwhile = async {
        scene.time_is_up(&["grants", "fences"]).await;
        let told = scene.stage.redeem_surely(&scene.b, &scene.holders[0], &[0]).await;
        assert_eq!(told, Err(Refusal::TokenExpired));
    };
    // Not at BEGIN, which the journal says too.
    scene.while_held("bookings (", meanwhile, ready(())).await;
    scene
}

const NO_VOID_ROWS: &str = "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
    CREATE TRIGGER no_void BEFORE INSERT ON bookings FOR EACH ROW WHEN (NEW.status = 'void') \
    EXECUTE FUNCTION nothing()";

#[tokio::test(flavor = "multi_thread")]
async fn the_void_row() {
    a_commit_comes_late("").await.went_right().await;
    a_commit_comes_late(NO_VOID_ROWS)
        .await
        .stage
        .assert_sold_wrong("its end was told, and then a booking")
        .await;
}

/// A turn's time is up while its commit is under way.
async fn a_turn_ends_during_its_commit(fenced: bool) -> Scene {
    let scene = Scene::set("").await;
    let meanwhile = async {
        if !fenced {
            scene.no_fence().await;
        }
        scene.time_is_up(&["grants"]).await;
        // Ticks go by.
        sleep(MOMENT).await;
        let told = scene.stage.redeem(&scene.b, &scene.holders[0], &[0]).await;
        assert_eq!(told, Err(if fenced { Refusal::Busy } else { Refusal::TokenExpired }));
    };
    scene.while_held("COMMIT", meanwhile, ready(())).await;
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fence() {
    a_turn_ends_during_its_commit(true).await.went_right().await;
    let scene = a_turn_ends_during_its_commit(false).await;
    scene.stage.assert_sold_wrong("its end was told, and then a booking").await;
}

/// A commit hangs for longer than it is waited for, and happens after that.
async fn an_outcome_is_unknown(settled: bool) -> Scene {
    let scene = Scene::set(SWITCHABLE).await;
    let open: Vec<_> = futures_util::future::join_all((0..4).map(|_| scene.a.pool.get())).await;
    drop(open);
    let mut trap = scene.a.postgres.trap(When::Before, "COMMIT", Then::Hold);
    let switch = async {
        trap.sprung().await;
        if !settled {
            scene.stage.sql("UPDATE switch SET settles = false").await;
        }
    };
    let (_, ()) = tokio::join!(scene.stage.redeem(&scene.a, &scene.holders[0], &[0]), switch);
    scene.stage.sql("UPDATE switch SET settles = true").await;
    trap.release();
    sleep(MOMENT).await;
    scene
}

/// Rows put in to learn of an outcome vanish while the switch is off: as if nobody had waited for it.
const SWITCHABLE: &str = "CREATE TABLE switch AS SELECT true AS settles; \
    CREATE FUNCTION unless() RETURNS trigger LANGUAGE plpgsql AS \
    'BEGIN IF (SELECT settles FROM switch) THEN RETURN NEW; END IF; RETURN NULL; END'; \
    CREATE TRIGGER unless BEFORE INSERT ON bookings FOR EACH ROW EXECUTE FUNCTION unless()";

#[tokio::test(flavor = "multi_thread")]
async fn the_settling_of_unknown_outcomes() {
    let (with, without) = tokio::join!(an_outcome_is_unknown(true), an_outcome_is_unknown(false));
    with.went_right().await;
    without.stage.assert_sold_wrong("its end was told, and it has a booking").await;
}
