//! The fault proxy: stands between a server and a store, and passes, freezes or cuts, at any moment or exactly when a
//! given statement goes by.

use crate::frames::{Asked, Frames, Talk};
use bytes::BytesMut;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// When a trap springs, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before it hears of the statement.
    Before,
    /// As soon as it has it; it may run it or not.
    During,
    /// Once it has run it; the client has not heard of that.
    After,
}

/// What happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The connection is cut.
    Cut,
    /// Nothing more passes in that direction until the trap is let go.
    Hold,
}

struct Armed {
    when: When,
    sql: &'static str,
    then: Then,
    sprung: oneshot::Sender<()>,
    released: oneshot::Receiver<()>,
}

impl Armed {
    /// A COMMIT counts only if it commits bookings: other transactions go by all the time.
    fn catches(&self, when: When, asked: &Asked) -> bool {
        self.when == when && asked.sql.contains(self.sql) && (self.sql != "COMMIT" || asked.writes)
    }
}

/// A trap that springs once. Let go at the latest when dropped.
pub struct Trap {
    sprung: Option<oneshot::Receiver<()>>,
    _release: oneshot::Sender<()>,
}

impl Trap {
    /// Waits until the statement has come by.
    pub async fn sprung(&mut self) {
        let sprung = self.sprung.take().expect("waited for once");
        timeout(Duration::from_secs(60), sprung).await.expect("the statement never came by").unwrap();
    }

    pub fn release(self) {}
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Weather {
    frozen: bool,
    /// What is read waits for so long before it is passed on.
    lag: Duration,
    refusing: bool,
    /// Connections older than this count of cuts are gone.
    cuts: u64,
}

struct Shared {
    upstream: PathBuf,
    speaks_postgres: bool,
    weather: watch::Sender<Weather>,
    traps: Mutex<Vec<Armed>>,
}

/// One proxy, on a Unix socket of its own.
pub struct Proxy {
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
    accepting: JoinHandle<()>,
}

impl Proxy {
    const NAME: &str = ".s.PGSQL.5432";

    pub fn before_postgres(sockets: &Path) -> Self {
        Self::start(sockets.join(Self::NAME), true)
    }

    pub fn before_redis(socket: &Path) -> Self {
        Self::start(socket.to_owned(), false)
    }

    fn start(upstream: PathBuf, speaks_postgres: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(Self::NAME)).unwrap();
        let weather = watch::Sender::new(Weather::default());
        let shared = Arc::new(Shared { upstream, speaks_postgres, weather, traps: Mutex::default() });
        let accepting = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(shared.clone(), client));
                }
            }
        });
        Self { shared, folder, accepting }
    }

    /// The folder of its socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(Self::NAME)
    }

    pub fn trap(&self, when: When, sql: &'static str, then: Then) -> Trap {
        let ((sprung, heard), (release, released)) = (oneshot::channel(), oneshot::channel());
        self.shared.traps().push(Armed { when, sql, then, sprung, released });
        Trap { sprung: Some(heard), _release: release }
    }

    /// No byte passes, either way, nor is a new connection's heard.
    pub fn freeze(&self) {
        self.shared.weather.send_modify(|weather| weather.frozen = true);
    }

    pub fn thaw(&self) {
        self.shared.weather.send_modify(|weather| weather.frozen = false);
    }

    /// Everything takes longer, each way.
    pub fn lag(&self, lag: Duration) {
        self.shared.weather.send_modify(|weather| weather.lag = lag);
    }

    /// Cuts every connection, and each that comes, until `heal`.
    pub fn sever(&self) {
        self.shared.weather.send_modify(|weather| {
            weather.refusing = true;
            weather.cuts += 1;
        });
    }

    pub fn heal(&self) {
        self.shared.weather.send_modify(|weather| weather.refusing = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.thaw();
        self.sever();
    }
}

