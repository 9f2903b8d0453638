//! TLS towards Redis: whose certificates are believed of it, and the one that it is shown.

use crate::{
    settings::RedisTls,
    store::{errors::ConnectError, postgres::tls::install_provider},
};
use redis::{Client, ClientTlsConfig, ConnectionInfo, TlsCertificates};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::path::Path;

/// The same node, spoken to as the files say.
///
/// # Errors
/// A file cannot be read, or does not hold what it should.
pub(super) fn with_files(node: ConnectionInfo, files: &RedisTls) -> Result<ConnectionInfo, ConnectError> {
    install_provider();
    let root_cert = files.redis_ca_file.as_deref().map(|file| read("redis_ca_file", file)).transpose()?;
    if let Some(roots) = &root_cert {
        certificates("redis_ca_file", roots)?;
    }
    let client_tls = match (&files.redis_cert_file, &files.redis_key_file) {
        (Some(cert), Some(key)) => Some(client(cert, key)?),
        _ => None,
    };
    if root_cert.is_none() && client_tls.is_none() {
        return Ok(node);
    }
    let client = Client::build_with_tls(node, TlsCertificates { client_tls, root_cert });
    let client = client.map_err(|error| fault("redis_ca_file", &error.to_string()))?;
    Ok(client.get_connection_info().clone())
}

/// The certificate and its key, which belong together: a server would only hang up on others.
fn client(cert_file: &Path, key_file: &Path) -> Result<ClientTlsConfig, ConnectError> {
    let (cert, key) = ("redis_cert_file", "redis_key_file");
    let client_cert = read(cert, cert_file)?;
    let client_key = read(key, key_file)?;
    let chain = certificates(cert, &client_cert)?;
    let private = PrivateKeyDer::from_pem_slice(&client_key)
        .map_err(|_| fault(key, "holds no private key; give it as PEM, without a password"))?;
    let private = ring::default_provider().key_provider.load_private_key(private);
    let private =
        private.map_err(|error| fault(key, &format!("holds a key that cannot be used: {error}")))?;
    CertifiedKey::new(chain, private).keys_match().map_err(|_| {
        fault(key, "is not the key of the certificate in redis_cert_file; give the two that belong together")
    })?;
    Ok(ClientTlsConfig { client_cert, client_key })
}

fn certificates(key: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Err(error) => Err(fault(key, &format!("is no PEM file: {error}"))),
        Ok(none) if none.is_empty() => Err(fault(key, "holds no certificate; give it as PEM")),
        Ok(some) => Ok(some),
    }
}

fn read(key: &'static str, file: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(file).map_err(|error| fault(key, &format!("cannot read {}: {error}", file.display())))
}

fn fault(key: &'static str, problem: &str) -> ConnectError {
    ConnectError::Url { key, problem: problem.to_owned() }
}
