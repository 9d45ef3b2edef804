//! The way to a server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A network path that can lose its way.
pub(super) struct Forwarder {
    pub(super) address: SocketAddr,
    shared: Arc<ForwarderShared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct ForwarderShared {
    connections: AtomicUsize,
    swallow_next: AtomicBool,
    delay_next: Mutex<Duration>,
    swallow_open: watch::Sender<bool>,
}

impl Forwarder {
    pub(super) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(ForwarderShared::default());
        let task = tokio::spawn(shared.clone().accept(listener, to));
        Self { address, shared, task }
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// The next connection is accepted and never answered.
    pub(super) fn swallow_next(&self) {
        self.shared.swallow_next.store(true, SeqCst);
    }

    /// The next connection starts to be forwarded after this time.
    pub(super) fn delay_next(&self, delay: Duration) {
        *self.shared.delay_next.lock().unwrap() = delay;
    }

    /// Nothing gets through on the open connections any more; they are not closed.
    pub(super) fn swallow_open_connections(&self) {
        self.shared.swallow_open.send_replace(true);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ForwarderShared {
    async fn accept(self: Arc<Self>, listener: TcpListener, to: SocketAddr) {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            self.connections.fetch_add(1, SeqCst);
            let swallowed = self.swallow_next.swap(false, SeqCst);
            let delay = std::mem::take(&mut *self.delay_next.lock().unwrap());
            self.swallow_open.send_replace(false);
            let mut silenced = self.swallow_open.subscribe();
            tokio::spawn(async move {
                sleep(delay).await;
                let mut far = TcpStream::connect(to).await.unwrap();
                if !swallowed {
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => return,
                        _ = silenced.wait_for(|silenced| *silenced) => {}
                    }
                }
                // Both ends stay open.
                std::future::pending::<()>().await;
                drop((near, far));
            });
        }
    }
}
