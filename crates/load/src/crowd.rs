//! Company for a person who tries the demo alone: a line that moves.

use super::{
    Behaviour, LoadError, Target, WishKind,
    connect::Dialer,
    http,
    outcome::{Outcome, pause},
    random::Random,
    scene::Scene,
    session::{World, live},
    visitor::Visitor,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep},
};
use wire::domain::ids::SaleId;

/// Over what time the crowd gathers.
const GATHERING: Duration = Duration::from_secs(20);
/// How long after one has gone the next comes, from and to: short, so that most of the crowd stands in line.
const NEXT_ONE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));
/// People, not programs: they look at the seats, some give up, some lose their connection.
const PEOPLE: Behaviour = Behaviour {
    seats: (1, 2),
    wish: WishKind::Mixed,
    think: (Duration::from_secs(2), Duration::from_secs(8)),
    leave_chance: 0.08,
    vanish_chance: 0.15,
    second_tab_chance: 0.0,
    no_show_chance: 0.0,
    bot_share: 0.0,
    herd: None,
    whim: (Duration::from_secs(5), Duration::from_secs(60)),
    absence: (Duration::from_secs(1), Duration::from_secs(10)),
};

/// Keeps `n` simulated visitors at the sale: they gather over the first seconds, wait, book one or two seats
/// or leave, some lose their connection and return, and who is done is replaced after a while. It ends when
/// the sale is sold out or closed, or when the future is dropped; a server that is away is waited for.
pub async fn crowd(url: &str, sale: &SaleId, n: usize) {
    gather(url, sale, n, GATHERING).await;
}

/// [`crowd`], gathering over that time.
pub(super) async fn gather(url: &str, sale: &SaleId, n: usize, gathering: Duration) {
    let Ok(target) = Target::parse(url, sale.clone()) else { return };
    let mut random = Random::new(uuid::Uuid::new_v4().as_u64_pair().0);
    let mut failures = 0;
    let world = loop {
        match world(&target).await {
            Ok(world) => break Arc::new(world),
            Err(_) => sleep(pause(failures, false, &mut random)).await,
        }
        failures += 1;
    };
    // Dropping the set aborts them all.
    let mut people = JoinSet::new();
    for _ in 0..n {
        let random = Random::new(random.next());
        people.spawn(one_after_another(world.clone(), random, gathering));
    }
    while people.join_next().await.is_some() {}
}

async fn world(target: &Target) -> Result<World, LoadError> {
    let address = target.resolve().await?;
    let ours = target.clone();
    let asked = spawn_blocking(move || http::plan(&ours)).await;
    let plan = asked.map_err(|e| LoadError::Unreachable(e.to_string()))??;
    let dialer = Dialer::new(target, address, None).map_err(LoadError::Usage)?;
    Ok(World { scene: Scene::new(plan, PEOPLE), dialer })
}

/// One spot in the crowd, and who fills it.
async fn one_after_another(world: Arc<World>, mut random: Random, gathering: Duration) {
    sleep(random.time((Duration::ZERO, gathering))).await;
    loop {
        let intended = Instant::now();
        let visitor = Box::new(Visitor::new(0, Random::new(random.next()), None, intended));
        match live(&world, &Mutex::default(), visitor, intended).await {
            Outcome::SoldOut | Outcome::Closed => return,
            _ => sleep(random.time(NEXT_ONE)).await,
        }
    }
}
