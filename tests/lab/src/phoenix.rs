//! Arize Phoenix: an OTLP backend as people use them, with web pages to look at traces and a REST interface.
//!
//! It is a Python program that is installed from the package index into a virtual environment below `target/`, and
//! runs as a process on loopback that ends with its owner. It keeps what it is sent in a folder that is removed then.

mod install;
mod rest;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::net::TcpStream;
use tokio::time;

use crate::directory::Directory;
use crate::ports;
use crate::process::{Environment, Process, last_lines};
use crate::span::Span;
use crate::trace::Trace;

pub(crate) use install::Say;

/// It takes 16 s on a quiet machine, most of it to read Python modules.
const READY_WITHIN: Duration = Duration::from_mins(3);

/// As many spans as it gives in an answer at most.
const PAGE: usize = 1000;

/// A running Phoenix. Dropping it ends it.
#[derive(Debug)]
pub struct Phoenix {
    process: Process,
    http: u16,
    grpc: u16,
    log: PathBuf,
    _directory: Directory,
}

impl Phoenix {
    /// Starts one, which is installed before if it is missing; returns when it is ready. What takes long is told on
    /// stderr.
    pub async fn start() -> Result<Self> {
        Self::start_and_say(&mut |words| eprintln!("lab: {words}")).await
    }

    /// The same, told elsewhere.
    pub(crate) async fn start_and_say(say: Say<'_>) -> Result<Self> {
        let python = install::python(say).await?;
        let directory = Directory::create()?;
        let (http, grpc) = (ports::free()?, ports::free()?);
        let log = directory.path().join("phoenix.log");
        let environment = environment(directory.path(), http, grpc);
        let serve = ["-c", include_str!("phoenix/serve.py")].map(str::to_owned);
        let process = Process::spawn_in(&environment, &python, &serve, &log)?;
        let mut phoenix = Self { process, http, grpc, log, _directory: directory };
        phoenix.ready().await?;
        Ok(phoenix)
    }

    async fn ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut often = time::interval(Duration::from_millis(100));
        loop {
            often.tick().await;
            if let Some(status) = self.process.ended()? {
                bail!("Phoenix ended with {status}; its last words:\n{}", last_lines(&self.log, 15));
            }
            if time::timeout(Duration::from_secs(5), self.answers()).await.unwrap_or(false) {
                return Ok(());
            }
            if begun.elapsed() > READY_WITHIN {
                let seconds = READY_WITHIN.as_secs();
                bail!(
                    "Phoenix is not ready after {seconds} s; its last words:\n{}",
                    last_lines(&self.log, 15)
                );
            }
        }
    }

    async fn answers(&self) -> bool {
        rest::project_id(self.http).await.is_ok()
            && TcpStream::connect(("127.0.0.1", self.grpc)).await.is_ok()
    }

    /// Where it receives OTLP/gRPC, for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// Its web page.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// The web page that lists the traces.
    pub async fn traces_url(&self) -> Result<String> {
        Ok(format!("{}/projects/{}/traces", self.url(), rest::project_id(self.http).await?))
    }

    /// The web page of a trace.
    pub async fn trace_url(&self, trace_id: &str) -> Result<String> {
        Ok(format!("{}/{trace_id}", self.traces_url().await?))
    }

    /// All spans that it keeps, in the order they came: without links, resource and kind, which it does not tell.
    pub async fn spans(&self) -> Result<Vec<Span>> {
        rest::spans(self.http, None, PAGE).await
    }

    /// All traces that it keeps, the one that began first coming first.
    pub async fn traces(&self) -> Result<Vec<Trace>> {
        Ok(Trace::all(&self.spans().await?))
    }

    /// Waits until the trace of this id is as wanted, and returns it. (It writes spans down a moment after it has
    /// acknowledged them.)
    pub async fn until_trace(
        &self,
        id: &str,
        within: Duration,
        wanted: impl Fn(&Trace) -> bool,
    ) -> Result<Trace> {
        let begun = Instant::now();
        let mut often = time::interval(Duration::from_millis(100));
        loop {
            often.tick().await;
            let trace = Trace::all(&rest::spans(self.http, Some(id), PAGE).await?).pop();
            match trace {
                Some(trace) if wanted(&trace) => return Ok(trace),
                trace if begun.elapsed() > within => {
                    let what = trace.map_or_else(|| "no span of it".into(), |trace| trace.to_string());
                    bail!("trace {id} is not as wanted after {within:?}; Phoenix has {what}");
                }
                Some(_) | None => {}
            }
        }
    }

    /// Its log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }
}

/// What it is told.
fn environment(folder: &Path, http: u16, grpc: u16) -> Environment {
    // The user's own Phoenix may be set up in ours, with a database of its own.
    Environment::default()
        .without("PHOENIX_")
        .without("OTEL_")
        .with("PHOENIX_WORKING_DIR", &folder.display().to_string())
        .with("PHOENIX_HOST", "127.0.0.1")
        .with("PHOENIX_PORT", &http.to_string())
        .with("PHOENIX_GRPC_PORT", &grpc.to_string())
        // It tells nobody of itself, fetches nothing, and has no business but traces.
        .with("PHOENIX_TELEMETRY_ENABLED", "false")
        .with("PHOENIX_ALLOW_EXTERNAL_RESOURCES", "false")
        .with("PHOENIX_DISABLE_AGENT_ASSISTANT", "true")
        .with("PHOENIX_ENABLE_MCP_SERVER", "false")
}
