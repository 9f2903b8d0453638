//! What happens to instances, and to visitors' ways there.

use super::{Held, Kind};
use crate::{instance::Instance, nodes::until, stage::Stage};
use rustix::process::Signal;

/// How far a clock is off, in seconds.
const HOUR: i64 = 3600;

pub async fn inject(kind: Kind, stage: &mut Stage) -> Held {
    if kind == Kind::InstancesComeAndGo {
        for i in 0..stage.instances.len() {
            let spare = stage.start_beside(i).await;
            // A store is broken too: nobody goes before another has come.
            if !spare.is_up() {
                stage.spares.clear();
                return Held::Nothing;
            }
            stage.spares.push(spare);
        }
        stage.instances.iter().for_each(|instance| instance.signal(Signal::TERM));
        return Held::Nothing;
    }
    let first = &mut stage.instances[0];
    match kind {
        Kind::InstanceKilled => first.kill(),
        Kind::InstanceStopped => first.signal(Signal::STOP),
        Kind::InstanceOutOfFiles => first.limit_files(true),
        Kind::InstanceDrained => first.signal(Signal::TERM),
        Kind::InstanceClockForward => first.set_clock(HOUR),
        Kind::InstanceClockBack => first.set_clock(-HOUR),
        Kind::AllInstancesKilled => stage.instances.iter_mut().for_each(|instance| instance.kill()),
        Kind::SocketsCut => stage.instances.iter().for_each(|instance| instance.door.cut_all()),
        _ => unreachable!("{kind:?} is not about instances"),
    }
    Held::Nothing
}

pub async fn heal(kind: Kind, stage: &mut Stage) {
    if kind == Kind::InstancesComeAndGo && !stage.spares.is_empty() {
        have_gone(&mut stage.instances);
    }
    let first = &mut stage.instances[0];
    match kind {
        Kind::InstanceStopped => first.signal(Signal::CONT),
        Kind::InstanceOutOfFiles => first.limit_files(false),
        Kind::InstanceDrained => until("the instance has gone", || first.has_ended()),
        Kind::InstanceClockForward | Kind::InstanceClockBack => first.set_clock(0),
        _ => {}
    }
    stage.instances.iter_mut().for_each(|instance| instance.see_to_it());
}

fn have_gone(instances: &mut [Instance]) {
    until("the instances have gone", || instances.iter_mut().all(Instance::has_ended));
}

/// Once nothing is broken any more: an instance that found no store when it was started is started again, and who stood in for it
/// goes.
pub fn come_up(stage: &mut Stage) {
    until("the instances are up", || {
        stage.instances.iter_mut().all(|instance| {
            instance.see_to_it();
            instance.is_up()
        })
    });
    stage.spares.iter().for_each(|spare| spare.signal(Signal::TERM));
    have_gone(&mut stage.spares);
    stage.spares.clear();
}
