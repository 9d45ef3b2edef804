//! The controller under show: built, started, ready, stopped.

use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tokio::{task, time};

use super::screen::Screen;
use crate::directory::Directory;
use crate::ports;
use crate::process::{Environment, Process, last_lines};

/// Longer than its start ever took, also on a machine that builds something else meanwhile.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// It lets writes in flight finish when asked to stop, which takes two seconds at most.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How often a long build says that it is still at it.
const WORD_EVERY: Duration = Duration::from_secs(15);

/// What to run.
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// Where traces go to, if they are wanted.
    pub(super) endpoint: Option<String>,
}

/// `zen-lead run` as a process.
pub(super) struct Controller {
    process: Process,
    health: u16,
    log: PathBuf,
}

/// Builds the controller as it is released, since its figures are shown, and returns its path.
pub(super) async fn build(screen: &mut Screen, begun: Instant) -> Result<PathBuf> {
    screen.progress(begun.elapsed(), "building the controller (release; some minutes the first time)");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manifest = root.join("Cargo.toml");
    ensure!(
        manifest.exists(),
        "the controller is built from {}, which does not exist: run `cargo demo` in a checkout of zen-lead",
        root.display()
    );
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // `cargo run` describes the lab's package in variables; build scripts that look at them would run again, and with
    // them most of the build, every time that the controller is built from here after it was built from a shell.
    let environment = Environment::default().without("CARGO_PKG_").without("CARGO_MANIFEST_");
    let build = ["build", "--release", "--package=zen-lead", "--bin=zen-lead", "--message-format=json"];
    let mut arguments: Vec<String> = build.map(str::to_owned).into();
    arguments.push(format!("--manifest-path={}", manifest.display()));
    let directory = Directory::create()?;
    let log = directory.path().join("build.log");
    // Its output goes to a file, and the build ends with us, however that happens.
    let mut build = Process::spawn_in(&environment, Path::new(&cargo), &arguments, &log)?;
    let mut next_word = begun.elapsed() + WORD_EVERY;
    let mut often = time::interval(Duration::from_millis(100));
    let status = loop {
        often.tick().await;
        if let Some(status) = build.ended()? {
            break status;
        }
        if begun.elapsed() >= next_word {
            let doing = said(&log).pop().unwrap_or_default();
            screen.progress(begun.elapsed(), &format!("still building the controller: {}", doing.trim()));
            next_word += WORD_EVERY;
        }
    };
    let text = std::fs::read_to_string(&log)?;
    match text.lines().rev().find_map(executable) {
        Some(path) => Ok(path),
        None => bail!("`cargo build` of the controller ended with {status}:\n{}", said(&log).join("\n")),
    }
}

/// Cargo's words for people, the last ones.
fn said(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('{') && !line.is_empty()).collect();
    lines[lines.len().saturating_sub(20)..].iter().map(|line| (*line).to_owned()).collect()
}

/// The program's path, if this is the message that it was built.
fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    (message["reason"] == "compiler-artifact" && message["target"]["name"] == "zen-lead").then_some(())?;
    message["executable"].as_str().map(PathBuf::from)
}

impl Controller {
    /// Starts it; its log goes into `folder`.
    pub(super) fn start(
        program: &Program,
        kubeconfig: &Path,
        folder: &Path,
        arguments: &[String],
    ) -> Result<Self> {
        let health = ports::free()?;
        let log = folder.join("zen-lead.log");
        // Those that the user's environment could also set are given, since flags win.
        let mut all: Vec<String> =
            ["run", "--metrics-bind-address=0", "--debug-bind-address=0", "--context=", "--dry-run=false"]
                .into_iter()
                .chain(["--log-level=info", "--log-format=text", "--identity=demo", "--leader-elect=false"])
                .map(str::to_owned)
                .collect();
        all.push(format!("--health-probe-bind-address=127.0.0.1:{health}"));
        all.push(format!("--kubeconfig={}", kubeconfig.display()));
        all.extend_from_slice(arguments);
        let environment = match &program.endpoint {
            None => Environment::default(),
            // Nothing else that the user's says of traces: these are for our own pages.
            Some(endpoint) => {
                Environment::default().without("OTEL_").with("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            }
        };
        let process = Process::spawn_in(&environment, &program.path, &all, &log)?;
        Ok(Self { process, health, log })
    }

    /// Returns when it says that it is ready.
    pub(super) async fn until_ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut often = time::interval(Duration::from_millis(10));
        loop {
            often.tick().await;
            if let Some(status) = self.process.ended()? {
                bail!("the controller ended with {status} before it was ready{}", self.last_words());
            }
            let answer = time::timeout(Duration::from_secs(2), ports::get(self.health, "/readyz")).await;
            let answer = answer.unwrap_or_else(|_| bail!("no answer for 2 s"));
            if answer.as_ref().is_ok_and(|answer| answer.split(' ').nth(1) == Some("200")) {
                return Ok(());
            }
            if begun.elapsed() > READY_WITHIN {
                let answer = answer.unwrap_or_else(|error| format!("{error:#}"));
                let body = answer.split("\r\n\r\n").last().unwrap_or_default().trim();
                let seconds = READY_WITHIN.as_secs();
                bail!("the controller is not ready after {seconds} s; /readyz: {body}{}", self.last_words());
            }
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// The end of its log, for whoever has to find out why something did not happen.
    pub(super) fn last_words(&self) -> String {
        let lines = last_lines(&self.log, 12);
        if lines.is_empty() {
            "; it logged nothing".into()
        } else {
            format!("; the end of its log:\n{lines}")
        }
    }

    /// Asks it to stop, as Kubernetes would, and returns whether it did so by itself and in good order.
    pub(super) async fn stop(mut self) -> Result<()> {
        if let Some(status) = self.process.ended()? {
            bail!("the controller had ended with {status}{}", self.last_words());
        }
        self.process.signal(Signal::TERM)?;
        task::spawn_blocking(move || {
            let deadline = Instant::now() + STOP_WITHIN;
            loop {
                match self.process.ended()? {
                    Some(status) if status == "exit status: 0" => return Ok(()),
                    Some(status) => bail!("the controller, asked to stop, ended with {status}"),
                    None if Instant::now() > deadline => bail!("the controller did not stop when asked to"),
                    None => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        })
        .await
        .context("waiting for the controller to stop")?
    }
}