impl Shared {
    fn traps(&self) -> std::sync::MutexGuard<'_, Vec<Armed>> {
        self.traps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Springs the trap that this statement meets, if there is one.
    async fn pass(&self, when: When, asked: &Asked) -> Result<(), Severed> {
        let armed = {
            let mut traps = self.traps();
            let met = traps.iter().position(|trap| trap.catches(when, asked));
            met.map(|index| traps.remove(index))
        };
        let Some(armed) = armed else { return Ok(()) };
        // Who set the trap may have gone.
        let _ = armed.sprung.send(());
        if armed.then == Then::Cut {
            return Err(Severed);
        }
        let _ = armed.released.await;
        Ok(())
    }

    async fn travel(&self) {
        let mut weather = self.weather.subscribe();
        // Fails only with the proxy.
        let lag =
            weather.wait_for(|weather| !weather.frozen).await.map_or(Duration::ZERO, |weather| weather.lag);
        if !lag.is_zero() {
            sleep(lag).await;
        }
    }
}

/// Carries one connection until both sides have ended it, or it is cut.
async fn carry(shared: Arc<Shared>, client: UnixStream) {
    let mut weather = shared.weather.subscribe();
    let born = *weather.borrow();
    if born.refusing {
        return;
    }
    shared.travel().await;
    let Ok(server) = UnixStream::connect(&shared.upstream).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let talk = Mutex::new(Talk::default());
    let both = async {
        tokio::select! {
            // A client that has gone does not stop what it sent from arriving.
            Err(Severed) = ask(&shared, &talk, from_client, to_server) => {}
            () = answer(&shared, &talk, from_server, to_client) => {}
        }
    };
    tokio::select! {
        () = both => {}
        _ = weather.wait_for(|weather| weather.cuts > born.cuts) => {}
    }
}

/// The connection is to be cut.
struct Severed;

impl From<io::Error> for Severed {
    fn from(_: io::Error) -> Self {
        Self
    }
}

async fn ask(
    shared: &Shared,
    talk: &Mutex<Talk>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) -> Result<(), Severed> {
    let mut frames = Frames::of_client();
    let mut ready = BytesMut::new();
    let mut passing = None;
    loop {
        if from.read_buf(frames.buffer()).await? == 0 {
            to.shutdown().await?;
            return Ok(());
        }
        shared.travel().await;
        if !shared.speaks_postgres {
            ready.extend_from_slice(&frames.buffer().split());
        }
        while let Some(frame) = frames.next() {
            if let Some(asked) = talk.lock().unwrap_or_else(PoisonError::into_inner).hear_client(&frame) {
                passing = Some(asked);
            }
            if let Some(asked) = passing.as_ref().filter(|_| matches!(frame[0], b'Q' | b'B')) {
                to.write_all_buf(&mut ready).await?;
                shared.pass(When::Before, asked).await?;
            }
            ready.extend_from_slice(&frame);
            // What was prepared runs once its Sync is there.
            if matches!(frame[0], b'Q' | b'S')
                && let Some(asked) = passing.take()
            {
                to.write_all_buf(&mut ready).await?;
                shared.pass(When::During, &asked).await?;
            }
        }
        to.write_all_buf(&mut ready).await?;
    }
}

async fn answer(shared: &Shared, talk: &Mutex<Talk>, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut frames = Frames::of_server();
    let mut ready = BytesMut::new();
    // What the server still says to a client that has gone is read, so that it need not wait.
    while from.read_buf(frames.buffer()).await.is_ok_and(|read| read > 0) {
        shared.travel().await;
        if !shared.speaks_postgres {
            ready.extend_from_slice(&frames.buffer().split());
        }
        while let Some(frame) = frames.next() {
            let done = talk.lock().unwrap_or_else(PoisonError::into_inner).hear_server(&frame);
            if let Some(asked) = done {
                let _ = to.write_all_buf(&mut ready).await;
                if shared.pass(When::After, &asked).await.is_err() {
                    return;
                }
            }
            ready.extend_from_slice(&frame);
        }
        let _ = to.write_all_buf(&mut ready).await;
        ready.clear();
    }
}
