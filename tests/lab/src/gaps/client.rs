//! Clients of a leader Service, as pods are: a thread in the network of a pod, which asks again and again and keeps what
//! it was answered.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::net::UdpSocket;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{self, MissedTickBehavior};

use super::ask::{Failure, ask_datagram, ask_http, connect_and_ask};
use crate::cluster::{LINES, Network};

/// How long a request on a connection that is kept may take.
const REQUEST_WITHIN: Duration = Duration::from_secs(1);

/// The same for a datagram, after which a client asks again.
const DATAGRAM_WITHIN: Duration = Duration::from_millis(100);

/// The port on which the pods speak HTTP, as their Service has it.
const HTTP: u16 = 80;

/// How a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// A new TCP connection every 3 ms, whatever became of the one before.
    Connections,
    /// HTTP requests over one connection, 5 ms apart, each after the answer to the one before; a new connection after a
    /// failure.
    KeepAlive,
    /// Datagrams from one port, likewise.
    Datagrams,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connections, Self::KeepAlive, Self::Datagrams];

    const fn every(self) -> Duration {
        match self {
            Self::Connections => Duration::from_millis(3),
            Self::KeepAlive | Self::Datagrams => Duration::from_millis(5),
        }
    }
}

/// A request, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Just before it was sent; for a connection, that is when the data plane decides where it goes.
    pub sent: Instant,
    /// When its outcome was known.
    pub done: Instant,
    /// The UID of the pod that answered.
    pub answer: Result<String, Failure>,
}

/// A client that asks until it is stopped or dropped.
#[derive(Debug)]
pub struct Client {
    attempts: Attempts,
    // Its drop is the word to end.
    going: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What was asked so far, in the order in which it was done.
#[derive(Debug, Clone, Default)]
struct Attempts(Arc<Mutex<Vec<Attempt>>>);

impl Attempts {
    fn lock(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, sent: Instant, answer: Result<String, Failure>) {
        self.lock().push(Attempt { sent, done: Instant::now(), answer });
    }
}

impl Client {
    /// Begins to ask a Service at its cluster address.
    pub fn start(network: Arc<Network>, at: IpAddr, manner: Manner) -> Result<Self> {
        let attempts = Attempts::default();
        let (going, stopped) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let kept = attempts.clone();
        let ask = move || {
            network.enter()?;
            runtime.block_on(async {
                match manner {
                    Manner::Connections => connect_again_and_again(at, &kept, stopped).await,
                    Manner::KeepAlive | Manner::Datagrams => tokio::select! {
                        result = ask_again_and_again(at, manner, &kept) => result,
                        _ = stopped => Ok(()),
                    },
                }
            })
        };
        let thread = thread::Builder::new().name("client".into()).spawn(ask)?;
        Ok(Self { attempts, going: Some(going), thread: Some(thread) })
    }

    /// Looks at what was asked so far, in the order in which it was done.
    pub fn so_far<T>(&self, look: impl FnOnce(&[Attempt]) -> T) -> T {
        look(&self.attempts.lock())
    }

    /// Ends it; returns all attempts, in the order in which they were sent. Blocks until those under way are done.
    pub fn stop(mut self) -> Result<Vec<Attempt>> {
        drop(self.going.take());
        let thread = self.thread.take().context("it was started")?;
        thread.join().map_err(|_| anyhow!("a client panicked"))??;
        let mut attempts = self.attempts.lock().clone();
        attempts.sort_by_key(|attempt| attempt.sent);
        Ok(attempts)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.going.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// At the pace of a clock, not of the answers: while nobody answers, the requests pile up as those of many clients do.
async fn connect_again_and_again(
    at: IpAddr,
    attempts: &Attempts,
    mut stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let mut under_way = JoinSet::new();
    let mut ticks = ticks(Manner::Connections);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = &mut stopped => break,
        }
        while under_way.try_join_next().is_some() {}
        let attempts = attempts.clone();
        under_way.spawn(async move {
            let sent = Instant::now();
            attempts.keep(sent, connect_and_ask((at, LINES).into()).await);
        });
    }
    while under_way.join_next().await.is_some() {}
    Ok(())
}

async fn ask_again_and_again(at: IpAddr, manner: Manner, attempts: &Attempts) -> Result<()> {
    let mut ticks = ticks(manner);
    let mut stream = None;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect((at, LINES)).await?;
    loop {
        ticks.tick().await;
        let sent = Instant::now();
        let answer = match manner {
            Manner::Datagrams => in_time(DATAGRAM_WITHIN, ask_datagram(&socket)).await,
            Manner::KeepAlive | Manner::Connections => {
                in_time(REQUEST_WITHIN, ask_http((at, HTTP).into(), &mut stream)).await
            }
        };
        if answer.is_err() {
            stream = None;
        }
        attempts.keep(sent, answer);
    }
}

/// One that is late moves those after it, so that a machine that was busy is not asked for all at once.
fn ticks(manner: Manner) -> time::Interval {
    let mut ticks = time::interval(manner.every());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn in_time(
    limit: Duration,
    asked: impl Future<Output = std::io::Result<String>>,
) -> Result<String, Failure> {
    match time::timeout(limit, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::TimedOut),
    }
}
