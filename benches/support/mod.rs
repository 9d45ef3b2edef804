//! What the benchmarks share: figures with their floor, a table, JSON, and the controller as a process.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "every benchmark uses a part of it")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Account, Namespace, Process, Signal};
use serde::Serialize;

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
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (most as u64)).unwrap_or_default()
    };
    let mut differences = Vec::with_capacity(2_000);
    for _ in 0..2_000 {
        let mut median = |samples: &[f64]| {
            let mut drawn: Vec<f64> = (0..samples.len()).map(|_| samples[draw(samples.len())]).collect();
            drawn.sort_by(f64::total_cmp);
            percentile(&drawn, 0.5)
        };
        differences.push(median(ours) - median(floor));
    }
    differences.sort_by(f64::total_cmp);
    (percentile(&differences, 0.025), percentile(&differences, 0.975))
}

/// Prints the figures as a table, and writes them as JSON where `--json FILE` says.
pub fn report(title: &str, figures: &[Figure]) -> Result<()> {
    println!("\n{title}: {} cores, {}", cores(), memory());
    println!(
        "{:<44} {:>4} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>15} {:>6} {:>6} {:>7}",
        "",
        "unit",
        "n",
        "p50",
        "p99",
        "max",
        "floor p50",
        "floor p99",
        "ratio",
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
        println!(
            "{:<44} {:>4} {:>6} {:>9.2} {:>9.2} {:>9.2} {:>9} {:>9} {:>6} {:>15} {:>6} {:>6} {:>7}",
            figure.name,
            figure.unit,
            figure.n,
            figure.p50,
            figure.p99,
            figure.max,
            optional(figure.floor_p50),
            optional(figure.floor_p99),
            optional(ratio),
            difference,
            optional(figure.writes),
            optional(figure.reads),
            optional(figure.cpu_ms),
        );
    }
    if let Some(file) = argument("--json") {
        std::fs::write(&file, serde_json::to_vec_pretty(figures)?)
            .with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
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

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn memory() -> String {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: Option<u64> = info.split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
    kib.map_or_else(String::new, |kib| format!("{} GiB", kib / 1024 / 1024))
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
        let log = kubeconfig.with_extension(format!("{}.log", lab::free_port()?));
        let mut all = vec!["run", "--leader-elect=false"];
        all.extend(["--metrics-bind-address=0", "--health-probe-bind-address=0"]);
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        all.push(&kubeconfig);
        all.extend(arguments);
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let process = Process::spawn(Path::new(env!("CARGO_BIN_EXE_zen-lead")), &all, &log)?;
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
        let mut total = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid()?))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            total += text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(Duration::from_nanos(total))
    }

    /// Its resident memory in MiB: now, and at its peak.
    pub fn memory(&self) -> Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let field = |name: &str| -> Result<f64> {
            let line = status.lines().find(|line| line.starts_with(name)).context("no such field")?;
            let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
            Ok(kib / 1024.0)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// SIGTERM, and the end.
    pub fn stop(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::TERM)?;
        process.end(Duration::from_secs(10))
    }
}

/// An account with the shipped ClusterRole, in a namespace of its own.
pub async fn authorise(ns: &Namespace) -> Result<Account> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let account = ns.account("zen-lead").await?;
    ns.apply(&std::fs::read_to_string(root.join("clusterrole.yaml"))?).await?;
    let binding = std::fs::read_to_string(root.join("clusterrolebinding.yaml"))?;
    ns.apply(&binding.replace("zen-lead-system", ns.name())).await?;
    Ok(account)
}
