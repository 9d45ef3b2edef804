//! The one program in the images of the lab's cluster.
//!
//! `web pause` holds a pod's namespaces until it is told to end. `web` is a server that says who it is, to whoever
//! asks, with the name in `POD_NAME`:
//!
//! | port | answer |
//! |---|---|
//! | 8080, TCP | HTTP with keep-alive: the name, for any request |
//! | 8081, TCP | the name, for each line |
//! | 8081, UDP | the name, for each datagram |
//! | 9001, TCP | `GET /ready`: 200 or 503; `GET /set?ready=0` and `GET /set?ready=1` choose which |
//!
//! It listens from `START_MS` on: programs take a while to start. SIGTERM makes it unready at once; it serves on for
//! `LINGER_MS` and ends, as a well-behaved server does.

mod http;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, io};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};

/// How long it serves on after SIGTERM if `LINGER_MS` does not say: data planes need a moment to turn away from it.
const LINGER: Duration = Duration::from_millis(500);

/// Who answers, and whether it wants to be asked.
#[derive(Debug)]
struct Server {
    name: String,
    ready: AtomicBool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    // The kernel delivers no signal to a container's first process that has not asked for it.
    let mut terminated = signal(SignalKind::terminate())?;
    if env::args().nth(1).as_deref() == Some("pause") {
        terminated.recv().await;
        return Ok(());
    }
    let name = env::var("POD_NAME").unwrap_or_else(|_| "nobody".into());
    let linger = duration("LINGER_MS").unwrap_or(LINGER);
    tokio::select! {
        () = tokio::time::sleep(duration("START_MS").unwrap_or_default()) => {}
        _ = terminated.recv() => return Ok(()),
    }
    let server = Arc::new(Server { name, ready: AtomicBool::new(true) });
    let asked = UdpSocket::bind(("0.0.0.0", 8081)).await?;
    let doors = [(listen(8080)?, Door::Http), (listen(8081)?, Door::Lines), (listen(9001)?, Door::Control)];
    for (listener, door) in doors {
        tokio::spawn(accept(listener, door, server.clone()));
    }
    tokio::spawn(answer_datagrams(asked, server.clone()));
    terminated.recv().await;
    server.ready.store(false, Ordering::Relaxed);
    tokio::time::sleep(linger).await;
    Ok(())
}

/// Connections that wait to be accepted: as many as the kernel lets it. The usual 128 are full when a client that opens one
/// every 3 ms goes on for 0.4 s while this process waits for a processor, and then the kernel drops what it is sent.
const BACKLOG: u32 = 4_096;

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::UNSPECIFIED, port).into())?;
    socket.listen(BACKLOG)
}

/// What a variable says, in milliseconds.
fn duration(variable: &str) -> Option<Duration> {
    env::var(variable).ok()?.parse().ok().map(Duration::from_millis)
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy)]
enum Door {
    Http,
    Lines,
    Control,
}

async fn accept(listener: TcpListener, door: Door, server: Arc<Server>) {
    loop {
        // Out of descriptors, or a client that is gone again: the next one may fare better.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let server = server.clone();
        // A connection ends as its client likes; there is nobody to tell how.
        tokio::spawn(async move {
            match door {
                Door::Http => http::serve(stream, |_| http::ok(&server.name)).await,
                Door::Lines => answer_lines(stream, &server.name).await,
                Door::Control => http::serve(stream, |path| server.control(path)).await,
            }
        });
    }
}

impl Server {
    fn control(&self, path: &str) -> String {
        match path {
            "/set?ready=0" => self.ready.store(false, Ordering::Relaxed),
            "/set?ready=1" => self.ready.store(true, Ordering::Relaxed),
            "/ready" if self.ready.load(Ordering::Relaxed) => {}
            "/ready" => return http::answer("503 Service Unavailable", "not ready"),
            _ => return http::answer("404 Not Found", "/ready, /set?ready=0 or /set?ready=1"),
        }
        http::ok("ok")
    }
}

async fn answer_lines(stream: TcpStream, name: &str) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        stream.write_all(format!("{name}\n").as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

async fn answer_datagrams(socket: UdpSocket, server: Arc<Server>) {
    let mut datagram = [0; 1500];
    loop {
        // An error here is the ICMP answer to an earlier datagram of ours.
        let Ok((_, from)) = socket.recv_from(&mut datagram).await else { continue };
        let _ = socket.send_to(server.name.as_bytes(), from).await;
    }
}
