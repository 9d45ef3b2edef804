//! `zen-lead replay`: takes event logs through the shipped machine, and tells what happened and why.
//!
//! ```text
//! file -> record::Reader -> Check (the same transitions and orders?) -> Timeline (for people)
//!                             |-> Tally (what it cost)  -> WhatIf (what another policy would have cost)
//!                             `-> Page  (the same, to look at)
//! ```

mod check;
mod difference;
mod overrides;
mod page;
mod tally;
mod timeline;
mod update;
mod what_if;
pub mod words;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use machine::Micros;

use crate::record::{Entry, Fault, ReadError, Reader};

pub use check::{Check, Gap};
pub use difference::Difference;
pub use overrides::Override;
pub use update::update;

use page::Page;
use tally::Tallies;
use timeline::Timeline;
use what_if::WhatIf;

/// Read from the disk at once.
const READ_AHEAD: usize = 256 << 10;

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Task {
    /// The logs.
    pub files: Vec<PathBuf>,
    /// What the Services ask for instead of what they did.
    pub overrides: Vec<Override>,
    /// Where to write a page.
    pub html: Option<PathBuf>,
    /// Tell only what is wrong, and the sum.
    pub quiet: bool,
    /// What a failover may take.
    pub budget: Micros,
}

/// Why a replay is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The page or the timeline cannot be written.
    #[error("cannot write {what}: {error}")]
    Write {
        /// What.
        what: String,
        /// Why.
        error: io::Error,
    },
}

/// Replays, and tells on stdout. Exits with 0 if all is as recorded, with 1 if something differs, with 2 if a log cannot
/// be read.
#[must_use]
pub fn run(task: &Task) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = replay(task, &mut out);
    let flushed = out.flush().map_err(|error| Error::Write { what: "the timeline".into(), error });
    match outcome.and_then(|differs| flushed.map(|()| differs)) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        // `zen-lead replay FILE | head`: whoever reads has seen enough.
        Err(Error::Write { error, .. }) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Replays, and tells `out`. Answers whether something differs from what was recorded.
pub fn replay(task: &Task, out: &mut impl Write) -> Result<bool, Error> {
    let telling = |error| Error::Write { what: "the timeline".into(), error };
    let mut sum = Sum::default();
    let mut check = Check::default();
    let mut tallies = Tallies::default();
    let mut page = task.html.as_ref().map(|_| Page::new(task.budget));
    for file in &task.files {
        let mut reader = open(file)?;
        let mut timeline = Timeline::new(&mut *out, task.quiet);
        while let Some(entry) = reader.read()? {
            match &entry {
                Entry::Start(header) => {
                    let gap = check.start(header);
                    sum.missing = sum.missing.saturating_add(gap.as_ref().map_or(0, |gap| gap.missing));
                    timeline.start(header, gap.as_ref()).map_err(telling)?;
                    let Some(election) = check.election(&header.service) else { continue };
                    tallies.start(header, election);
                    if let Some(page) = &mut page {
                        page.start(header, election);
                    }
                }
                Entry::Step(service, record) => {
                    sum.records += 1;
                    let before = if task.quiet { None } else { check.leader(service) };
                    match check.step(service, record) {
                        Ok(None) => sum.unchecked += 1,
                        Ok(Some(election)) => {
                            tallies.step(service, record, election);
                            if let Some(page) = &mut page {
                                page.step(service, record, election);
                            }
                            timeline.step(service, record, before.as_ref()).map_err(telling)?;
                        }
                        Err(difference) => {
                            sum.differences += 1;
                            timeline.differs(reader.file(), reader.line(), &difference).map_err(telling)?;
                        }
                    }
                }
            }
        }
        if reader.is_cut() {
            let (file, line) = (reader.file(), reader.line());
            writeln!(out, "{file}:{line}: the last line is cut short and left out").map_err(telling)?;
        }
    }
    sum.files = task.files.len();
    sum.services = tallies.services();
    sum.tell(out).map_err(telling)?;
    tallies.tell(out).map_err(telling)?;
    if !task.overrides.is_empty() {
        let mut what_if = WhatIf::new(&task.overrides, tallies.answer_time());
        for file in &task.files {
            what_if.replay(&mut open(file)?)?;
        }
        what_if.tell(&tallies, out).map_err(telling)?;
    }
    if let (Some(page), Some(file)) = (page, &task.html) {
        let failed = |error| Error::Write { what: file.display().to_string(), error };
        std::fs::write(file, page.html()).map_err(failed)?;
    }
    Ok(sum.differences > 0)
}

fn open(file: &Path) -> Result<Reader<BufReader<File>>, ReadError> {
    let name = file.display().to_string();
    let input = File::open(file).map_err(|error| ReadError {
        file: name.as_str().into(),
        line: 0,
        fault: Fault::Io(error),
    })?;
    Ok(Reader::new(&name, BufReader::with_capacity(READ_AHEAD, input)))
}

/// What came of it all.
#[derive(Default)]
struct Sum {
    files: usize,
    services: usize,
    records: u64,
    differences: u64,
    /// Records after a difference, which may only follow from it.
    unchecked: u64,
    /// Records that were never written.
    missing: u64,
}

impl Sum {
    fn tell(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { files, services, records, differences, unchecked, missing } = self;
        let verdict = if *differences == 0 {
            "all as recorded".to_owned()
        } else {
            format!("{differences} differ, and {unchecked} after them are not checked")
        };
        write!(out, "files: {files}, Services: {services}, records: {records}: {verdict}")?;
        if *missing > 0 {
            write!(out, "; {missing} records were never written")?;
        }
        writeln!(out)
    }
}
