//! TLS towards PostgreSQL: which certificates are believed.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Whose certificate is good enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Any: encrypts against listeners, but not against a server that pretends (libpq's `prefer`).
    Anyone,
    /// One that the public web's roots vouch for.
    PublicRoots,
    /// One that this PEM file's roots vouch for; what managed databases hand out.
    File(PathBuf),
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM file is missing or holds no certificate.
    #[error("sslrootcert {path}: {problem}")]
    RootFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// rustls refused the configuration.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// Names the cryptography once for the whole process: with more than one provider compiled in, rustls would
/// otherwise panic at the first handshake. Safe to call again.
pub fn install_provider() {
    // An error says that one is already installed, which is all that is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The client's side of a TLS connection that believes `trust`.
pub fn client_config(trust: &Trust) -> Result<ClientConfig, TlsError> {
    install_provider();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let roots = match trust {
        Trust::Anyone => {
            let anyone = Arc::new(AnyServer(provider));
            return Ok(builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth());
        }
        Trust::PublicRoots => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Trust::File(path) => roots_of(path)?,
    };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn roots_of(path: &PathBuf) -> Result<RootCertStore, TlsError> {
    let fault = |problem: String| TlsError::RootFile { path: path.clone(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))? {
        let certificate = certificate.map_err(|error| fault(error.to_string()))?;
        roots.add(certificate).map_err(|error| fault(error.to_string()))?;
    }
    if roots.is_empty() { Err(fault("holds no certificate".to_owned())) } else { Ok(roots) }
}

/// Takes any certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trust_makes_a_config() {
        assert!(client_config(&Trust::Anyone).is_ok());
        assert!(client_config(&Trust::PublicRoots).is_ok());
        let error = client_config(&Trust::File("/nonexistent.pem".into())).unwrap_err();
        assert!(error.to_string().starts_with("sslrootcert /nonexistent.pem"), "{error}");
    }
}
