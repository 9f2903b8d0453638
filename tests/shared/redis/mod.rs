//! Redis as its users run it: alone, with replicas, behind Sentinels, as a cluster, with or without TLS. Each on ports of its own.

mod cluster;
mod node;
#[path = "../ports.rs"]
mod ports;
mod sentinels;

pub use cluster::Cluster;
pub use node::{Nature, Node, PATIENCE, until};
pub use ports::free_port;
pub use sentinels::Sentinels;

/// Whose word the tests' nodes have, and who they are.
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/authority.cert.pem");
const CERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/node.cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/node.key.pem");

/// What a client needs for a node that asks everyone who he is.
pub const CLIENT: [(&str, &str); 3] =
    [("redis_ca_file", AUTHORITY), ("redis_cert_file", CERT), ("redis_key_file", KEY)];

/// Talks to its own kind by TLS too, and asks everyone for a certificate.
const TLS: [&str; 12] = [
    "--tls-cert-file",
    CERT,
    "--tls-key-file",
    KEY,
    "--tls-ca-cert-file",
    AUTHORITY,
    "--tls-auth-clients",
    "yes",
    "--tls-replication",
    "yes",
    "--tls-cluster",
    "yes",
];
