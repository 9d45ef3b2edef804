//! Headless Chromium: what a person would see of a web page.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;
use tokio::time;

use crate::directory::Directory;

/// What it is called, by distribution.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// How much of the page's own time passes before it is looked at: timers and animations are run ahead to there, once
/// nothing is being loaded any more.
const SETTLED: Duration = Duration::from_secs(15);

/// Longer than it takes, also on a busy machine.
const DONE_WITHIN: Duration = Duration::from_mins(2);

/// A browser without a window.
#[derive(Debug, Clone)]
pub struct Chromium {
    program: PathBuf,
    dark: bool,
}

impl Chromium {
    /// The one on `PATH`.
    pub fn find() -> Result<Self> {
        Self::find_in(&env::var_os("PATH").unwrap_or_default())
    }

    fn find_in(path: &std::ffi::OsStr) -> Result<Self> {
        let programs =
            NAMES.iter().flat_map(|name| env::split_paths(path).map(move |folder| folder.join(name)));
        let program = programs.into_iter().find(|program| program.is_file());
        let program = program.with_context(|| {
            format!("no browser on PATH (tried {}); on Debian: apt-get install chromium", NAMES.join(", "))
        })?;
        Ok(Self { program, dark: false })
    }

    /// One whose user prefers dark pages.
    #[must_use]
    pub fn in_the_dark(self) -> Self {
        Self { dark: true, ..self }
    }

    /// Takes a picture of a page, as PNG, in a window of this width and height.
    pub async fn screenshot(&self, url: &str, size: (u16, u16), file: &Path) -> Result<()> {
        let file = std::path::absolute(file)?;
        let window = window(size);
        let picture = format!("--screenshot={}", file.display());
        let output = self.run(&[&window, &picture, "--hide-scrollbars", url]).await?;
        // It ends well also if it could not write.
        ensure!(file.exists(), "no picture of {url} came of it:\n{}", words(&output));
        Ok(())
    }

    /// The document as its scripts have made it in such a window, as HTML. What has no room may be missing.
    pub async fn dom(&self, url: &str, size: (u16, u16)) -> Result<String> {
        let output = self.run(&[&window(size), "--dump-dom", url]).await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn run(&self, arguments: &[&str]) -> Result<Output> {
        // Its own profile, so that it neither meets the user's browser nor leaves anything behind.
        let profile = Directory::create()?;
        let mut command = Command::new(&self.program);
        command
            // The sandbox does not work for root; the pages are our own.
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            // What moves into its place is there at once: a picture could show it half-way.
            .arg("--force-prefers-reduced-motion")
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            // 0 is dark, 1 is light, whatever the desktop says.
            .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!self.dark)))
            .arg(format!("--virtual-time-budget={}", SETTLED.as_millis()))
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = match time::timeout(DONE_WITHIN, command.output()).await {
            Ok(output) => output.with_context(|| format!("cannot start {}", self.program.display()))?,
            Err(_) => bail!("{} is not done after {DONE_WITHIN:?}", self.program.display()),
        };
        ensure!(
            ExitStatus::success(&output.status),
            "{} ended with {}",
            self.program.display(),
            words(&output)
        );
        Ok(output)
    }
}

fn window((width, height): (u16, u16)) -> String {
    format!("--window-size={width},{height}")
}

fn words(output: &Output) -> String {
    format!("{}:\n{}", output.status, String::from_utf8_lossy(&output.stderr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_browser_is_named_with_the_remedy() {
        let empty = Directory::create().unwrap();
        let error = Chromium::find_in(empty.path().as_os_str()).unwrap_err().to_string();
        assert!(error.contains("apt-get install chromium"), "{error}");
    }

    #[tokio::test]
    async fn a_page_is_seen_as_its_scripts_have_made_it() {
        let directory = Directory::create().unwrap();
        let page = directory.path().join("page.html");
        let script = "setTimeout(() => { document.body.textContent = 'after ' + 3 * 4 + ' hours' }, 9000)";
        std::fs::write(&page, format!("<body>before</body><script>{script}</script>")).unwrap();
        let url = format!("file://{}", page.display());
        let chromium = Chromium::find().unwrap();
        let dom = chromium.dom(&url, (320, 200)).await.unwrap();
        assert!(dom.contains("<body>after 12 hours</body>"), "{dom}");

        let picture = directory.path().join("page.png");
        chromium.screenshot(&url, (320, 200), &picture).await.unwrap();
        let bytes = std::fs::read(&picture).unwrap();
        assert_eq!(&bytes[1..4], b"PNG");
        // Width and height, from the header.
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((number(16), number(20)), (320, 200));
    }
}
