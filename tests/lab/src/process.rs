//! A component's process: it never outlives its owner, even when the owner is killed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Runs before the component and in its place: the shell leaves a watcher behind and then *becomes* the component, so
/// that the process id known to the owner is the component's.
///
/// The watcher reads from a pipe whose only writer is the owner. A line means that the component was ended in good
/// order. End of file without one means that the owner is gone, in whatever way: the kernel closes its pipes, and no
/// cooperation is needed. `PR_SET_PDEATHSIG` would be the usual way, but it follows the spawning *thread* and cannot be
/// set from safe Rust.
const LEASH: &str = r#"exec 3<&0
(read -r _ <&3 || kill -KILL $$) >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null"#;

/// The variables that a program finds: ours, with these differences.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    removed: Vec<OsString>,
    set: Vec<(String, String)>,
}

impl Environment {
    /// Without those whose names begin like this: what the user has set for other purposes.
    #[must_use]
    pub fn without(mut self, prefix: &str) -> Self {
        let names = env::vars_os().map(|(name, _)| name);
        self.removed.extend(names.filter(|name| name.to_str().is_some_and(|name| name.starts_with(prefix))));
        self
    }

    /// With this one.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running program with its output in a log file. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    leash: ChildStdin,
    /// The real program, where the child is only the door through which it was started: `nsenter` or `unshare` with a
    /// PID namespace.
    inner: Option<u32>,
}

impl Process {
    /// Starts `program` in our environment; what it says goes to the end of `log`.
    pub fn spawn(program: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        Self::spawn_in(&Environment::default(), program, arguments, log)
    }

    /// The same in another environment.
    pub fn spawn_in(
        environment: &Environment,
        program: &Path,
        arguments: &[String],
        log: &Path,
    ) -> Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new("/bin/sh");
        for name in &environment.removed {
            command.env_remove(name);
        }
        let mut child = command
            .args(["-c", LEASH, "sh"])
            .arg(program)
            .args(arguments)
            .envs(environment.set.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C on a terminal goes to the foreground group: it is for the owner, who then ends the components.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let leash = child.stdin.take().context("the component's stdin is piped")?;
        Ok(Self { child, leash, inner: None })
    }

    /// The same of a program that starts another one in a PID namespace and waits for it. What is done to this process
    /// is done to that other one.
    pub(crate) fn spawn_nested(program: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        let mut process = Self::spawn(program, arguments, log)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while process.inner.is_none() {
            if let Some(status) = process.ended()? {
                bail!("{} ended with {status}; its last words:\n{}", program.display(), last_lines(log, 15));
            }
            if Instant::now() > deadline {
                bail!("{} has started nothing after 20 s", program.display());
            }
            thread::sleep(Duration::from_millis(2));
            process.inner = nested_child(process.child.id());
        }
        Ok(process)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.unwrap_or_else(|| self.child.id())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.child.try_wait()?.map(|status| status.to_string()))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // The child has not been waited for while it is in this struct, so its id cannot have been reused; nor has that
        // of the program behind it, for which the child waits.
        kill_process(pid(self.id())?, signal)
            .with_context(|| format!("{signal:?} to process {}", self.id()))?;
        if self.inner.is_some() && signal == Signal::CONT {
            // It stops together with the program behind it.
            kill_process(pid(self.child.id())?, signal)?;
        }
        Ok(())
    }

    /// Stops it with SIGSTOP and returns when the kernel has stopped it.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + Duration::from_secs(5);
        while state(self.id()) != Some('T') {
            if Instant::now() > deadline {
                bail!("process {} does not stop", self.id());
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// Asks it to end, and kills it if it has not within `patience`. Blocks.
    pub fn end(mut self, patience: Duration) -> Result<()> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + patience;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                // Dropping kills.
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.filter(|inner| nested_child(self.child.id()) == Some(*inner)) {
            let _ = pid(inner).map(|inner| kill_process(inner, Signal::KILL));
            // The child ends when that program is gone, so that its ports are free again; not if it is frozen.
            let deadline = Instant::now() + Duration::from_secs(2);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
        }
        // `Child::kill` does nothing if the process has been waited for, and the word keeps the watcher from killing a
        // later process with the same id.
        let _ = self.child.kill();
        let _ = self.leash.write_all(b"done\n");
        let _ = self.child.wait();
    }
}

/// Whether a process with this id exists (a zombie does).
#[must_use]
pub fn is_alive(id: u32) -> bool {
    pid(id).is_ok_and(|id| test_kill_process(id) != Err(rustix::io::Errno::SRCH))
}

/// The end of a log file, for error messages; what went wrong is usually there.
#[must_use]
pub fn last_lines(path: &Path, count: usize) -> String {
    match read_lossy(path) {
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(count)..].join("\n")
        }
        Err(error) => format!("({} cannot be read: {error})", path.display()),
    }
}

fn read_lossy(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut File::open(path)?, &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The child of a process that is in a deeper PID namespace than we are; its other children are its leash.
fn nested_child(parent: u32) -> Option<u32> {
    let depth = |id: &str| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        Some(status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().count())
    };
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let ours = depth("self")?;
    children.split_whitespace().find(|id| depth(id).is_some_and(|depth| depth > ours))?.parse().ok()
}

fn pid(id: u32) -> Result<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw).with_context(|| format!("{id} is no process id"))
}

/// The kernel's letter for what the process does: `R`, `S`, `T` (stopped), `Z` (zombie), ...
fn state(id: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before it is in parentheses and may itself contain any character.
    stat.rsplit_once(") ")?.1.chars().next()
}
