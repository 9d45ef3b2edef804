//! A stage whose controller records, and what becomes of the record.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use lab::{Directory, Lab};
use zen_lead::record::{Entry, Reader, write_header, write_record};

use crate::support::{Controller, Stage};

/// What is to be told after a story that is not as the log of it.
const REMEDY: &str = "UPDATE_LOGS=1 cargo test --test recorded records it anew";

/// Not the default, which names the machine: slices show it.
pub(crate) const IDENTITY: &str = "--identity=zen-lead-0";

/// A stage whose controller records everything.
pub(crate) struct Recording {
    pub(crate) name: &'static str,
    pub(crate) stage: Stage,
    pub(crate) record: Record,
}

/// A directory into which a controller records.
pub(crate) struct Record(Directory);

/// What a log shows, and how that is known.
pub(crate) struct Story<'a> {
    /// Its file is `tests/logs/real-<name>.jsonl`.
    pub(crate) name: &'a str,
    /// For its first line.
    pub(crate) note: &'a str,
    /// What a replay tells, in this order, among other things.
    pub(crate) tells: &'a [&'a str],
}

impl Recording {
    /// One of this name on the shared control plane.
    pub(crate) async fn new(name: &'static str) -> Result<Self> {
        Self::on(Lab::shared().await?, name).await
    }

    /// One on a control plane of the test's own.
    pub(crate) async fn on(lab: &Lab, name: &'static str) -> Result<Self> {
        let record = Record::new()?;
        let stage = Stage::on(lab, name, &[&record.argument(), IDENTITY]).await?;
        Ok(Self { name, stage, record })
    }

    /// Another controller that records there as well.
    pub(crate) async fn another(&self) -> Result<Controller> {
        self.stage.another(&[&self.record.argument(), IDENTITY]).await
    }

    /// Ends the stage when all that has happened is dealt with, and keeps the log of the Service `orders`: with this
    /// note, and telling this.
    pub(crate) async fn keep(self, note: &str, tells: &[&str]) -> Result<()> {
        let story = Story { name: self.name, note, tells };
        self.keep_all(&[("orders", &story)]).await
    }

    /// The same for several Services.
    pub(crate) async fn keep_all(mut self, stories: &[(&str, &Story<'_>)]) -> Result<()> {
        self.stage.all_is_seen().await?;
        self.stage.controller.stop()?;
        let namespace = self.stage.ns.name();
        stories
            .iter()
            .try_for_each(|(service, story)| self.record.keep(&format!("{namespace}/{service}"), story))
    }
}

impl Record {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Directory::create()?))
    }

    pub(crate) fn directory(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn argument(&self) -> String {
        format!("--record={}", self.directory().display())
    }

    /// The files that were recorded, by age.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(self.directory())?.map(|entry| Ok(entry?.path()));
        let mut files = entries.collect::<std::io::Result<Vec<_>>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        Ok(files)
    }

    /// Whether this is in the files by now, which are written a moment after the facts.
    pub(crate) fn has(&self, words: &str) -> Result<bool> {
        for file in self.files()? {
            if std::fs::read_to_string(file)?.contains(words) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Checks that what was recorded of this Service is replayed, and tells the story; so does the log that is kept.
    /// With `UPDATE_LOGS=1`, it is what was recorded now.
    pub(crate) fn keep(&self, service: &str, story: &Story<'_>) -> Result<()> {
        let log = self.log(service, story.note)?;
        let fresh = self.directory().join("story.txt");
        std::fs::write(&fresh, &log)?;
        story.is_told_by(&fresh)?;
        let mut again = Vec::new();
        zen_lead::replay::update(&mut Reader::new(story.name, &*log), &mut again)?;
        ensure!(again == log, "{}: the same facts lead to another text", story.name);

        let kept =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/logs/real-{}.jsonl", story.name));
        if std::env::var_os("UPDATE_LOGS").is_some_and(|value| value == "1") {
            std::fs::write(&kept, log)?;
        }
        let text = std::fs::read(&kept).with_context(|| format!("{}: {REMEDY}", kept.display()))?;
        let Some(Entry::Start(header)) = Reader::new(story.name, &*text).read()? else {
            bail!("{}: no header", kept.display())
        };
        ensure!(header.note.as_deref() == Some(story.note), "{}: another note; {REMEDY}", kept.display());
        story.is_told_by(&kept)
    }

    /// What was recorded of one Service, with a note in its first line.
    fn log(&self, service: &str, note: &str) -> Result<Vec<u8>> {
        let mut log = Vec::new();
        for file in self.files()? {
            let text = std::fs::read(&file)?;
            let mut reader = Reader::new(&file.display().to_string(), &*text);
            while let Some(entry) = reader.read()? {
                match entry {
                    Entry::Start(mut header) if *header.service == *service => {
                        header.note = log.is_empty().then(|| note.into());
                        write_header(&mut log, &header)?;
                    }
                    Entry::Step(of, record) if *of == *service => write_record(&mut log, None, &record)?,
                    Entry::Start(_) | Entry::Step(..) => {}
                }
            }
        }
        Ok(log)
    }
}

impl Story<'_> {
    fn is_told_by(&self, log: &Path) -> Result<()> {
        let told = replay(log)?;
        let mut rest = &*told;
        for words in self.tells.iter().chain(&["all as recorded"]) {
            let (_, after) = rest
                .split_once(words)
                .with_context(|| format!("{} does not tell {words:?}, or too early:\n{told}", self.name))?;
            rest = after;
        }
        Ok(())
    }
}

/// Replays a log, and answers what was told.
pub(crate) fn replay(log: &Path) -> Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_zen-lead")).arg("replay").arg(log).output()?;
    let told = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    Ok(told)
}
