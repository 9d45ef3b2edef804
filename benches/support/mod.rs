//! What the benchmarks share: figures with their floor, a table, JSON, and the controller as a process.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "every benchmark uses a part of it")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Account, Environment, Namespace, Process, Signal};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One measured thing, and the floor under it from the same run.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    pub n: usize,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_p99: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_max: Option<f64>,
    /// Requests of the controller that change something, for each failover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<f64>,
    /// Requests of the controller that do not, for each failover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<f64>,
    /// Processor time of the controller, for each failover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<f64>,
    /// 95 % bootstrap interval of the difference of the medians, ours less the floor's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_difference: Option<(f64, f64)>,
    /// 95 % bootstrap interval of the ratio of the medians, for samples that come in pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ratio: Option<(f64, f64)>,
}

impl Figure {
    pub fn of(name: impl Into<String>, unit: &'static str, samples: &[f64]) -> Self {
        let sorted = sorted(samples);
        Self {
            name: name.into(),
            unit,
            n: sorted.len(),
            p50: percentile(&sorted, 0.5),
            p99: percentile(&sorted, 0.99),
            max: percentile(&sorted, 1.0),
            floor_p50: None,
            floor_p99: None,
            floor_max: None,
            writes: None,
            reads: None,
            cpu_ms: None,
            p50_difference: None,
            p50_ratio: None,
        }
    }

    pub fn over(mut self, ours: &[f64], floor: &[f64]) -> Self {
        let floor_sorted = sorted(floor);
        self.floor_p50 = Some(percentile(&floor_sorted, 0.5));
        self.floor_p99 = Some(percentile(&floor_sorted, 0.99));
        self.floor_max = Some(percentile(&floor_sorted, 1.0));
        self.p50_difference = Some(bootstrap(ours, floor));
        self
    }

    /// The same for samples of which each was taken beside the floor's of the same number.
    pub fn beside(self, ours: &[f64], floor: &[f64]) -> Self {
        let mut figure = self.over(ours, floor);
        figure.p50_difference = Some(paired(ours, floor, |ours, floor| ours - floor));
        figure.p50_ratio = Some(paired(ours, floor, |ours, floor| ours / floor));
        figure
    }
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index"
)]
pub fn percentile(sorted: &[f64], p: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let rank = (p * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// 95 % interval of the difference of the medians, by 2,000 resamplings with a fixed seed.
fn bootstrap(ours: &[f64], floor: &[f64]) -> (f64, f64) {
    let mut draws = Draws::default();
    interval(|| {
        let (ours, floor) = (median(ours, &draws.of(ours.len())), median(floor, &draws.of(floor.len())));
        ours - floor
    })
}

/// 95 % interval of what two medians make, when pairs are drawn and not samples: what slowed down both is not told for
/// a difference.
fn paired(ours: &[f64], floor: &[f64], make: impl Fn(f64, f64) -> f64) -> (f64, f64) {
    let mut draws = Draws::default();
    interval(|| {
        let pairs = draws.of(ours.len().min(floor.len()));
        make(median(ours, &pairs), median(floor, &pairs))
    })
}

fn interval(mut draw: impl FnMut() -> f64) -> (f64, f64) {
    let mut drawn: Vec<f64> = (0..2_000).map(|_| draw()).collect();
    drawn.sort_by(f64::total_cmp);
    (percentile(&drawn, 0.025), percentile(&drawn, 0.975))
}

fn median(samples: &[f64], places: &[usize]) -> f64 {
    let mut drawn: Vec<f64> = places.iter().map(|place| samples[*place]).collect();
    drawn.sort_by(f64::total_cmp);
    percentile(&drawn, 0.5)
}

/// Chance, the same in every run.
pub struct Draws(u64);

impl Default for Draws {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Draws {
    /// A number below this.
    pub fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (most as u64)).unwrap_or_default()
    }

    /// The numbers below this in an order that chance makes.
    pub fn order(&mut self, most: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..most).collect();
        for place in (1..most).rev() {
            order.swap(place, self.below(place + 1));
        }
        order
    }

    /// As many numbers below this as it says.
    fn of(&mut self, most: usize) -> Vec<usize> {
        (0..most).map(|_| self.below(most)).collect()
    }
}

