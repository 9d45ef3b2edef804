//! Clients that wait, on a connection each and all on one thread: they share the machine with what is measured.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::stream::{FuturesUnordered, TryStreamExt as _};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio::time::timeout;

/// They wait for a change that comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longer than any answer here.
const LONG: usize = 2_048;

/// Connections that are open.
#[derive(Default)]
pub struct Clients {
    connections: Vec<TcpStream>,
}

/// What clients were told.
pub struct Told {
    /// When the first byte of each one's answer could be read, in order.
    pub at: Vec<Instant>,
    /// An answer, head included. All of them tell the same.
    pub answer: String,
    /// Processor time of the clients.
    pub cpu: Duration,
}

impl Clients {
    /// One more.
    pub async fn connect(&mut self, port: u16) -> Result<()> {
        self.connections.push(TcpStream::connect(("127.0.0.1", port)).await?);
        Ok(())
    }

    /// All send this. They have read all that was sent to them.
    pub async fn ask(&self, request: &str) -> Result<()> {
        for connection in &self.connections {
            connection.writable().await?;
            let sent = connection.try_write(request.as_bytes())?;
            ensure!(sent == request.len(), "only {sent} bytes of a request were taken");
        }
        Ok(())
    }

    /// Waits until all are answered, from before `change` is made.
    pub async fn told_of(&self, change: impl FnOnce()) -> Result<Told> {
        self.forget_readiness()?;
        // Polled all at once, so that none is waited for only after the change.
        let answers: FuturesUnordered<_> = self.connections.iter().map(answer).collect();
        let mut answers = pin!(unconstrained(answers.try_collect::<Vec<_>>()));
        ensure!(futures::poll!(&mut answers).is_pending(), "answers came before the change");
        let before = cpu()?;
        change();
        let answers = timeout(PATIENCE, answers).await.context("some were not answered")??;
        let cpu = cpu()?.saturating_sub(before);
        let (at, answers): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
        let answer = String::from_utf8(answers.first().context("no clients")?.clone())?;
        for other in answers {
            ensure!(after(std::str::from_utf8(&other)?)? == after(&answer)?, "two were told something else");
        }
        Ok(Told { at, answer, cpu })
    }

    /// A socket that was read is taken for readable until it is found empty.
    fn forget_readiness(&self) -> Result<()> {
        for connection in &self.connections {
            match connection.try_read(&mut [0]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => bail!("a connection is broken: {error}"),
                Ok(0) => bail!("a connection was closed"),
                Ok(_) => bail!("there is more than one answer, or a longer one"),
            }
        }
        Ok(())
    }
}

async fn answer(connection: &TcpStream) -> Result<(Instant, Vec<u8>)> {
    loop {
        connection.readable().await?;
        let at = Instant::now();
        let mut buffer = [0; LONG];
        match connection.try_read(&mut buffer) {
            Ok(0) => bail!("a connection was closed without an answer"),
            Ok(read) => return Ok((at, buffer[..read].to_vec())),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a whole answer says to wait for next.
pub fn after(answer: &str) -> Result<&str> {
    let is_whole = answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("}\n");
    let after = answer.split_once("\"after\":\"").and_then(|(_, rest)| rest.split_once('"'));
    let after = after.filter(|_| is_whole).with_context(|| format!("not an answer: {answer:?}"))?;
    Ok(after.0)
}

/// Processor time of this thread so far.
fn cpu() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Ok(Duration::from_nanos(nanos.context("no processor time")?))
}
