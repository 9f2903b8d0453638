//! Who may use the admin API: the operator's token, and named ones with a role.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{
    Secret, SettingsError, missing, refused,
    secrets::{TOKEN_BYTES_MIN, secret, weakness},
    values,
};
use wire::domain::audit::Actor;
use wire::domain::ids::SaleId;

/// What the operator connects to, as clap reads it.
#[derive(Debug, Clone, Args)]
pub struct AdminArgs {
    /// Where the admin API, the operator's page and the metrics are
    #[arg(long, global = true, value_name = "ADDRESS", default_value = "127.0.0.1:9090", value_parser = values::address)]
    pub admin_listen: SocketAddr,
    /// The token that the admin API asks for
    #[arg(long, global = true, value_name = "TOKEN")]
    pub admin_token: Option<Secret>,
    /// A file with the admin token
    #[arg(long, global = true, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

/// What the operator connects to.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// Where the admin API and the metrics are.
    pub admin_listen: SocketAddr,
    /// The token that the admin API asks for.
    pub admin_token: Secret,
}

impl AdminArgs {
    /// The token, where one was given.
    pub fn token(&self) -> Result<Option<Secret>, SettingsError> {
        let token = secret("admin_token", self.admin_token.as_ref(), self.admin_token_file.as_deref())?;
        match token {
            // It travels in a header.
            Some(token) if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(refused("admin_token", "use visible ASCII characters without spaces"))
            }
            token => Ok(token),
        }
    }

    /// The complete settings of a client; the token is required.
    pub fn resolve(&self) -> Result<AdminSettings, SettingsError> {
        let admin_token = self.token()?.ok_or_else(|| missing("admin_token"))?;
        Ok(AdminSettings { admin_listen: self.admin_listen, admin_token })
    }

    /// The complete settings of a server, which must not be opened by guessing.
    pub fn of_server(&self) -> Result<AdminSettings, SettingsError> {
        let settings = self.resolve()?;
        match weakness(settings.admin_token.expose().as_bytes(), TOKEN_BYTES_MIN) {
            Some(why) => Err(refused("admin_token", format!("{why}; {MAKE_ONE}"))),
            None => Ok(settings),
        }
    }
}

/// What to do about a weak token.
const MAKE_ONE: &str = "make one with `openssl rand -hex 24`";

/// What a token of the admin API may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Operator,
    /// Bookings: to read, confirm and release them.
    Shop,
    /// What a gate's connector needs; nothing of the admin API.
    Gate,
    /// Everything that changes nothing.
    Viewer,
}

impl Role {
    const ALL: [(&str, Self); 4] =
        [("operator", Self::Operator), ("shop", Self::Shop), ("gate", Self::Gate), ("viewer", Self::Viewer)];

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, role)| role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(_, role)| role == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// A token of the admin API, whose it is, and what it may be used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedToken {
    /// Whose, as the audit has it.
    pub name: Actor,
    /// What for.
    pub role: Role,
    /// In which sales; none: in all.
    pub sales: Vec<SaleId>,
    /// The token.
    pub token: Secret,
}

/// Who else may use the admin API, as clap reads it.
#[derive(Debug, Clone, Default, Args)]
pub struct RoleArgs {
    /// More tokens of the admin API, name:role[@sale…]:token, comma-separated; roles are operator, shop, gate, viewer
    #[arg(long, value_name = "TOKENS")]
    pub admin_tokens: Option<Secret>,
    /// A file with more tokens of the admin API
    #[arg(long, value_name = "FILE")]
    pub admin_tokens_file: Option<PathBuf>,
}

impl RoleArgs {
    /// The named tokens, none of which is another or `admin_token`.
    pub fn resolve(&self, admin_token: &Secret) -> Result<Vec<NamedToken>, SettingsError> {
        let text = secret("admin_tokens", self.admin_tokens.as_ref(), self.admin_tokens_file.as_deref())?;
        let Some(text) = text else { return Ok(Vec::new()) };
        let refuse = |why: String| refused("admin_tokens", why);
        let mut tokens: Vec<NamedToken> = Vec::new();
        // A file may have one a line.
        let entries = text.expose().split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        for (index, entry) in entries.enumerate() {
            let new = named_token(entry).map_err(|why| refuse(format!("token {}: {why}", index + 1)))?;
            let name = &new.name;
            if tokens.iter().any(|known| known.name == *name) {
                return Err(refuse(format!("the name {name} is there twice; give each token its own")));
            }
            if new.token == *admin_token || tokens.iter().any(|known| known.token == new.token) {
                return Err(refuse(format!("{name} has a token that is there already; give each its own")));
            }
            tokens.push(new);
        }
        Ok(tokens)
    }
}

/// Reads `name:role[@sale…]:token`. What is wrong is said without the token.
fn named_token(entry: &str) -> Result<NamedToken, String> {
    let form = || "is not name:role:token, such as till:shop:… or till:shop@spring@autumn:…".to_owned();
    let (name, rest) = entry.split_once(':').ok_or_else(form)?;
    let (granted, token) = rest.split_once(':').ok_or_else(form)?;
    let named = Actor::parse(name).filter(|name| *name != Actor::admin());
    let name = named.ok_or("its name must be 1 to 32 of a-z 0-9 _ -, and not admin")?;
    let mut granted = granted.split('@');
    let role = granted.next().and_then(Role::parse);
    let role = role.ok_or_else(|| format!("{name}'s role is none of operator, shop, gate, viewer"))?;
    let sale = |id: &str| SaleId::parse(id).ok_or_else(|| format!("{name}: {id:?} is no sale's id"));
    let sales = granted.map(sale).collect::<Result<_, _>>()?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{name}'s token must have visible ASCII characters alone"));
    }
    match weakness(token.as_bytes(), TOKEN_BYTES_MIN) {
        Some(why) => Err(format!("{name}'s token {why}; {MAKE_ONE}")),
        None => Ok(NamedToken { name, role, sales, token: Secret::from(token.to_owned()) }),
    }
}
