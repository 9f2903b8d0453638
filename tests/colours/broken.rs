//! Greens that must not get anyone, or not for long: the room stays with blue, and nobody loses his place.

use crate::{
    crowd::Newcomers,
    machine::KEYS,
    nodes::{Nature, Node},
    stage::{SMALL, Size, Stage},
};
use waitroom::store::postgres::connect;

/// As soon as it serves, and half a second later.
const ONCE_IT_SERVES: &str =
    "until grep -q waitroom_green ../nginx/active.conf; do sleep 0.1; done; sleep 0.5";
/// Once it runs: what is looked at then is as slow as this.
const ONCE_IT_RUNS: &str = "until grep -q check ../state/state.json; do sleep 0.1; done";
/// Runs an eighth of the time.
const HALTING: &str = "while kill -STOP $pid; do sleep 1.4; kill -CONT $pid; sleep 0.2; done";
const OTHER_KEYS: &str = "k1:YW5vdGhlcktleUFub3RoZXJLZXlBbm90aGVyS2V5QW4=";

/// What is wrong with green, and a word of why it is not taken.
#[derive(Clone, Copy, Debug)]
pub enum Green {
    DoesNotStart,
    DiesAtOnce,
    DiesServing,
    HasOtherKeys,
    HasOldSchema,
    IsSlow,
    BecomesSlow,
    HasWrongClock,
    HasWrongSettings,
    HasAnotherRedis,
}

impl Green {
    pub const ALL: [Self; 10] = [
        Self::DoesNotStart,
        Self::DiesAtOnce,
        Self::DiesServing,
        Self::HasOtherKeys,
        Self::HasOldSchema,
        Self::IsSlow,
        Self::BecomesSlow,
        Self::HasWrongClock,
        Self::HasWrongSettings,
        Self::HasAnotherRedis,
    ];

    /// Breaks it, and says why it will not be taken.
    async fn break_it(self, stage: &Stage, other: &Node) -> &'static str {
        let green = &stage.colours[1];
        match self {
            Self::DoesNotStart => {
                green.program_is_script("[ \"$1\" = serve ] && exit 70; exec $REAL \"$@\"");
                "green: it started and ended"
            }
            Self::DiesAtOnce => {
                green.program_suffers("sleep 1; kill -KILL $pid");
                "green"
            }
            Self::DiesServing => {
                green.program_suffers(&format!("{ONCE_IT_SERVES}; kill -KILL $pid"));
                "green is worse: no answer"
            }
            Self::HasOtherKeys => {
                green.set(KEYS, OTHER_KEYS);
                "has it the same signing_keys"
            }
            Self::HasOldSchema => {
                let names = "(99, 'contract_99_drops_all', '', '0')";
                sql(stage, &format!("INSERT INTO refinery_schema_history VALUES {names}")).await;
                "wants programs that know version 99"
            }
            Self::IsSlow => {
                green.program_suffers(&format!("{ONCE_IT_RUNS}; {HALTING}"));
                "green"
            }
            Self::BecomesSlow => {
                green.program_suffers(&format!("{ONCE_IT_SERVES}; {}", HALTING.replace("1.4", "4")));
                "green is worse"
            }
            Self::HasWrongClock => {
                green.clock_says(Some("1700000000.0"));
                "its clock is"
            }
            Self::HasWrongSettings => {
                green.set("drain_s = ", "drain_seconds = ");
                "drain_seconds: in waitroom.toml: no such setting"
            }
            Self::HasAnotherRedis => {
                green.set(&format!(":{}", stage.redis.port), &format!(":{}", other.port));
                "its redis_url leads to another Redis than blue's"
            }
        }
    }

    /// Whether it was to be started at all.
    fn is_started(self) -> bool {
        !matches!(
            self,
            Self::HasOldSchema | Self::HasWrongClock | Self::HasWrongSettings | Self::HasAnotherRedis
        )
    }

    /// It is deployed, and blue goes on serving.
    pub async fn is_refused(self, stage: &Stage) {
        let other = Node::start(Nature::default());
        let why = self.break_it(stage, &other).await;
        let said = stage.tool.leaves("blue", why);
        assert_eq!(said.text.contains(" start "), self.is_started(), "{self:?}: {}", said.text);
        assert!(!stage.colours[1].service("alive"), "{self:?}: {}", said.text);
        stage.colours[1].repair();
        sql(stage, "DELETE FROM refinery_schema_history WHERE version = 99").await;
    }
}

async fn sql(stage: &Stage, text: &str) {
    connect::postgres_single(&stage.postgres.url()).await.unwrap().batch_execute(text).await.unwrap();
}

/// All of those, one after the other, while a crowd is there; answers how newcomers fared.
pub async fn are_refused(size: Size, greens: &[Green]) -> crate::crowd::Fared {
    let mut stage = Stage::set(size);
    stage.open_sale();
    let mut crowd = stage.crowd("vanish = 0.1\n");
    stage.until_waiting(u64::from(size.visitors) / 2);
    let newcomers = Newcomers::come(&stage.nginx.address, &stage.sale());
    for green in greens {
        green.is_refused(&stage).await;
    }
    stage.rate_is(200);
    let (report, fared) = (crowd.goes_home(), newcomers.stop());
    let broken = stage.broken(&crowd.history, &report).await;
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(report["outcomes"]["booked"], size.visitors, "{report}");
    fared
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn broken_greens_leave_the_room_with_blue() {
    use Green::{DiesServing, DoesNotStart, HasAnotherRedis, HasOldSchema, HasOtherKeys, IsSlow};
    let greens = [DoesNotStart, DiesServing, HasOtherKeys, HasOldSchema, HasAnotherRedis, IsSlow];
    let fared = are_refused(SMALL, &greens).await;
    assert!(fared.served > 30, "{fared:?}");
}
