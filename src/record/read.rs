//! Reading a log, line by line: a file of any size takes the memory of its longest line.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _};
use std::sync::Arc;

use super::line::{self, Line, Unreadable};
use super::{Header, MACHINE, Record, VERSION};

/// Longer lines are not ours: ten thousand members in one list take 3 MB.
const LINE_MOST: u64 = 64 << 20;

/// What a log says next.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// The records of a Service start, or start anew.
    Start(Header),
    /// A step of this Service's election.
    Step(Arc<str>, Record),
}

/// Where a log cannot be read, and why.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {fault}", place_in_file(*line))]
pub struct ReadError {
    /// The file.
    pub file: Arc<str>,
    /// The line, from 1; 0 is the file as a whole.
    pub line: u64,
    /// What is wrong.
    pub fault: Fault,
}

fn place_in_file(line: u64) -> String {
    if line == 0 { String::new() } else { format!(":{line}") }
}

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The line is none of a log's.
    #[error("this is no line of an event log: {0}; cut the file here to replay what comes before")]
    Corrupt(String),
    /// The line does not end.
    #[error("the line is longer than {} MiB, which no record is; is this an event log?", LINE_MOST >> 20)]
    TooLong,
    /// The log is of a newer version than this program.
    #[error(
        "the log's format is version {found}, and this zen-lead ({MACHINE}) reads up to {VERSION}: replay it with \
         zen-lead {}", writer.as_deref().unwrap_or("of a newer version")
    )]
    Newer {
        /// The version found.
        found: u32,
        /// The program that wrote it.
        writer: Option<String>,
    },
    /// There are records, but no header tells where their election starts.
    #[error("a record before any header of {}: a log starts with a line like {{\"log\":1,...}}", service.as_deref().unwrap_or("its Service"))]
    NoHeader {
        /// The Service that the record names.
        service: Option<String>,
    },
    /// A record is missing, or in the wrong place.
    #[error("{service}: record {found} where {expected} should follow: lines are missing or out of order")]
    Order {
        /// Whose record.
        service: Arc<str>,
        /// The number that should follow.
        expected: u64,
        /// The number found.
        found: u64,
    },
}

/// Reads a log.
pub struct Reader<R> {
    file: Arc<str>,
    input: R,
    line: u64,
    buffer: Vec<u8>,
    courses: BTreeMap<Arc<str>, Course>,
    /// The Service of the last header.
    current: Option<Arc<str>>,
    is_cut: bool,
}

/// The records of one Service.
struct Course {
    service: Arc<str>,
    /// The number of the next one.
    next: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads `input`; `file` is what errors call it.
    pub fn new(file: &str, input: R) -> Self {
        let file = file.into();
        Self {
            file,
            input,
            line: 0,
            buffer: Vec::new(),
            courses: BTreeMap::new(),
            current: None,
            is_cut: false,
        }
    }

    /// The file's name.
    #[must_use]
    pub const fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// The line that was read last, from 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// Whether the last line was cut short, as when its writer was killed: it is left out.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// What the log says next; nothing at its end.
    pub fn read(&mut self) -> Result<Option<Entry>, ReadError> {
        self.advance().map_err(|fault| ReadError { file: self.file.clone(), line: self.line, fault })
    }

    fn advance(&mut self) -> Result<Option<Entry>, Fault> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let read = self.input.by_ref().take(LINE_MOST).read_until(b'\n', &mut self.buffer)?;
            if read == 0 {
                self.line -= 1;
                return Ok(None);
            }
            let is_whole = self.buffer.ends_with(b"\n");
            if !is_whole && self.buffer.len() as u64 == LINE_MOST {
                return Err(Fault::TooLong);
            }
            if self.buffer.trim_ascii().is_empty() {
                continue;
            }
            return match line::read(&self.buffer) {
                Ok(Line::Header(header)) => {
                    let service = header.service.clone();
                    self.current = Some(service.clone());
                    self.courses.insert(service.clone(), Course { service, next: header.seq });
                    Ok(Some(Entry::Start(header)))
                }
                Ok(Line::Record(service, record)) => {
                    let service = place(&mut self.courses, self.current.as_ref(), service, record.seq)?;
                    Ok(Some(Entry::Step(service, record)))
                }
                Err(Unreadable::Newer(found, writer)) => Err(Fault::Newer { found, writer }),
                Err(Unreadable::Wrong(_)) if !is_whole => {
                    self.is_cut = true;
                    Ok(None)
                }
                Err(Unreadable::Wrong(why)) => Err(Fault::Corrupt(why)),
            };
        }
    }
}

/// Whose record it is, provided that it is the one that follows.
fn place(
    courses: &mut BTreeMap<Arc<str>, Course>,
    current: Option<&Arc<str>>,
    named: Option<&str>,
    found: u64,
) -> Result<Arc<str>, Fault> {
    let no_header = || Fault::NoHeader { service: named.map(str::to_owned) };
    let name = named.or_else(|| current.map(|name| &**name)).ok_or_else(no_header)?;
    let Course { service, next } = courses.get_mut(name).ok_or_else(no_header)?;
    if found != *next {
        return Err(Fault::Order { service: service.clone(), expected: *next, found });
    }
    // Nothing comes after the last number there is; no election gets there.
    *next = next.saturating_add(1);
    Ok(service.clone())
}
