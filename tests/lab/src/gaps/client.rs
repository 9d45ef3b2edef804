//! Clients of a leader Service, as pods are: a thread in the network of a pod, which asks again and again and keeps what
//! it was answered.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{self, MissedTickBehavior};

use crate::cluster::{LINES, Network};

/// How long a connection may take: less than the second after which the kernel asks again, and might hide that nobody was
/// reached. Kernels alone answer, however busy the machine is.
const CONNECT_WITHIN: Duration = Duration::from_millis(900);

/// How long a connection may go without an answer: longer than a pod waits for a processor on a machine that is busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long a request on a connection that is kept may take.
const REQUEST_WITHIN: Duration = Duration::from_secs(1);

/// The same for a datagram, after which a client asks again.
const DATAGRAM_WITHIN: Duration = Duration::from_millis(100);

/// The port on which the pods speak HTTP, as their Service has it.
const HTTP: u16 = 80;

/// The ports from which connections are opened, one after the other: enough for 165 s.
const PORTS: RangeInclusive<u16> = 10_000..=65_000;

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

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Nobody listens there, or the data plane says so.
    Refused,
    /// The connection ended before the answer.
    Closed,
    /// Nobody is there, nor anybody who says so.
    TimedOut,
    /// The connection came about, and no answer in time.
    Unanswered,
    /// Something else: of the network, or of this machine.
    Other,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
                Self::Closed
            }
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other,
        }
    }
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
    asked: impl Future<Output = io::Result<String>>,
) -> Result<String, Failure> {
    match time::timeout(limit, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::TimedOut),
    }
}

async fn connect_and_ask(at: SocketAddr) -> Result<String, Failure> {
    let socket = socket_of_unused_port()?;
    // Closed by a reset: else the port would be in use for another minute.
    socket.set_zero_linger()?;
    let connected = time::timeout(CONNECT_WITHIN, socket.connect(at)).await;
    let stream = connected.map_err(|_| Failure::TimedOut)??;
    let answered = time::timeout(ANSWER_WITHIN, ask_line(stream)).await;
    Ok(answered.map_err(|_| Failure::Unanswered)??)
}

async fn ask_line(stream: TcpStream) -> io::Result<String> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"who?\n").await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    answer.strip_suffix('\n').map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// A socket with a port that no connection has had for longer than a node remembers one.
///
/// The node goes on sending what comes from a port to the pod that it chose first: for 10 s after that pod has refused, for
/// 2 minutes if it has never answered. Many clients hardly ever meet that; one that opens as many connections as all of
/// them, from ports that its kernel chooses, would see little else after a node's loss.
fn socket_of_unused_port() -> io::Result<TcpSocket> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let socket = TcpSocket::new_v4()?;
        let port = NEXT.fetch_add(1, Ordering::Relaxed) % u32::from(PORTS.end() - PORTS.start())
            + u32::from(*PORTS.start());
        let port = u16::try_from(port).map_err(io::Error::other)?;
        match socket.bind((Ipv4Addr::UNSPECIFIED, port).into()) {
            Ok(()) => return Ok(socket),
            // One of the other clients has it.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

async fn ask_http(at: SocketAddr, kept: &mut Option<BufReader<TcpStream>>) -> io::Result<String> {
    let stream = match kept {
        Some(stream) => stream,
        None => kept.insert(BufReader::new(TcpStream::connect(at).await?)),
    };
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await?;
    let mut length = None;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok();
        }
    }
    let mut body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    stream.read_exact(&mut body).await?;
    String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData.into())
}

async fn ask_datagram(socket: &UdpSocket) -> io::Result<String> {
    let mut answer = [0; 256];
    // What answers an earlier question, too late, is none to this one.
    while socket.try_recv(&mut answer).is_ok() {}
    socket.send(b"who?").await?;
    let length = socket.recv(&mut answer).await?;
    String::from_utf8(answer[..length].to_vec()).map_err(|_| io::ErrorKind::InvalidData.into())
}
