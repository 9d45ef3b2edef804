//! Network namespaces: one for the control plane, one for each node, one for each pod.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::packages;

/// Longer than any connection on one machine takes that is ever accepted.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// A network namespace. It exists at least as long as this.
#[derive(Debug)]
pub struct Network {
    process: u32,
    namespace: File,
}

impl Network {
    /// That of a process, by the id that it has here.
    pub fn of_process(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/ns/net");
        let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        Ok(Self { process, namespace })
    }

    /// Moves the calling thread into it: what the thread opens from now on is there. There is no way back, so it should
    /// be a thread for this purpose.
    pub fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("cannot enter a network namespace, which needs root")
    }

    /// Runs this on a thread in it, and waits. A socket stays in the namespace in which it was opened, wherever it is
    /// used.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                work()
            });
            thread.join().map_err(|_| anyhow!("what ran in a network namespace panicked"))?
        })
    }

    /// A connection from within it.
    pub fn connect(&self, to: SocketAddr) -> Result<TcpStream> {
        self.run(|| Ok(TcpStream::connect_timeout(&to, CONNECT_WITHIN)?))
    }

    /// Commands of `ip`, one a line, as from within it.
    pub(crate) fn ip(&self, commands: &str) -> Result<()> {
        let mut child = Command::new("nsenter")
            .arg(self.door())
            .args(["ip", "-batch", "-"])
            .env("PATH", packages::search_path())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start nsenter")?;
        child.stdin.take().context("stdin is piped")?.write_all(commands.as_bytes())?;
        let output = child.wait_with_output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip: {error}of\n{commands}");
        Ok(())
    }

    /// The argument with which `nsenter` enters it.
    ///
    /// Not `ip netns exec`: that mounts a fresh `/sys`, in which the cgroups are missing.
    pub(crate) fn door(&self) -> String {
        format!("--net=/proc/{}/ns/net", self.process)
    }
}