/// Prints the figures as a table, and writes them as JSON where `--json FILE` says.
pub fn report(title: &str, figures: &[Figure]) -> Result<()> {
    show(title, figures);
    write_json(figures)
}

/// Prints the figures as a table.
pub fn show(title: &str, figures: &[Figure]) {
    println!("\n{title}: {}", machine());
    println!(
        "{:<44} {:>4} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>13} {:>15} {:>6} {:>6} {:>7}",
        "",
        "unit",
        "n",
        "p50",
        "p99",
        "max",
        "floor p50",
        "floor p99",
        "ratio",
        "ratio 95%",
        "p50 - floor 95%",
        "writes",
        "reads",
        "cpu ms"
    );
    let optional = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    for figure in figures {
        let ratio = figure.floor_p50.map(|floor| figure.p50 / floor);
        let difference =
            figure.p50_difference.map_or_else(String::new, |(low, high)| format!("{low:+.2}..{high:+.2}"));
        let spread = figure.p50_ratio.map_or_else(String::new, |(low, high)| format!("{low:.3}..{high:.3}"));
        println!(
            "{:<44} {:>4} {:>6} {:>9.2} {:>9.2} {:>9.2} {:>9} {:>9} {:>6} {:>13} {:>15} {:>6} {:>6} {:>7}",
            figure.name,
            figure.unit,
            figure.n,
            figure.p50,
            figure.p99,
            figure.max,
            optional(figure.floor_p50),
            optional(figure.floor_p99),
            optional(ratio),
            spread,
            difference,
            optional(figure.writes),
            optional(figure.reads),
            optional(figure.cpu_ms),
        );
    }
}

/// Writes figures where `--json FILE` says.
pub fn write_json(figures: &(impl Serialize + ?Sized)) -> Result<()> {
    let Some(file) = argument("--json") else { return Ok(()) };
    std::fs::write(&file, serde_json::to_vec_pretty(figures)?).with_context(|| format!("cannot write {file}"))
}

/// The value of a `--name VALUE` on the command line.
pub fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name)?;
    arguments.next()
}

/// The same as a number.
pub fn number(name: &str, default: usize) -> Result<usize> {
    argument(name)
        .map_or(Ok(default), |text| text.parse().with_context(|| format!("{name} {text}: not a number")))
}

/// How large the machine is.
pub fn machine() -> String {
    format!("{} cores, {}", cores(), memory())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn memory() -> String {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: Option<u64> = info.split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
    kib.map_or_else(String::new, |kib| format!("{} GiB", kib / 1024 / 1024))
}

/// What a controller tells of itself.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    /// The port on which it serves metrics.
    pub metrics: Option<u16>,
    /// Where it sends its traces.
    pub collector: Option<String>,
}

/// Processor time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// Of the thread that exports traces.
    pub export: Duration,
    /// Of all others.
    pub rest: Duration,
}

impl Cpu {
    pub fn since(self, before: Self) -> Self {
        Self {
            export: self.export.saturating_sub(before.export),
            rest: self.rest.saturating_sub(before.rest),
        }
    }
}

/// Memory of a process in MiB, as Linux tells it.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub resident: f64,
    /// Of that, what is no page of a file, that is of the program itself, which Linux can read again at any time. How many
    /// of those are mapped beside the ones in use differs from kernel to kernel.
    pub own: f64,
    /// The most that was resident.
    pub peak: f64,
}

/// The controller as a process.
pub struct Controller {
    process: Option<Process>,
    pub log: PathBuf,
}

impl Controller {
    /// Starts it for all namespaces that `account` may see.
    pub async fn start(account: &Account, arguments: &[&str]) -> Result<Self> {
        Self::with_kubeconfig(&account.kubeconfig().await?, arguments)
    }

    pub fn with_kubeconfig(kubeconfig: &Path, arguments: &[&str]) -> Result<Self> {
        Self::with_telemetry(kubeconfig, &Telemetry::default(), arguments)
    }

