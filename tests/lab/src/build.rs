//! Programs that the lab needs and Go builds from modules.
//!
//! Building takes minutes, so the result is kept in the user's cache directory under a hash of its sources: a fresh
//! clone, another worktree or `cargo clean` do not build it again.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, io};

use anyhow::{Context, Result, bail, ensure};

use crate::process::last_lines;

/// What to build, and how.
pub(crate) struct GoProgram {
    /// What it is, for people.
    pub(crate) what: &'static str,
    /// How long building it takes on 2 cores.
    pub(crate) minutes: u8,
    /// Names and contents of the files of its Go module: compiled in, so that what is built and what is hashed
    /// cannot differ.
    pub(crate) sources: &'static [(&'static str, &'static str)],
    /// The package to build, as it is named in that module.
    pub(crate) package: &'static str,
    pub(crate) linker_flags: &'static str,
    /// The file's name. It appears by a rename when it is complete, so its presence says that it is usable.
    pub(crate) binary: &'static str,
    /// Further names that are linked to it.
    pub(crate) links: &'static [&'static str],
    /// What to do about a missing or an old Go.
    pub(crate) remedy: &'static str,
}

impl GoProgram {
    /// The program that the environment variable names if it is set, else the one in the cache, built if it is missing.
    ///
    /// Blocks, for minutes the first time; says so on stderr.
    pub(crate) fn given_or_built(&self, variable: &str) -> Result<PathBuf> {
        let Some(program) = env::var_os(variable) else {
            return Ok(self.find_or_build()?.join(self.binary));
        };
        let program = PathBuf::from(program);
        ensure!(
            program.is_file(),
            "{variable} is set, but {} is no file: name a {}, or unset it to have one built",
            program.display(),
            self.what
        );
        Ok(program)
    }

    /// The folder in the cache where it is, built if it is missing.
    ///
    /// Blocks, for minutes the first time; says so on stderr.
    pub(crate) fn find_or_build(&self) -> Result<PathBuf> {
        let directory = cache_directory()?.join(format!("{:016x}", hash(self.sources)));
        if !directory.join(self.binary).exists() {
            fs::create_dir_all(&directory)?;
            let _one_builder = self.lock(&directory.join("lock"))?;
            // Whoever held the lock before may have built it meanwhile.
            if !directory.join(self.binary).exists() {
                self.build(&directory)?;
            }
        }
        Ok(directory)
    }

    fn build(&self, directory: &Path) -> Result<()> {
        self.require_go()?;
        let sources = directory.join("source");
        fs::create_dir_all(&sources)?;
        for (name, content) in self.sources {
            fs::write(sources.join(name), content)?;
        }
        for name in self.links {
            link(self.binary, &directory.join(name))?;
        }
        // If a builder is killed, its compiler goes on for a while: it must not write into the next builder's file.
        let unfinished = directory.join(format!("unfinished-{}", process::id()));
        let log = directory.join("build.log");
        let output = File::create(&log)?;
        let mut go = Command::new("go")
            .args(["build", "-trimpath", "-ldflags", self.linker_flags, "-o"])
            .arg(&unfinished)
            .arg(self.package)
            .current_dir(&sources)
            .env("CGO_ENABLED", "0")
            // A workspace or vendor setting of the user's must not reach into this build.
            .env("GOWORK", "off")
            .env("GOFLAGS", "-mod=readonly")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start go")?;

        let (what, minutes) = (self.what, self.minutes);
        eprintln!(
            "lab: building {what} from Go modules (first time only, about {minutes} minutes on 2 cores) into {}",
            directory.display()
        );
        let begun = Instant::now();
        let mut next_word = Duration::from_secs(15);
        let status = loop {
            if let Some(status) = go.try_wait()? {
                break status;
            }
            if begun.elapsed() >= next_word {
                eprintln!("lab: still building {what}, {} s", begun.elapsed().as_secs());
                next_word += Duration::from_secs(15);
            }
            thread::sleep(Duration::from_millis(100));
        };
        if !status.success() {
            bail!(
                "go build of {what} ended with {status} ({}); the end of {}:\n{}",
                self.remedy,
                log.display(),
                last_lines(&log, 20)
            );
        }
        fs::rename(&unfinished, directory.join(self.binary))?;
        eprintln!("lab: built {what} in {} s", begun.elapsed().as_secs());
        Ok(())
    }

    fn require_go(&self) -> Result<()> {
        let found =
            Command::new("go").arg("version").stdin(Stdio::null()).output().is_ok_and(|o| o.status.success());
        ensure!(
            found,
            "the lab needs {}, and there is no `go` on PATH to build it: {}",
            self.what,
            self.remedy
        );
        Ok(())
    }

    /// Held while building; the kernel releases it when the process ends, however that happens.
    fn lock(&self, path: &Path) -> Result<File> {
        let file = File::create(path)?;
        if file.try_lock().is_err() {
            eprintln!("lab: waiting for another process that is building {}", self.what);
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }
}

fn link(binary: &str, name: &Path) -> Result<()> {
    match symlink(binary, name) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot link {}", name.display()))
        }
        _ => Ok(()),
    }
}

fn cache_directory() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        // The specification wants relative paths ignored.
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set, so there is no place to keep the built programs")?;
    Ok(cache.join("zen-lead-lab"))
}

/// FNV-1a. The standard library's hasher may change with the toolchain, and that would cost everyone a build.
fn hash(sources: &[(&str, &str)]) -> u64 {
    sources
        .iter()
        .flat_map(|(name, content)| [name.as_bytes(), content.as_bytes()])
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
