//! One question: who answers?

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time;

/// How long a connection may take: less than the second after which the kernel asks again, and might hide that nobody was
/// reached. Kernels alone answer, however busy the machine is.
const CONNECT_WITHIN: Duration = Duration::from_millis(900);

/// How long a connection may go without an answer: longer than a pod waits for a processor on a machine that is busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The ports from which connections are opened, one after the other: enough for 165 s.
const PORTS: RangeInclusive<u16> = 10_000..=65_000;

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

/// Who answers at this address, over a new connection.
pub(super) async fn connect_and_ask(at: SocketAddr) -> Result<String, Failure> {
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

/// The same over a connection that is kept, or over a new one that is kept from then on.
pub(super) async fn ask_http(at: SocketAddr, kept: &mut Option<BufReader<TcpStream>>) -> io::Result<String> {
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

/// Who answers a datagram from this socket.
pub(super) async fn ask_datagram(socket: &UdpSocket) -> io::Result<String> {
    let mut answer = [0; 256];
    // What answers an earlier question, too late, is none to this one.
    while socket.try_recv(&mut answer).is_ok() {}
    socket.send(b"who?").await?;
    let length = socket.recv(&mut answer).await?;
    String::from_utf8(answer[..length].to_vec()).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that reads a line, answers this, and closes.
    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream.read_line(&mut String::new()).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn a_whole_line_is_an_answer_and_all_else_a_failure_of_its_kind() {
        assert_eq!(connect_and_ask(server("a1\n").await).await, Ok("a1".into()));
        assert_eq!(connect_and_ask(server("a1").await).await, Err(Failure::Closed));
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        assert_eq!(connect_and_ask(nobody).await, Err(Failure::Refused));
    }

    #[tokio::test]
    async fn no_port_is_used_twice_in_a_row() {
        let port = || socket_of_unused_port().unwrap().local_addr().unwrap().port();
        assert_ne!(port(), port());
    }

    #[tokio::test]
    async fn a_connection_is_kept_from_one_request_to_the_next() {
        let two =
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na1HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nb2";
        let (address, mut kept) = (server(two).await, None);
        assert_eq!(ask_http(address, &mut kept).await.unwrap(), "a1");
        assert_eq!(ask_http(address, &mut kept).await.unwrap(), "b2");
    }
}
