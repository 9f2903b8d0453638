//! The keys of the tokens: those that sign places and turns, and the shop's.

use std::path::PathBuf;

use clap::Args;

use super::{IdentityKey, Secret, SettingsError, SigningKey, refused, secrets::secret, values};

/// The keys of the tokens, as clap reads them.
#[derive(Debug, Clone, Default, Args)]
pub struct KeyArgs {
    /// Keys of place and booking tokens, kid:base64,kid2:base64: the first signs, all verify
    #[arg(long, value_name = "KEYS")]
    pub signing_keys: Option<Secret>,
    /// A file with the signing keys
    #[arg(long, value_name = "FILE")]
    pub signing_keys_file: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shop: IdentityArgs,
}

/// The shop's key, as clap reads it.
#[derive(Debug, Clone, Default, Args)]
pub struct IdentityArgs {
    /// The HS256 key of the shop that signs visitors' identities: text, or base64:… for bytes
    #[arg(long, value_name = "KEY")]
    pub identity_key: Option<Secret>,
    /// A file with the identity key
    #[arg(long, value_name = "FILE")]
    pub identity_key_file: Option<PathBuf>,
}

impl IdentityArgs {
    /// The identity key, where one was given.
    pub fn identity(&self) -> Result<Option<IdentityKey>, SettingsError> {
        let key = secret("identity_key", self.identity_key.as_ref(), self.identity_key_file.as_deref())?;
        key.map(|key| IdentityKey::parse(key.expose()).map_err(|why| refused("identity_key", why)))
            .transpose()
    }
}

/// The keys of the tokens.
#[derive(Debug, Clone)]
pub struct KeySettings {
    /// Of place and booking tokens: the first signs, all verify. Never empty.
    pub signing_keys: Vec<SigningKey>,
    /// The shop's, where visitors bring identities.
    pub identity_key: Option<IdentityKey>,
    /// Where they were read from, to be read anew.
    pub source: KeyArgs,
}

impl KeySettings {
    /// Whether the shop has one of our own keys: it could sign anybody's place.
    pub fn shop_has_ours(&self) -> bool {
        let shop = self.identity_key.as_ref();
        shop.is_some_and(|shop| self.signing_keys.iter().any(|key| key.secret == shop.bytes()))
    }

    /// Whether the keys are the same, in the same order.
    pub fn is_as(&self, other: &Self) -> bool {
        self.signing_keys == other.signing_keys && self.identity_key == other.identity_key
    }

    /// The keys as their files have them now; nothing if no file has any.
    pub fn read_anew(&self) -> Option<Result<Self, SettingsError>> {
        let has_file =
            self.source.signing_keys_file.is_some() || self.source.shop.identity_key_file.is_some();
        has_file.then(|| self.source.resolve())
    }
}

impl KeyArgs {
    /// The signing keys, where some were given.
    pub fn signing(&self) -> Result<Option<Vec<SigningKey>>, SettingsError> {
        let keys = secret("signing_keys", self.signing_keys.as_ref(), self.signing_keys_file.as_deref())?;
        keys.map(|keys| values::signing_keys(keys.expose()).map_err(|why| refused("signing_keys", why)))
            .transpose()
    }

    /// The complete settings; signing keys are required.
    pub fn resolve(&self) -> Result<KeySettings, SettingsError> {
        let signing_keys = self.signing()?.ok_or_else(|| {
            refused(
                "signing_keys",
                "is missing; make one with `echo \"k1:$(openssl rand -base64 32)\"` and give it as --signing-keys, \
                 WAITROOM_SIGNING_KEYS, or a file as signing_keys_file",
            )
        })?;
        let identity_key = self.shop.identity()?;
        Ok(KeySettings { signing_keys, identity_key, source: self.clone() })
    }
}
