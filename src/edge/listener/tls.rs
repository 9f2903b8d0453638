//! TLS that ends here: the certificate, read anew when its files change, and the handshake.

use crate::{metrics, settings::TlsSettings};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::TcpStream,
    time::{interval, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_cert::{Certificate, der::Decode};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// A certificate that ends sooner is warned of when it is read.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// What is spoken over it; who offers only something else hears so in the handshake.
const ALPN: &[u8] = b"http/1.1";

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct TlsError {
    /// The setting that names the file.
    pub setting: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// TLS as this server speaks it.
pub struct Tls {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    settings: TlsSettings,
    /// The files' bytes as they were tried last, whether they were good or not.
    tried: Mutex<Files>,
}

/// Certificate and key, as the files have them.
#[derive(Default, PartialEq, Eq)]
struct Files([Vec<u8>; 2]);

/// The certificate that is shown.
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(…)")
    }
}

impl Tls {
    /// Reads the files.
    pub fn open(settings: &TlsSettings) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let files = Files::read(settings)?;
        let (certificate, until) = files.certificate(&provider, SystemTime::now())?;
        tell(until);
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certificate))));
        let fault = |error: rustls::Error| TlsError { setting: "tls_cert_file", problem: error.to_string() };
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(fault)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Whoever comes back is known by what he holds himself: nothing is kept here for him.
        config.ticketer = ring::Ticketer::new().map_err(fault)?;
        let (acceptor, settings) = (TlsAcceptor::from(Arc::new(config)), settings.clone());
        Ok(Self { acceptor, shown, settings, tried: Mutex::new(files) })
    }

    /// Until when the certificate in the files is good; what `doctor` asks.
    pub fn good_until(settings: &TlsSettings) -> Result<SystemTime, TlsError> {
        let (_, until) = Files::read(settings)?.certificate(&ring::default_provider(), SystemTime::now())?;
        Ok(until)
    }

    /// The handshake; nothing if it failed or took too long.
    pub(super) async fn accept(&self, stream: TcpStream, within: Duration) -> Option<TlsStream<TcpStream>> {
        let reason = match timeout(within, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => {
                tracing::debug!("a TLS handshake failed: {error}");
                "tls"
            }
            Err(_) => "slow",
        };
        metrics::connections_refused(reason, 1);
        None
    }

    /// Looks for other files, for ever.
    pub async fn watch(&self) {
        let mut ticks = interval(LOOK);
        loop {
            ticks.tick().await;
            self.look();
        }
    }

    /// Takes the files if they have changed and are good; if not, goes on with what it has.
    fn look(&self) {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let files = match Files::read(&self.settings) {
            Ok(files) if files != *tried => files,
            // A file that is missing is being put in place just now, or will be warned of as long as it is.
            Ok(_) | Err(_) => return,
        };
        match files.certificate(&ring::default_provider(), SystemTime::now()) {
            Ok((certificate, until)) => {
                *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
                tracing::info!(until = %day(until), "the certificate was read anew");
                tell(until);
            }
            Err(error) => tracing::error!("the certificate is not changed: {error}"),
        }
        *tried = files;
    }
}

impl Files {
    fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let read = |setting, path: &Path| {
            let fault = |error: io::Error| TlsError {
                setting,
                problem: format!("cannot read {}: {error}", path.display()),
            };
            std::fs::read(path).map_err(fault)
        };
        let cert = read("tls_cert_file", &settings.tls_cert_file)?;
        Ok(Self([cert, read("tls_key_file", &settings.tls_key_file)?]))
    }

    /// The certificate with its key, and until when it is good.
    fn certificate(
        &self,
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<(CertifiedKey, SystemTime), TlsError> {
        let [cert, key] = &self.0;
        let of_cert = |problem: String| TlsError { setting: "tls_cert_file", problem };
        let of_key = |problem: &str| TlsError { setting: "tls_key_file", problem: problem.to_owned() };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
        let chain = chain.map_err(|error| of_cert(format!("is no PEM file: {error}")))?;
        let Some(first) = chain.first() else {
            return Err(of_cert("holds no certificate; give it as PEM, the server's own first".to_owned()));
        };
        let until = good_until(first, now).map_err(of_cert)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| of_key("holds no private key; give it as PEM, without a password"))?;
        let key = provider.key_provider.load_private_key(key).map_err(|_| {
            of_key("holds a key of a kind that is not served; make one with `openssl ecparam -name prime256v1 -genkey`")
        })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => Ok((certified, until)),
            Err(_) => Err(of_key(
                "is not the key of the certificate in tls_cert_file; give the two that belong together",
            )),
        }
    }
}

/// Until when a certificate is good, if it is now.
fn good_until(certificate: &CertificateDer<'_>, now: SystemTime) -> Result<SystemTime, String> {
    let parsed =
        Certificate::from_der(certificate).map_err(|error| format!("holds no certificate: {error}"))?;
    let validity = parsed.tbs_certificate.validity;
    let (from, until) = (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
    let (from, until) = (UNIX_EPOCH + from, UNIX_EPOCH + until);
    match () {
        () if now < from => Err(format!("is not good before {}; is this machine's clock right?", day(from))),
        () if now >= until => Err(format!("has expired on {}; renew it", day(until))),
        () => Ok(until),
    }
}

fn tell(until: SystemTime) {
    metrics::certificate_expires(until);
    if until.duration_since(SystemTime::now()).unwrap_or_default() < SOON {
        tracing::warn!(until = %day(until), "the certificate ends soon; put a new one into its files");
    }
}

/// As people and logs read it.
pub fn day(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
