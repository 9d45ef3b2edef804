//! A forwarder on loopback between a client and one or more API servers: the network, as a test wants it to behave.
//!
//! TLS goes through it untouched, and the servers' certificate is valid for it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ports;

/// What the forwarder does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Carry bytes both ways.
    Forward,
    /// Carry nothing, say nothing, and leave every connection open. The flag: whether new ones are taken up.
    BlackHole { accept: bool },
    /// Be down.
    Refuse,
}

/// To which server a new connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To the server with this index.
    To(usize),
    /// To each in turn, as a load balancer would.
    RoundRobin,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    mode: Mode,
    route: Route,
    /// Connections opened under an earlier number are to be reset.
    generation: u64,
    /// Counts the plans, so that a change can be waited for.
    number: u64,
}

#[derive(Debug, Default)]
struct Counts {
    opened: AtomicUsize,
    open: AtomicUsize,
    by_backend: Vec<AtomicUsize>,
}

/// A running forwarder; dropping it ends it and closes its connections.
///
/// It lives in the runtime that started it. Each change of behaviour is in force when the call returns.
#[derive(Debug)]
pub struct Forwarder {
    port: u16,
    plan: watch::Sender<Plan>,
    in_force: watch::Receiver<u64>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// Starts one in front of the servers at these ports of 127.0.0.1; forwards to the first.
    pub async fn start(backends: impl IntoIterator<Item = u16>) -> Result<Self> {
        let port = ports::free()?;
        let backends: Vec<SocketAddr> = backends.into_iter().map(loopback).collect();
        let listener = TcpListener::bind(loopback(port)).await?;
        let (plan, plans) =
            watch::channel(Plan { mode: Mode::Forward, route: Route::To(0), generation: 0, number: 0 });
        let (applied, in_force) = watch::channel(0);
        let by_backend = backends.iter().map(|_| AtomicUsize::new(0)).collect();
        let counts = Arc::new(Counts { by_backend, ..Counts::default() });
        let door = Door { port, backends, plans, applied, counts: counts.clone() };
        let task = tokio::spawn(door.serve(listener));
        Ok(Self { port, plan, in_force, counts, task })
    }

    /// The URL for a kubeconfig.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Carries bytes again. What was in the black hole continues as after a network's repair: nothing is lost.
    pub async fn forward(&self) -> Result<()> {
        self.change(|plan| plan.mode = Mode::Forward).await
    }

    /// Goes silent: open connections stay open and carry nothing (the kernel still acknowledges what the client sends),
    /// new ones are taken up and carry nothing either.
    pub async fn black_hole(&self) -> Result<()> {
        self.change(|plan| plan.mode = Mode::BlackHole { accept: true }).await
    }

    /// The same, but new connections are left in the kernel's queue.
    pub async fn black_hole_without_accepting(&self) -> Result<()> {
        self.change(|plan| plan.mode = Mode::BlackHole { accept: false }).await
    }

    /// Is down: resets the open connections and refuses new ones.
    pub async fn refuse(&self) -> Result<()> {
        self.change(|plan| {
            plan.mode = Mode::Refuse;
            plan.generation += 1;
        })
        .await
    }

    /// Resets the open connections; new ones are treated as before.
    pub async fn reset(&self) -> Result<()> {
        self.change(|plan| plan.generation += 1).await
    }

    /// Sends new connections there; open ones stay where they are.
    pub async fn route(&self, route: Route) -> Result<()> {
        self.change(|plan| plan.route = route).await
    }