    pub fn with_telemetry(kubeconfig: &Path, telemetry: &Telemetry, arguments: &[&str]) -> Result<Self> {
        let metrics = telemetry.metrics.map_or_else(|| "0".into(), |port| format!("127.0.0.1:{port}"));
        let metrics = format!("--metrics-bind-address={metrics}");
        let arguments = [&["--leader-elect=false", &*metrics], arguments].concat();
        let mut environment = Environment::default().without("OTEL_");
        if let Some(collector) = &telemetry.collector {
            environment = environment.with("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
        }
        Self::spawn(kubeconfig, &environment, &arguments)
    }

    /// One of several, for the namespace `ns`, where the Lease is as well.
    pub fn replica(kubeconfig: &Path, ns: &str, identity: &str) -> Result<Self> {
        let environment = Environment::default().without("OTEL_").with("POD_NAMESPACE", ns);
        let (namespace, identity) = (format!("--namespace={ns}"), format!("--identity={identity}"));
        Self::spawn(kubeconfig, &environment, &["--metrics-bind-address=0", &*namespace, &*identity])
    }

    fn spawn(kubeconfig: &Path, environment: &Environment, arguments: &[&str]) -> Result<Self> {
        let log = kubeconfig.with_extension(format!("{}.log", lab::free_port()?));
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let common = ["run", "--health-probe-bind-address=0", "--debug-bind-address=0", &*kubeconfig];
        let all: Vec<_> = common.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        let program = Path::new(env!("CARGO_BIN_EXE_zen-lead"));
        let process = Process::spawn_in(environment, program, &all, &log)?;
        Ok(Self { process: Some(process), log })
    }

    /// Waits until its log says so.
    pub async fn until_logged(&self, words: &str) -> Result<()> {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(3);
        let mut often = tokio::time::interval(Duration::from_millis(2));
        loop {
            often.tick().await;
            if std::fs::read_to_string(&self.log)?.contains(words) {
                return Ok(());
            }
            let is_late = tokio::time::Instant::now() > deadline;
            ensure!(!is_late, "`{words}` was not logged:\n{}", lab::last_lines(&self.log, 20));
        }
    }

    fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the controller was stopped")?.id())
    }

    /// Its processor time so far.
    pub fn cpu(&self) -> Result<Duration> {
        let Cpu { export, rest } = self.cpu_by_thread()?;
        Ok(export + rest)
    }

    /// Its processor time so far, the exporter's apart.
    pub fn cpu_by_thread(&self) -> Result<Cpu> {
        let mut cpu = Cpu::default();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid()?))? {
            let task = task?.path();
            // A thread may end meanwhile.
            let read = |file: &str| std::fs::read_to_string(task.join(file)).unwrap_or_default();
            let nanos = read("schedstat").split_whitespace().next().and_then(|nanos| nanos.parse().ok());
            let took = Duration::from_nanos(nanos.unwrap_or_default());
            *(if read("comm").trim() == "traces" { &mut cpu.export } else { &mut cpu.rest }) += took;
        }
        Ok(cpu)
    }

    /// Its resident memory.
    pub fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let field = |name: &str| -> Result<f64> {
            let line = status.lines().find(|line| line.starts_with(name)).context("no such field")?;
            let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
            Ok(kib / 1024.0)
        };
        Ok(Memory { resident: field("VmRSS:")?, own: field("RssAnon:")?, peak: field("VmHWM:")? })
    }

    /// SIGSTOP.
    pub fn pause(&self) -> Result<()> {
        self.process.as_ref().context("the controller was stopped")?.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.process.as_ref().context("the controller was stopped")?.signal(Signal::CONT)
    }

    /// SIGTERM, and the end.
    pub fn stop(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::TERM)?;
        process.end(Duration::from_secs(10))
    }
}

/// What a controller serves at `/metrics` on this port.
pub async fn scrape(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "a scrape was answered with:\n{answer}");
    Ok(answer)
}

/// An account with the shipped ClusterRole, in a namespace of its own.
pub async fn authorise(ns: &Namespace) -> Result<Account> {
    let account = ns.account("zen-lead").await?;
    ns.apply(&file("deploy/clusterrole.yaml")?).await?;
    ns.apply(&file("deploy/clusterrolebinding.yaml")?.replace("zen-lead-system", ns.name())).await?;
    Ok(account)
}

/// A file of this repository.
pub fn file(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
