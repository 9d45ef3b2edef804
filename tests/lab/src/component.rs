//! One component of a control plane or a node, as a test may treat it: pause, crash, stop, start again.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::net::{TcpStream, UnixStream};
use tokio::{task, time};

use crate::cluster::Network;
use crate::connection::Connection;
use crate::ports;
use crate::process::{Process, last_lines};

/// Longer than a start ever took, also on a machine that builds something else meanwhile.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// How long a graceful stop may take before the component is killed.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// etcd, an API server, a kubelet, ...: its command, its port, and its process if it runs.
#[derive(Debug)]
pub struct Component {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    port: u16,
    probe: Probe,
    /// Whether the program only opens the door of a PID namespace for the component.
    nested: bool,
    process: Mutex<Option<Process>>,
}

/// How to tell that a component is ready.
#[derive(Debug)]
pub(crate) enum Probe {
    /// `GET /health` in plain HTTP.
    Etcd,
    /// `GET /readyz` with the administrator's token, by the index of the server.
    ApiServer(Arc<Connection>, usize),
    /// It accepts connections on this Unix socket.
    Socket(PathBuf),
    /// `GET` of a path gets 200, in plain HTTP on its port of loopback in a network namespace.
    Http(Arc<Network>, &'static str),
    /// It runs; others tell whether it does what it should.
    Runs,
}

impl Component {
    pub(crate) fn new(
        name: String,
        program: PathBuf,
        arguments: Vec<String>,
        logs: &Path,
        port: u16,
        probe: Probe,
    ) -> Self {
        let log = logs.join(format!("{name}.log"));
        Self { name, program, arguments, log, port, probe, nested: false, process: Mutex::new(None) }
    }

    /// For a program that starts the component in a PID namespace.
    pub(crate) fn nested(mut self) -> Self {
        self.nested = true;
        self
    }

    /// `etcd`, `kube-apiserver-0`, ...
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its port on 127.0.0.1 (in its own network, for one of a [`crate::cluster`]), the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its log file, appended to by a restart.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::id)
    }

    /// Stops it in its tracks (SIGSTOP): its kernel still accepts connections and acknowledges data, and nobody answers.
    pub fn pause(&self) -> Result<()> {
        self.process().as_ref().with_context(|| format!("{} does not run", self.name))?.pause()
    }

    /// Lets a paused one go on.
    pub fn resume(&self) -> Result<()> {
        self.process().as_ref().with_context(|| format!("{} does not run", self.name))?.signal(Signal::CONT)
    }

    /// Ends it as a rollout would (SIGTERM), and returns when it is gone.
    pub async fn stop(&self) -> Result<()> {
        let Some(process) = self.process().take() else { return Ok(()) };
        task::spawn_blocking(move || process.end(STOP_WITHIN)).await?
    }

    /// Ends it as a power cut would (SIGKILL), and returns when it is gone.
    pub fn kill(&self) {
        drop(self.process().take());
    }

    /// Starts it with its port and data of before; returns when it is ready.
    pub async fn start(&self) -> Result<()> {
        self.launch()?;
        self.ready().await
    }

    /// Kills it, if it runs, and starts it again; returns when it is ready.
    pub async fn restart(&self) -> Result<()> {
        self.kill();
        self.start().await
    }

    /// Starts the process without waiting for it.
    pub(crate) fn launch(&self) -> Result<()> {
        let mut process = self.process();
        if process.is_none() {
            let spawn = if self.nested { Process::spawn_nested } else { Process::spawn };
            *process = Some(spawn(&self.program, &self.arguments, &self.log)?);
        }
        Ok(())
    }

    /// Returns when it answers that it is ready; asks until then.
    pub(crate) async fn ready(&self) -> Result<()> {
        let begun = Instant::now();
        let mut interval = time::interval(Duration::from_millis(20));
        loop {
            interval.tick().await;
            let ended = self.process().as_mut().map(Process::ended).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("{} ended with {status}; its last words:\n{}", self.name, last_lines(&self.log, 15));
            }
            // An answer that does not come (the component is paused, or starved of CPU) must not hold up the deadline.
            if time::timeout(Duration::from_secs(5), self.probe.succeeds(self.port)).await.unwrap_or(false) {
                return Ok(());
            }
            if begun.elapsed() > READY_WITHIN {
                bail!(
                    "{} is not ready after {} s; its last words:\n{}",
                    self.name,
                    READY_WITHIN.as_secs(),
                    last_lines(&self.log, 15)
                );
            }
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        // A test that panicked while it held the lock has left nothing half done.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe {
    async fn succeeds(&self, port: u16) -> bool {
        match self {
            Self::Etcd => etcd_is_healthy(port).await.unwrap_or(false),
            Self::ApiServer(connection, index) => {
                api_server_is_ready(connection, *index).await.unwrap_or(false)
            }
            Self::Socket(path) => UnixStream::connect(path).await.is_ok(),
            Self::Http(network, path) => answers_well(network, port, path).await.unwrap_or(false),
            Self::Runs => true,
        }
    }
}

async fn etcd_is_healthy(port: u16) -> Result<bool> {
    Ok(ports::get(port, "/health").await?.contains(r#""health":"true""#))
}

async fn answers_well(network: &Network, port: u16, path: &str) -> Result<bool> {
    let stream = network.connect((Ipv4Addr::LOCALHOST, port).into())?;
    stream.set_nonblocking(true)?;
    let answer = ports::ask(TcpStream::from_std(stream)?, path).await?;
    Ok(answer.split(' ').nth(1) == Some("200"))
}

async fn api_server_is_ready(connection: &Connection, index: usize) -> Result<bool> {
    let client = connection.client_of(index).await?;
    let request = http::Request::get("/readyz").body(Vec::new())?;
    Ok(client.request_text(request).await? == "ok")
}
