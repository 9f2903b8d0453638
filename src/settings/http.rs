//! What visitors connect to, and what of them is allowed who prove nothing.

use super::{
    SettingsError, pair,
    values::{self, Cidr, ProofOfWork},
};
use clap::{Args, builder::BoolishValueParser, value_parser};
use std::{net::SocketAddr, path::PathBuf};

/// What visitors connect to.
#[derive(Debug, Clone, Args)]
pub struct HttpSettings {
    /// Where visitors connect
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", value_parser = values::address)]
    pub listen: SocketAddr,
    /// Share that address with other instances on this machine, each of which sets this: the kernel parts the visitors among them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub reuse_port: bool,
    /// Origins whose pages may open a socket, comma-separated (default: this server's own host)
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', value_parser = values::origin)]
    pub allowed_origins: Vec<String>,
    /// Proxies, as addresses or CIDR blocks, whose word is taken on a visitor's address (X-Forwarded-For) and on whether he came over TLS (X-Forwarded-Proto), and whose idle connections are kept
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = values::cidr)]
    pub trusted_proxies: Vec<Cidr>,
    /// Seconds from SIGTERM to exit
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = value_parser!(u64).range(1..=3600))]
    pub drain_s: u64,
}

/// The visitors' TLS, as clap reads it.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsArgs {
    /// The certificate that visitors are shown, and those that vouch for it (PEM); read anew when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// The certificate's private key (PEM); read anew when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,
}

/// The visitors' TLS.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The certificate, and those that vouch for it.
    pub tls_cert_file: PathBuf,
    /// Its private key.
    pub tls_key_file: PathBuf,
}

impl TlsArgs {
    /// Both files, or nothing where TLS ends elsewhere.
    pub fn resolve(&self) -> Result<Option<TlsSettings>, SettingsError> {
        let key = ("tls_key_file", self.tls_key_file.as_ref());
        let files = pair(("tls_cert_file", self.tls_cert_file.as_ref()), key)?;
        Ok(files.map(|(tls_cert_file, tls_key_file)| TlsSettings { tls_cert_file, tls_key_file }))
    }
}

/// What those may do who prove nothing of themselves.
#[derive(Debug, Clone, Args)]
pub struct StrangerSettings {
    /// New anonymous places a sale, address and 10 minutes; an IPv6 address counts by its /64; 0: no limit
    #[arg(long, value_name = "COUNT", default_value = "2000", value_parser = value_parser!(u32))]
    pub address_places: u32,
    /// Open sockets of an address, on each instance; 0: no limit
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = value_parser!(u32))]
    pub address_sockets: u32,
    /// Work that is asked for before an anonymous place is drawn: off, auto (when many come), or its bits, 1 to 22
    #[arg(long, value_name = "BITS", default_value = "off", value_parser = values::proof_of_work)]
    pub proof_of_work: ProofOfWork,
}
