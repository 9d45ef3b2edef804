//! The application of `tests/lab/fencing`, whose leader is stopped in the middle of a write and wakes up in its
//! successor's term: protected as the README says, and not by the usual mistake.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::{Pod, Process, Signal, last_lines};
use tokio::time::sleep;

use crate::Leader;
use crate::support::SOON;

/// The application in one pod.
struct Application {
    process: Process,
    log: PathBuf,
}

impl Application {
    fn start(leader: &Leader, pod: &Pod, storage: &Path, recipe: &str) -> Result<Self> {
        let log = storage.with_extension(format!("{}.log", pod.name()));
        let url = format!("http://127.0.0.1:{}{}", leader.port, leader.path);
        let storage = storage.display().to_string();
        let process =
            run(&["--leader", &url, "--uid", pod.uid(), "--storage", &storage, "--recipe", recipe], &log)?;
        Ok(Self { process, log })
    }

    fn said(&self, words: &str) -> Result<usize> {
        Ok(std::fs::read_to_string(&self.log)?.matches(words).count())
    }

    /// Waits until it has said this so many times.
    async fn until_said(&self, words: &str, times: usize) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while self.said(words)? < times {
            let log = || last_lines(&self.log, 20);
            ensure!(Instant::now() < deadline, "{words:?} was not said {times} times:\n{}", log());
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

fn run(arguments: &[&str], log: &Path) -> Result<Process> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/fencing/application.py");
    let all: Vec<String> = [program.display().to_string()]
        .into_iter()
        .chain(arguments.iter().map(|&text| text.to_owned()))
        .collect();
    Process::spawn(Path::new("python3"), &all, log)
}

/// UID and epoch of what was written, in order.
async fn written(storage: &Path) -> Result<Vec<(String, u64)>> {
    let log = storage.with_extension("written");
    let mut show = run(&["--show", "--storage", &storage.display().to_string()], &log)?;
    let deadline = Instant::now() + SOON;
    while show.ended()?.is_none() {
        ensure!(Instant::now() < deadline, "it goes on and on");
        sleep(Duration::from_millis(10)).await;
    }
    let read = |line: &str| {
        let (uid, epoch) = line.split_once(' ').with_context(|| line.to_owned())?;
        Ok((uid.to_owned(), epoch.parse()?))
    };
    std::fs::read_to_string(&log)?.lines().map(read).collect()
}

/// Returns what was written, and the two pods' UIDs, after the former leader has had its say.
async fn story(purpose: &str, recipe: &str, outcome: &str) -> Result<(Vec<(String, u64)>, [String; 2])> {
    let (stage, leader) = Leader::stage(purpose).await?;
    let (_, pods) = stage.led("orders", 2).await?;
    let storage = stage.account.kubeconfig().await?.with_extension("sqlite");
    let start = |pod: &Pod| Application::start(&leader, pod, &storage, recipe);
    let (former, next) = (start(&pods[0])?, start(&pods[1])?);
    former.until_said("wrote in", 3).await?;

    former.process.signal(Signal::USR1)?;
    former.until_said("stops in", 1).await?;
    pods[0].unready().await?;
    next.until_said("wrote in", 3).await?;
    let before = former.said(outcome)?;
    former.process.signal(Signal::CONT)?;
    former.until_said(outcome, before + 1).await?;
    let written = written(&storage).await?;
    drop((former, next));
    stage.end().await?;
    Ok((written, [pods[0].uid().to_owned(), pods[1].uid().to_owned()]))
}

/// Whether one of the former's writes came after one of its successor's.
fn is_overtaken(written: &[(String, u64)], [former, next]: &[String; 2]) -> bool {
    let first_of_next = written.iter().position(|(uid, _)| uid == next);
    first_of_next.is_some_and(|first| written[first..].iter().any(|(uid, _)| uid == former))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_leader_that_keeps_its_pair_is_refused() -> Result<()> {
    let (written, pods) = story("f-pair", "pair", "was refused in").await?;
    assert!(!is_overtaken(&written, &pods), "{written:?}");
    // Each term is one pod's.
    let mut terms = written.clone();
    terms.dedup();
    assert_eq!(terms.iter().map(|(uid, _)| uid).collect::<Vec<_>>(), pods.iter().collect::<Vec<_>>());
    assert!(terms[0].1 < terms[1].1, "{terms:?}");
    Ok(())
}

/// Why the README says "as one pair".
#[tokio::test(flavor = "multi_thread")]
async fn a_former_leader_that_reads_the_epoch_alone_writes_in_its_successors_term() -> Result<()> {
    let (written, pods) = story("f-alone", "epoch-alone", "wrote in").await?;
    assert!(is_overtaken(&written, &pods), "{written:?}");
    Ok(())
}
