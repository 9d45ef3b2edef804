//! The API server's port on this machine's loopback, while the server itself is in the control plane's network.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::network::Network;
use crate::ports;

/// Carries connections from a port of loopback to a server in a network namespace, until it is dropped.
#[derive(Debug)]
pub(crate) struct Door {
    port: u16,
    // Its drop is the word to end.
    open: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    pub(crate) fn open(inside: Arc<Network>, to: SocketAddr) -> Result<Self> {
        let port = ports::free()?;
        // A socket belongs to the namespace in which it is opened: this one before the thread enters the other.
        let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let (open, closed) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        // A thread and not a task: it stays in that namespace, and outlives the runtime of the test that began it.
        let serve = move || -> Result<()> {
            inside.enter()?;
            runtime.block_on(async {
                tokio::select! {
                    result = carry_all(listener, to) => result.context("the API server's door"),
                    _ = closed => Ok(()),
                }
            })
        };
        let thread = thread::Builder::new().name("door".into()).spawn(move || {
            if let Err(error) = serve() {
                eprintln!("lab: {error:#}");
            }
        })?;
        Ok(Self { port, open: Some(open), thread: Some(thread) })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.open.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn carry_all(listener: StdTcpListener, to: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (outer, _) = listener.accept().await?;
        // Of a server that is down the client sees that its connection closes.
        tokio::spawn(carry(outer, to));
    }
}

async fn carry(mut outer: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut inner = TcpStream::connect(to).await?;
    // What is carried is whole requests and answers already.
    outer.set_nodelay(true)?;
    inner.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut outer, &mut inner).await.map(drop)
}
