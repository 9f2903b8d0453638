//! What happens to Redis and to the way there.

use super::{Held, Kind};
use crate::{nodes::until, proxy::Proxy, stage::Stage};
use rustix::process::Signal;
use std::{fs, time::Duration};
use tokio::time::sleep;

/// How far back Redis goes.
const BACK: Duration = Duration::from_millis(1500);
/// How late its answers are, and what it is asked.
const LAG: Duration = Duration::from_millis(150);

/// How far a clock is off, in seconds.
const HOUR: i64 = 3600;

pub async fn inject(kind: Kind, stage: &mut Stage) -> Held {
    match kind {
        Kind::RedisKilled => stage.redis().kill(),
        Kind::RedisStopped => stage.redis().signal(Signal::STOP),
        Kind::RedisCut => links(stage).for_each(Proxy::sever),
        Kind::RedisCutFromOne => links(stage).take(1).for_each(Proxy::sever),
        Kind::RedisSilentToOne => links(stage).take(1).for_each(Proxy::freeze),
        Kind::RedisSlow => links(stage).for_each(|link| link.lag(LAG)),
        Kind::RedisWiped => stage.redis().say(&["FLUSHALL"]),
        Kind::RedisLost => {
            stage.redis().kill();
            fs::remove_dir_all(stage.redis().data()).unwrap();
        }
        Kind::RedisWentBack => {
            let kept = stage.redis().snapshot();
            sleep(BACK).await;
            stage.redis().kill();
            stage.redis().go_back_to(&kept);
        }
        Kind::RedisFull => stage.redis().say(&["CONFIG", "SET", "maxmemory", "1"]),
        Kind::RedisClockForward => stage.redis.set_clock(HOUR),
        Kind::RedisClockBack => stage.redis.set_clock(-HOUR),
        _ => unreachable!("{kind:?} is not about Redis"),
    }
    Held::Nothing
}

pub async fn heal(kind: Kind, stage: &mut Stage, _: Held) {
    match kind {
        Kind::RedisKilled | Kind::RedisLost | Kind::RedisWentBack => stage.redis().restart(),
        Kind::RedisStopped => stage.redis().signal(Signal::CONT),
        Kind::RedisCut | Kind::RedisCutFromOne => links(stage).for_each(Proxy::heal),
        Kind::RedisSilentToOne => {
            // What was lost on the way is not delivered later: those connections are over.
            links(stage).take(1).for_each(|link| {
                link.sever();
                link.thaw();
                link.heal();
            });
        }
        Kind::RedisSlow => links(stage).for_each(|link| link.lag(Duration::ZERO)),
        Kind::RedisFull => stage.redis().say(&["CONFIG", "SET", "maxmemory", "0"]),
        Kind::RedisClockForward | Kind::RedisClockBack => stage.redis.set_clock(0),
        _ => {}
    }
    until("Redis answers", || stage.redis().try_say::<String>(&["PING"]).is_ok());
}

/// Each instance's way to Redis.
fn links(stage: &Stage) -> impl Iterator<Item = &Proxy> {
    stage.instances.iter().filter_map(|instance| instance.wiring.redis.as_ref())
}
