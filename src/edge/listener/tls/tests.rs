use super::*;
use crate::{
    edge::{
        caller::Arrival,
        listener::{Listener, tests::listening},
    },
    metrics::Listeners,
};
use axum::{Router, extract::Extension, routing::get};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{ServerName, pem::PemObject},
};
use std::{fs, net::SocketAddr, path::PathBuf};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::sleep,
};
use tokio_rustls::{TlsConnector, client};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates");

fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("{FOLDER}/{name}.pem"))
}

fn files(cert: &str, key: &str) -> TlsSettings {
    TlsSettings { tls_cert_file: file(&format!("{cert}.cert")), tls_key_file: file(&format!("{key}.key")) }
}

async fn serve(tls: Tls, change: impl FnOnce(&mut Listener)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrived = async |Extension(arrival): Extension<Arrival>| format!("tls {}", arrival.tls);
    let router = Router::new().route("/", get(arrived));
    let mut server = listening(Listeners::Public, 4);
    server.tls = Some(Arc::new(tls));
    change(&mut server);
    tokio::spawn(server.serve(listener, router));
    address
}

async fn connect(
    address: SocketAddr,
    version: &'static rustls::SupportedProtocolVersion,
    alpn: &[&str],
) -> io::Result<client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for name in ["one", "two"] {
        roots.add(CertificateDer::from_pem_file(file(&format!("{name}.cert"))).unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn served(mut stream: client::TlsStream<TcpStream>) -> String {
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn files_that_cannot_be_used_are_refused_by_the_settings_name() {
    let fault = |settings: &TlsSettings| Tls::open(settings).err().map(|error| error.to_string()).unwrap();
    let begins = |settings: TlsSettings, words: &str| {
        let fault = fault(&settings);
        assert!(fault.starts_with(words), "{fault}");
    };
    assert!(Tls::open(&files("one", "one")).is_ok());
    begins(files("none", "one"), "tls_cert_file: cannot read ");
    begins(files("one", "none"), "tls_key_file: cannot read ");
    begins(files("one", "two"), "tls_key_file: is not the key of the certificate");
    begins(files("expired", "expired"), "tls_cert_file: has expired on 2021-01-01");
    begins(files("early", "early"), "tls_cert_file: is not good before 2120-01-01");
    let swapped = TlsSettings { tls_cert_file: file("one.key"), tls_key_file: file("one.cert") };
    begins(swapped, "tls_cert_file: holds no certificate");
    let no_key = TlsSettings { tls_key_file: file("one.cert"), ..files("one", "one") };
    begins(no_key, "tls_key_file: holds no private key");
}

#[tokio::test]
async fn both_versions_and_one_protocol_are_spoken() {
    let address = serve(Tls::open(&files("one", "one")).unwrap(), |_| ()).await;
    for (version, alpn) in
        [(&TLS12, &["http/1.1"][..]), (&TLS13, &["h2", "http/1.1"]), (&TLS13, &[]), (&TLS12, &[])]
    {
        let stream = connect(address, version, alpn).await.unwrap();
        let spoken = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(spoken, (!alpn.is_empty()).then(|| ALPN.to_vec()));
        let answer = served(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("tls true"), "{answer}");
    }
    assert!(connect(address, &TLS13, &["h2"]).await.is_err());
    // Who does not speak it at all is told so, and gets nothing.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_certificate_is_read_anew_when_both_files_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        TlsSettings { tls_cert_file: folder.path().join("cert"), tls_key_file: folder.path().join("key") };
    let put = |from: &str, to: &Path| fs::copy(file(from), to).unwrap();
    put("one.cert", &settings.tls_cert_file);
    put("one.key", &settings.tls_key_file);
    let tls = Tls::open(&settings).unwrap();
    let shown = || tls.shown.0.read().unwrap().cert[0].clone();
    let of = |name: &str| CertificateDer::from_pem_file(file(&format!("{name}.cert"))).unwrap();
    assert_eq!(shown(), of("one"));
    put("two.cert", &settings.tls_cert_file);
    tls.look();
    assert_eq!(shown(), of("one"), "the key is still the other's");
    put("two.key", &settings.tls_key_file);
    tls.look();
    assert_eq!(shown(), of("two"));
    put("expired.cert", &settings.tls_cert_file);
    put("expired.key", &settings.tls_key_file);
    tls.look();
    assert_eq!(shown(), of("two"));
    fs::remove_file(&settings.tls_key_file).unwrap();
    tls.look();
    assert_eq!(shown(), of("two"));
}

/// Whoever begins a handshake and does not go on has a connection for as long as a handshake may take, and no longer.
#[tokio::test]
async fn who_does_not_end_his_handshake_is_let_go() {
    let hold = async |within: Duration| {
        let tls = Tls::open(&files("one", "one")).unwrap();
        let address = serve(tls, |server| server.bounds.handshake_within = within).await;
        let mut silent = Vec::new();
        for said in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00", b""] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said).await.unwrap();
            silent.push(stream);
        }
        (address, silent)
    };
    let (address, _silent) = hold(Duration::from_millis(50)).await;
    let mut tries = 0;
    while connect(address, &TLS13, &[]).await.is_err() {
        tries += 1;
        assert!(tries < 500, "all connections are in use for ever");
        sleep(Duration::from_millis(10)).await;
    }
    // Without the bound nobody else gets in.
    let (address, _silent) = hold(Duration::from_secs(3_600)).await;
    sleep(Duration::from_millis(200)).await;
    assert!(connect(address, &TLS13, &[]).await.is_err());
}
