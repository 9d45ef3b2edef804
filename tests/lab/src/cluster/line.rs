//! Bad lines: packets that come late, in another order, or never.
//!
//! What `tc netem` does, for kernels without it: netfilter asks this process what is to become of each packet on a network's
//! link, and the answer takes a time of its own, or is no.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use nfq::{Message, Queue, Verdict};
use ring::rand::{SystemRandom, generate};

use super::network::Network;
use super::packages;

/// The number of the queue, of which each network has its own.
const QUEUE: u16 = 1;

/// Packets that may wait at once: at 200 ms each, those of 300,000 a second.
const WAITING_MOST: u32 = 65_536;

/// How exactly delays are kept.
const TICK: Duration = Duration::from_millis(1);

/// What a bad line does to packets, in either direction.
#[derive(Debug, Clone, Copy)]
pub struct Badness {
    /// The longest delay; each has its own, evenly distributed from none.
    pub jitter: Duration,
    /// How many of a thousand are lost.
    pub lost_of_thousand: u32,
}

impl Badness {
    /// How late a packet is to come; none: never.
    fn delay(self, random: &SystemRandom) -> Result<Option<Duration>> {
        let number = || -> Result<u32> {
            let bytes = generate(random).map_err(|_| anyhow!("no random numbers"))?;
            Ok(u32::from_le_bytes(bytes.expose()))
        };
        if number()? % 1_000 < self.lost_of_thousand {
            return Ok(None);
        }
        Ok(Some(self.jitter.mul_f64(f64::from(number()?) / f64::from(u32::MAX))))
    }
}

/// What a bad line has done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Passed {
    /// Packets that arrived, late.
    pub late: u64,
    /// Packets that were lost.
    pub lost: u64,
}

/// A network's link that is bad until this ends.
#[derive(Debug)]
pub struct BadLine {
    network: Arc<Network>,
    link: &'static str,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Passed>>>,
}

impl BadLine {
    pub(crate) fn begin(network: Arc<Network>, link: &'static str, badness: Badness) -> Result<Self> {
        // A socket belongs to the network in which it is opened, wherever it is used.
        let queue = network.run(|| {
            let mut queue = Queue::open()?;
            queue.bind(QUEUE)?;
            queue.set_queue_max_len(QUEUE, WAITING_MOST)?;
            // Each that waits keeps a buffer of this size, and what is in it does not matter.
            queue.set_copy_range(QUEUE, 0)?;
            queue.set_nonblocking(true);
            Ok(queue)
        });
        let queue = queue.context("cannot ask the kernel for packets: it needs nfnetlink_queue")?;
        let ends = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("bad line".into()).spawn({
            let ends = ends.clone();
            move || carry(queue, badness, &ends)
        })?;
        let begun = Self { network, link, ends, thread: Some(thread) };
        begun.rules("-A")?;
        Ok(begun)
    }

    /// Ends it; blocks. Packets that wait pass at once.
    pub fn end(mut self) -> Result<Passed> {
        self.rules("-D")?;
        self.stop()
    }

    fn stop(&mut self) -> Result<Passed> {
        self.ends.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it ends once")?;
        thread.join().map_err(|_| anyhow!("the thread of a bad line panicked"))?
    }

    /// What comes in and what goes out, of the node and of the pods on it. Not by nft: some kernels know this target alone.
    fn rules(&self, action: &str) -> Result<()> {
        for (chain, side) in [("PREROUTING", "-i"), ("POSTROUTING", "-o")] {
            let number = QUEUE.to_string();
            let rule = [
                "-w",
                "-t",
                "mangle",
                action,
                chain,
                side,
                self.link,
                "-j",
                "NFQUEUE",
                "--queue-num",
                &number,
                // Should nobody answer, they pass.
                "--queue-bypass",
            ];
            let output = self.network.run(|| {
                let mut iptables = Command::new("iptables");
                Ok(iptables.args(rule).env("PATH", packages::search_path()).output()?)
            });
            let output = output.context("cannot start iptables")?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "iptables {}: {error}", rule.join(" "));
        }
        Ok(())
    }
}

impl Drop for BadLine {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.rules("-D");
            let _ = self.stop();
        }
    }
}

fn carry(mut queue: Queue, badness: Badness, ends: &AtomicBool) -> Result<Passed> {
    let random = SystemRandom::new();
    let mut passed = Passed::default();
    // By when they are due; the number tells those apart that are due at once.
    let mut waiting: BTreeMap<(Instant, u64), Message> = BTreeMap::new();
    let mut number = 0;
    loop {
        let is_over = ends.load(Ordering::Relaxed);
        loop {
            let mut message = match queue.recv() {
                Ok(message) => message,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("reading packets"),
            };
            if let Some(delay) = badness.delay(&random)? {
                passed.late += 1;
                number += 1;
                message.set_verdict(Verdict::Accept);
                waiting.insert((Instant::now() + delay, number), message);
            } else {
                passed.lost += 1;
                message.set_verdict(Verdict::Drop);
                queue.verdict(message)?;
            }
        }
        let now = Instant::now();
        while let Some(first) = waiting.first_entry().filter(|first| is_over || first.key().0 <= now) {
            queue.verdict(first.remove())?;
        }
        if is_over {
            return Ok(passed);
        }
        thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::{BufRead as _, BufReader};
    use std::net::UdpSocket;
    use std::process::Stdio;

    use super::super::Cluster;
    use super::*;

    /// As many as a socket takes in before anybody reads.
    const SENT: u16 = 200;

    /// Longer than a packet can be late by.
    const LAST: Duration = Duration::from_secs(1);

    /// In a network of its own, over loopback: what is sent passes the line twice, on its way out and on its way in.
    #[test]
    fn packets_are_lost_and_overtake_each_other_until_the_line_is_good_again() -> Result<()> {
        if !Cluster::is_possible() {
            eprintln!("skipped: it needs root");
            return Ok(());
        }
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo up && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env("PATH", packages::search_path())
            .spawn()?;
        let mut up = String::new();
        BufReader::new(child.stdout.take().context("it is piped")?).read_line(&mut up)?;
        let network = Arc::new(Network::of_process(child.id())?);
        let (from, to) = network.run(|| {
            let [from, to] = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
            from.connect(to.local_addr()?)?;
            to.set_read_timeout(Some(LAST))?;
            Ok((from, to))
        })?;
        let arrived = || -> Result<Vec<u16>> {
            for number in 0..SENT {
                from.send(&number.to_le_bytes())?;
            }
            let mut packet = [0; 2];
            Ok(std::iter::from_fn(|| to.recv(&mut packet).ok().map(|_| u16::from_le_bytes(packet))).collect())
        };

        let badness = Badness { jitter: Duration::from_millis(50), lost_of_thousand: 500 };
        let line = BadLine::begin(network.clone(), "lo", badness)?;
        let some = arrived()?;
        let Passed { late, lost } = line.end()?;
        // A quarter, six standard deviations more or less.
        assert!((13..87).contains(&some.len()), "{} arrived", some.len());
        assert!(late > lost / 2 && lost > 100, "{late} late, {lost} lost");
        assert!(!some.is_sorted(), "none was overtaken");
        assert_eq!(some.iter().collect::<BTreeSet<_>>().len(), some.len(), "none came twice");
        assert_eq!(arrived()?, (0..SENT).collect::<Vec<_>>());
        drop(child.stdin.take());
        child.wait()?;
        Ok(())
    }
}
