//! The keys of tokens and identities. Those that are in files are read anew while the server runs.

use super::Edge;
use crate::settings::KeySettings;
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{task::spawn_blocking, time::sleep};
use wire::domain::token::{Key, Keyring, Token};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// The keys that are good now.
pub struct Keys(RwLock<Arc<Held>>);

/// Keys that are good together.
struct Held {
    ring: Keyring,
    identity: Option<Vec<u8>>,
}

impl Held {
    fn of(settings: &KeySettings) -> Option<Arc<Self>> {
        let keys = settings.signing_keys.iter();
        let keys = keys.map(|key| Key { kid: key.kid.clone(), secret: key.secret.clone() }).collect();
        let identity = settings.identity_key.as_ref().map(|key| key.bytes().to_vec());
        Some(Arc::new(Self { ring: Keyring::new(keys)?, identity }))
    }
}

impl Keys {
    /// Of the settings; nothing if there is no signing key.
    pub fn new(settings: &KeySettings) -> Option<Self> {
        Some(Self(RwLock::new(Held::of(settings)?)))
    }

    fn held(&self) -> Arc<Held> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The signed token.
    pub fn sign(&self, token: &Token) -> String {
        self.held().ring.sign(token)
    }

    /// What the token says, or nothing if it is not one of ours, unaltered.
    pub fn verify(&self, token: &str) -> Option<Token> {
        self.held().ring.verify(token)
    }

    /// As [`Keyring::pseudonym`].
    pub fn pseudonym(&self, of: &[u8]) -> u64 {
        self.held().ring.pseudonym(of)
    }

    /// What the shop's key makes of something; nothing if this server was given none.
    pub fn with_identity_key<T>(&self, ask: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.held().identity.as_deref().map(ask)
    }

    /// Whether visitors may bring identities.
    pub fn takes_identities(&self) -> bool {
        self.held().identity.is_some()
    }

    fn replace(&self, settings: &KeySettings) {
        if let Some(held) = Held::of(settings) {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = held;
        }
    }
}

/// Follows the files that keys are in, for as long as the edge lives: what they have holds, and where it cannot be read or is no
/// good, what they had.
pub async fn follow(edge: Arc<Edge>, settings: KeySettings) {
    let (edge, mut settings, mut said) = (Arc::downgrade(&edge), settings, String::new());
    loop {
        sleep(EVERY).await;
        let now = settings.clone();
        let Ok(Some(read)) = spawn_blocking(move || now.read_anew()).await else { return };
        let Some(edge) = edge.upgrade() else { return };
        match read {
            Ok(new) if new.is_as(&settings) => said.clear(),
            Ok(new) => {
                let kids: Vec<_> = new.signing_keys.iter().map(|key| key.kid.as_str()).collect();
                tracing::info!("the keys are read anew: {} (the first signs, all verify)", kids.join(", "));
                edge.keys.replace(&new);
                settings = new;
                said.clear();
            }
            Err(error) if error.to_string() == said => {}
            Err(error) => {
                said = error.to_string();
                tracing::error!("the keys stay as they were: {said}");
            }
        }
    }
}
