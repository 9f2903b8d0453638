//! Every bound in the program that is not an operator's setting, with its reason. Bounds of the wire are in
//! `wire::protocol`, bounds of a sale's settings in `wire::domain::sale`, bounds of the scripts in `store/line/lua`.

use std::time::Duration;
use wire::protocol::CLIENT_FRAME_BYTES_MAX;

/// News that a socket may be behind with: five seconds of the seat map's at their quickest. A reader who is slower than
/// this has lost touch; it may resume.
pub const LANE_MAX: usize = 256;
/// Joins in one call to Redis: 512 take about 5 ms there, 8 in a line of a million.
pub const JOINS_MAX: usize = 512;
/// Joins that may wait for the call before theirs; about a second's worth.
pub const JOINS_QUEUE_MAX: usize = 50_000;
/// Polls of visitors without a socket in one call to Redis.
pub const POLLS_MAX: usize = 512;
/// Polls that may wait for the call before theirs; about a second's worth.
pub const POLLS_QUEUE_MAX: usize = 50_000;
/// Leaves, or claims, in one call to Redis: in a line of a million a leave costs as much as two joins.
pub const TURNS_MAX: usize = 256;
/// Leaves, and claims, that may wait for the call before theirs.
pub const TURNS_QUEUE_MAX: usize = 50_000;
/// Redeems in one transaction: COPY gains little beyond, and all wait for the last.
pub const REDEEMS_MAX: usize = 1_000;
/// Redeems that may wait; beyond, `busy`.
pub const REDEEMS_QUEUE_MAX: usize = 10_000;
/// How long the grants of a batch of redeems are fenced against lapse.
pub const FENCE: Duration = Duration::from_secs(10);
/// Time between ticks: above the 90 ms that two that decide are apart, so that hardly one is in vain.
pub const TICK: Duration = Duration::from_millis(93);
/// Time between two versions of the seat map, at least: the fewer watch, the sooner the next, for each click on a seat
/// that has just been taken is one in vain …
pub const SEAT_NEWS_MIN: Duration = Duration::from_millis(20);
/// … and at most: it leaves time within the 250 ms after a commit in which everyone must have heard.
pub const SEAT_NEWS_MAX: Duration = Duration::from_millis(100);
/// Between the two, so many frames a second over all who watch: about a third of a core.
pub const SEAT_FRAMES_PER_S: u32 = 20_000;
/// How long news of the seats wait at most for a machine that is too busy to send the last.
pub const SEAT_NEWS_PATIENCE: Duration = Duration::from_secs(1);
/// Ranks below this are near …
pub const NEAR_RANK: u64 = 1_000;
/// … and told anew each so often (contract: at most 1 s old) …
pub const NEAR_ROUND: Duration = Duration::from_millis(250);
/// … and all others (contract: at most 5 s old).
pub const FAR_ROUND: Duration = Duration::from_secs(3);
/// On a machine that has no more to give, those wait for up to so many times as long (contract: at most 30 s).
pub const FAR_STRETCH_MAX: f64 = 8.0;
/// A socket to which nothing was sent for so many seconds is pinged …
pub const PING_S: u32 = 20;
/// … and one whose peer said nothing for so many, whatever was sent: the ping is most of what a visitor costs who is far back.
pub const QUIET_S: u32 = 30;
/// A socket whose peer says nothing for so many seconds is dropped.
pub const DROP_S: u32 = 45;
/// How long a closed sale has a room still: everyone hears of it, and lists are the same on all instances.
pub const CLOSED_ROOM: Duration = Duration::from_secs(20);
/// How often holds are looked at.
pub const HOLDS: Duration = Duration::from_millis(800);
/// How often an instance says that it keeps a journal, or asks whether it may: half of the time for which it may.
pub const JOURNAL_LEASE: Duration = Duration::from_secs(3);
/// Between two transactions of a journal, when all that happened is in it: the lag that this costs saves most of them.
pub const JOURNAL_PAUSE: Duration = Duration::from_millis(300);
/// How often the head of a journal goes into the log.
pub const HEAD_LOGGED: Duration = Duration::from_secs(60);
/// Journaled entries that stay in the stream, for followers that are a little behind.
pub const STREAM_KEPT: u64 = 10_000;
/// How often the seat map is compared with PostgreSQL.
pub const COMPARE: Duration = Duration::from_secs(5);
/// How often sales and their settings are looked up in PostgreSQL, beside the stream that tells of changes.
pub const SALES_POLL: Duration = Duration::from_millis(800);
/// Files kept free below the process's limit: stores, listeners, logs, the admin listener's connections, lingering ones.
pub const FILES_RESERVED: u64 = 300;
/// Connections of the admin listener.
pub const ADMIN_CONNECTIONS_MAX: usize = 100;
/// What the kernel may hold for a connection whose peer does not read, in bytes; it doubles this.
pub const SEND_BUFFER_BYTES: u32 = 64 << 10;
/// Memory for cached summaries of sales, in bytes.
pub const CACHE_BYTES_MAX: u64 = 64 << 20;
/// Memory for cached plans, in bytes: the largest that there may be comes to 44 MiB with its pressed copies, and two sales overlap.
pub const PLANS_BYTES_MAX: u64 = 128 << 20;
/// How long a cached answer of the public API lives.
pub const CACHE_TTL: Duration = Duration::from_secs(1);

/// Where one of so many connections that there may be has asked for nothing yet, that is too many too: a server that may open few files
/// must have room for who asks.
pub const SILENT_SHARE: usize = 4;
/// How long a connection may be silent where too many are: many times what a handshake and a request take.
pub const SILENT_WITHIN: Duration = Duration::from_secs(2);

/// The edge's bounds on whoever connects. A server has the default; a test takes one of them away, to see the attack that it is
/// there against.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A request's head must be here within this, counted from the moment at which the connection could send it: a browser keeps
    /// idle connections beside its socket, and each is a file.
    pub head_within: Duration,
    /// A TLS handshake must be over within this; then the time for the first request's head begins.
    pub handshake_within: Duration,
    /// Where more connections than this have not asked for anything yet, TLS handshakes among them, each has only
    /// [`SILENT_WITHIN`]: those that have been silent for longest go, and who speaks gets in.
    pub silent_max: u32,
    /// A request's body must be here within this.
    pub body_within: Duration,
    /// A socket must join within this.
    pub join_within: Duration,
    /// Messages a second that a socket may send, and requests that a visitor may make …
    pub messages_per_s: f64,
    /// … and how many at once.
    pub messages_burst: f64,
    /// What a `join` or `leave` counts as: each goes to Redis and into the journal by itself.
    pub costly_message: u32,
    /// Bytes of a frame that a client may send.
    pub frame_bytes_max: usize,
    /// Whether pages of other origins are refused.
    pub checks_origin: bool,
    /// Whether who waits is parked: no bound, but what a test compares.
    pub parks: bool,
    /// Whether a token does only what its role is for, in its own sales.
    pub checks_rights: bool,
    /// Whether wrong admin tokens are answered late.
    pub slows_guesses: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            head_within: Duration::from_secs(8),
            handshake_within: Duration::from_secs(8),
            // About 100 MB of handshakes.
            silent_max: 5_000,
            body_within: Duration::from_secs(10),
            join_within: Duration::from_secs(10),
            messages_per_s: 20.0,
            messages_burst: 40.0,
            costly_message: 4,
            frame_bytes_max: CLIENT_FRAME_BYTES_MAX,
            checks_origin: true,
            parks: true,
            checks_rights: true,
            slows_guesses: true,
        }
    }
}
