//! Ports on loopback: free ones, and what answers on others.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Below the range from which Linux takes the ports of outgoing connections (32768 and up): a component that is down
/// for a while then finds its port still free, and a client that keeps trying to reach it cannot connect to itself.
const FIRST: u32 = 18_000;
const COUNT: u32 = 14_000;

/// A port that nobody listens on now and that this process has not been given before.
pub fn free() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    (0..COUNT)
        .map(|_| {
            // Test processes that run side by side begin at different places.
            let offset = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(process::id().wrapping_mul(37));
            FIRST + offset % COUNT
        })
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port on loopback")
}

/// The answer to a plain HTTP GET, from its status line to the end.
pub(crate) async fn get(port: u16, path: &str) -> Result<String> {
    ask(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?, path).await
}

/// The same over a connection that is there.
pub(crate) async fn ask(mut stream: TcpStream, path: &str) -> Result<String> {
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
