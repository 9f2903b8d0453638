//! Where visitors come in: everything passes, until all sockets are cut at once.

use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A door before one instance; it stays at its address when the instance is restarted.
pub struct Door {
    pub address: SocketAddr,
    cuts: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl Door {
    pub async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = watch::Sender::new(0);
        let heard = cuts.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server.clone(), heard.subscribe()));
            }
        });
        Self { address, cuts, accepting }
    }

    /// All connections that are open now end, as when a balancer dies.
    pub fn cut_all(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_all();
    }
}

async fn carry(mut client: TcpStream, server: String, mut cuts: watch::Receiver<u64>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = cuts.changed() => {}
    }
}