    /// How many connections it has taken up.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.counts.opened.load(Ordering::SeqCst)
    }

    /// How many of them are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// How many went to the server with this index.
    ///
    /// # Panics
    /// If there are not that many servers.
    #[must_use]
    pub fn opened_to(&self, backend: usize) -> usize {
        self.counts.by_backend[backend].load(Ordering::SeqCst)
    }

    async fn change(&self, change: impl FnOnce(&mut Plan)) -> Result<()> {
        self.plan.send_modify(|plan| {
            change(plan);
            plan.number += 1;
        });
        let number = self.plan.borrow().number;
        self.in_force
            .clone()
            .wait_for(|applied| *applied >= number)
            .await
            .context("the forwarder has ended")?;
        Ok(())
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // The connections' tasks end by themselves: they notice that the plan's sender is gone.
        self.task.abort();
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Takes connections up.
struct Door {
    port: u16,
    backends: Vec<SocketAddr>,
    plans: watch::Receiver<Plan>,
    applied: watch::Sender<u64>,
    counts: Arc<Counts>,
}

impl Door {
    async fn serve(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        let mut turn = 0;
        loop {
            let plan = *self.plans.borrow_and_update();
            if plan.mode == Mode::Refuse {
                listener = None;
            } else if listener.is_none() {
                // The port lies outside the range of outgoing connections, and no other lab is given it.
                let Ok(again) = TcpListener::bind(loopback(self.port)).await else { return };
                listener = Some(again);
            }
            let _ = self.applied.send(plan.number);

            let accepting = plan.mode == Mode::Forward || plan.mode == Mode::BlackHole { accept: true };
            let accepted = match &listener {
                Some(listener) if accepting => tokio::select! {
                    accepted = listener.accept() => accepted.ok(),
                    changed = self.plans.changed() => if changed.is_err() { return } else { None },
                },
                _ => match self.plans.changed().await {
                    Ok(()) => None,
                    Err(_) => return,
                },
            };
            if let Some((client, _)) = accepted {
                let backend = match plan.route {
                    Route::To(index) => index,
                    Route::RoundRobin => {
                        turn += 1;
                        turn % self.backends.len()
                    }
                };
                self.counts.opened.fetch_add(1, Ordering::SeqCst);
                self.counts.open.fetch_add(1, Ordering::SeqCst);
                self.counts.by_backend[backend].fetch_add(1, Ordering::SeqCst);
                let (counts, plans, address) =
                    (self.counts.clone(), self.plans.clone(), self.backends[backend]);
                tokio::spawn(async move {
                    carry(client, address, plans, plan.generation).await;
                    counts.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }
    }
}

/// One connection, from its beginning to its end or its reset.
async fn carry(client: TcpStream, address: SocketAddr, mut plans: watch::Receiver<Plan>, generation: u64) {
    let mut exchanged = plans.clone();
    tokio::select! {
        _ = exchange(&client, address, &mut exchanged) => {}
        // Also when the forwarder is dropped.
        _ = plans.wait_for(|plan| plan.generation != generation) => {
            let _ = client.set_zero_linger();
        }
    }
}

/// The end of either direction is the end of both, which is how HTTP clients and servers use TCP.
async fn exchange(
    client: &TcpStream,
    address: SocketAddr,
    plans: &mut watch::Receiver<Plan>,
) -> io::Result<()> {
    flows(plans).await?;
    let server = TcpStream::connect(address).await.inspect_err(|_| {
        // What a client sees of a server that is down is a reset.
        let _ = client.set_zero_linger();
    })?;
    // Whoever measures milliseconds must not measure Nagle's algorithm.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::select! {
        ended = pump(client, &server, plans.clone()) => ended,
        ended = pump(&server, client, plans.clone()) => ended,
    }
}

async fn pump(from: &TcpStream, to: &TcpStream, mut plans: watch::Receiver<Plan>) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = when_flowing(&mut plans, || from.readable(), || from.try_read(&mut buffer)).await?;
        if count == 0 {
            return Ok(());
        }
        let mut written = 0;
        while written < count {
            let rest = &buffer[written..count];
            written += when_flowing(&mut plans, || to.writable(), || to.try_write(rest)).await?;
        }
    }
}

/// Reads or writes once when that is both possible and wanted. The plan cannot change during the operation, because it
/// is borrowed: nothing passes after a black hole is in force.
async fn when_flowing<Possible>(
    plans: &mut watch::Receiver<Plan>,
    possible: impl Fn() -> Possible,
    mut operation: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize>
where
    Possible: Future<Output = io::Result<()>>,
{
    loop {
        flows(plans).await?;
        possible().await?;
        let plan = plans.borrow();
        if plan.mode == Mode::Forward {
            match operation() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}

async fn flows(plans: &mut watch::Receiver<Plan>) -> io::Result<()> {
    plans.wait_for(|plan| plan.mode == Mode::Forward).await.map(drop).map_err(io::Error::other)
}
