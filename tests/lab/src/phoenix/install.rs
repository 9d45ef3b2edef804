//! Phoenix as a program on this machine: installed once, from the Python package index.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::time;

use crate::process::{Process, last_lines};

/// A release that its REST interface, as read here, was tried with.
const VERSION: &str = "20.26.1";

/// How often a long installation says that it is still at it.
const WORD_EVERY: Duration = Duration::from_secs(15);

/// Where words for people go.
pub(crate) type Say<'a> = &'a mut (dyn FnMut(&str) + Send);

/// The Python of a virtual environment that has Phoenix, which is installed if it is missing. That takes a minute.
pub(super) async fn python(say: Say<'_>) -> Result<PathBuf> {
    installed(Path::new("python3"), &target_directory().join(format!("phoenix-{VERSION}")), say).await
}

async fn installed(python: &Path, directory: &Path, say: Say<'_>) -> Result<PathBuf> {
    let environment = directory.join("venv");
    let installed = environment.join("bin/python");
    // Written last, so its presence says that the environment is usable. (An environment cannot be renamed: its
    // scripts contain its path.) The Python that it was made with may have been removed since.
    let complete = directory.join("complete");
    let is_usable = || complete.exists() && installed.exists();
    if !is_usable() {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let _one_installer = lock(&directory.join("lock"), say).await?;
        // Whoever held the lock before may have installed it meanwhile.
        if !is_usable() {
            install(python, directory, &environment, say).await?;
            File::create(&complete)?;
        }
    }
    Ok(installed)
}

async fn install(python: &Path, directory: &Path, environment: &Path, say: Say<'_>) -> Result<()> {
    require_python(python)?;
    let begun = Instant::now();
    say(&format!(
        "installing Arize Phoenix {VERSION} from the Python package index (first time only, about a minute, 850 MB) into {}",
        directory.display()
    ));
    let log = directory.join("install.log");
    // What another installer left unfinished is cleared.
    let make = ["-m", "venv", "--clear"].map(str::to_owned);
    let make = [&make[..], &[environment.display().to_string()]].concat();
    run(python, &make, &log, say).await.with_context(|| {
        format!(
            "{} cannot make a virtual environment; on Debian: apt-get install python3-venv",
            python.display()
        )
    })?;
    let package = format!("arize-phoenix=={VERSION}");
    let pip =
        ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--prefer-binary", &package];
    run(&environment.join("bin/python"), &pip.map(str::to_owned), &log, say).await.with_context(|| {
        format!("cannot install {package}: it needs the Python package index, and pip's own settings for a proxy or a mirror apply")
    })?;
    say(&format!("Phoenix is installed, after {} s", begun.elapsed().as_secs()));
    Ok(())
}

fn require_python(python: &Path) -> Result<()> {
    let check = "import sys; sys.exit(sys.version_info < (3, 11))";
    let status = Command::new(python).args(["-c", check]).stdin(Stdio::null()).status();
    ensure!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "traces are shown by Arize Phoenix, which needs Python 3.11 or later: `{}` is {}; on Debian: apt-get install \
         python3-venv",
        python.display(),
        if status.is_ok() { "older" } else { "not on PATH" },
    );
    Ok(())
}

/// Runs a step to its end. It ends with us, however that happens.
async fn run(program: &Path, arguments: &[String], log: &Path, say: Say<'_>) -> Result<()> {
    let mut process = Process::spawn(program, arguments, log)?;
    let begun = Instant::now();
    let mut next_word = WORD_EVERY;
    let mut often = time::interval(Duration::from_millis(100));
    let status = loop {
        often.tick().await;
        if let Some(status) = process.ended()? {
            break status;
        }
        if begun.elapsed() >= next_word {
            say(&format!("still installing Phoenix: {}", last_lines(log, 1).trim()));
            next_word += WORD_EVERY;
        }
    };
    if status != "exit status: 0" {
        bail!(
            "`{} {}` ended with {status}:\n{}",
            program.display(),
            arguments.join(" "),
            last_lines(log, 12)
        );
    }
    Ok(())
}

/// Held while installing; the kernel releases it when the process ends, however that happens.
async fn lock(path: &Path, say: Say<'_>) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut often = time::interval(Duration::from_millis(100));
    let mut told = false;
    while let Err(error) = file.try_lock() {
        if let fs::TryLockError::Error(error) = error {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
        if !std::mem::replace(&mut told, true) {
            say("waiting for another process that is installing Phoenix");
        }
        often.tick().await;
    }
    Ok(file)
}

/// Cargo's folder for what it builds: the one this program is in, which it marks, else the checkout's.
fn target_directory() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let marked = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    marked.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::directory::Directory;

    /// A script that stands for Python, and notes how it is called.
    fn script(directory: &Directory, lines: &str) -> PathBuf {
        let path = directory.path().join("python3");
        let calls = directory.path().join("calls").display().to_string();
        fs::write(&path, format!("#!/bin/sh\necho \"$@\" >>{calls}\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Makes an environment whose Python is this script itself.
    const MAKES: &str = r#"if [ "$2" = venv ]; then mkdir -p "$4/bin"; ln -s "$0" "$4/bin/python"; fi"#;

    fn calls(directory: &Directory, of: &str) -> usize {
        let calls = fs::read_to_string(directory.path().join("calls")).unwrap_or_default();
        calls.lines().filter(|call| call.contains(of)).count()
    }

    #[tokio::test]
    async fn what_is_installed_is_not_installed_again() {
        let directory = Directory::create().unwrap();
        let python = script(&directory, MAKES);
        let place = directory.path().join("phoenix");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let mut say_first = |words: &str| first.push(words.to_owned());
        let mut say_second = |words: &str| second.push(words.to_owned());
        let (one, other) = tokio::join!(
            installed(&python, &place, &mut say_first),
            installed(&python, &place, &mut say_second)
        );
        assert_eq!(one.unwrap(), place.join("venv/bin/python"));
        assert_eq!(other.unwrap(), place.join("venv/bin/python"));
        assert_eq!((calls(&directory, "venv"), calls(&directory, "pip install")), (1, 1));
        assert!(
            first[0].starts_with("installing Arize Phoenix") && first[1].contains("is installed"),
            "{first:?}"
        );
        assert_eq!(second, ["waiting for another process that is installing Phoenix"]);
    }

    #[tokio::test]
    async fn what_was_not_finished_is_installed_from_the_start() {
        let directory = Directory::create().unwrap();
        let place = directory.path().join("phoenix");
        let fails =
            script(&directory, &format!("{MAKES}\nif [ \"$2\" = pip ]; then echo no network; exit 7; fi"));
        let error = installed(&fails, &place, &mut |_| {}).await.unwrap_err();
        let told = ["cannot install arize-phoenix==", "proxy or a mirror", "exit status: 7", "no network"];
        assert!(told.iter().all(|words| format!("{error:#}").contains(words)), "{error:#}");

        // As `venv --clear` would.
        fs::remove_dir_all(place.join("venv")).unwrap();
        let works = script(&directory, MAKES);
        installed(&works, &place, &mut |_| {}).await.unwrap();
        assert_eq!(calls(&directory, "venv --clear"), 2);
    }

    #[tokio::test]
    async fn a_python_that_cannot_is_named_with_the_remedy() {
        let directory = Directory::create().unwrap();
        let place = directory.path().join("phoenix");
        let no_venv = "if [ \"$2\" = venv ]; then echo ensurepip is not available; exit 1; fi";
        for (python, words) in [
            (
                script(&directory, no_venv),
                &["cannot make a virtual environment", "ensurepip is not available"],
            ),
            (PathBuf::from("/no/such/python"), &["needs Python 3.11 or later", "is not on PATH"]),
        ] {
            let error = format!("{:#}", installed(&python, &place, &mut |_| {}).await.unwrap_err());
            assert!(words.iter().all(|words| error.contains(words)), "{error}");
            assert!(error.contains("apt-get install python3-venv"), "{error}");
        }
        let old = script(&directory, "exit 1");
        let error = installed(&old, &place, &mut |_| {}).await.unwrap_err().to_string();
        assert!(error.contains("is older"), "{error}");
    }
}
