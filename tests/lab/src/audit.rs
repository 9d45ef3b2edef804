//! What was asked of the API servers, by whom, and how it was answered: read from their audit logs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use tokio::time;

/// The audit logs of a control plane, from a mark on.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Each log with the number of its bytes that lie before the mark.
    logs: Vec<(PathBuf, u64)>,
}

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// For instance `system:serviceaccount:shop:zen-lead`.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...; for paths that are no resources, too.
    pub verb: String,
    /// `pods`, `endpointslices`, ...; empty for paths such as `/readyz`.
    pub resource: String,
    /// `status`, `token`, ...; mostly empty.
    pub subresource: String,
    /// Empty for what has no namespace, and for requests across all of them.
    pub namespace: String,
    /// Empty for lists, watches and creations.
    pub name: String,
    /// The request's path and query.
    pub uri: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// What the client calls itself.
    pub user_agent: String,
    /// When the request came.
    pub received: Timestamp,
    /// When it was answered (a watch: when it began to be, and a second entry when it ended).
    pub answered: Timestamp,
    /// `ResponseStarted` (watches only), `ResponseComplete` or `Panic`.
    pub stage: String,
}

impl Audit {
    pub(crate) fn of(logs: Vec<PathBuf>) -> Self {
        Self { logs: logs.into_iter().map(|log| (log, 0)).collect() }
    }

    /// The same logs without what they contain now.
    #[must_use]
    pub fn from_now(&self) -> Self {
        let length = |log: &Path| log.metadata().map_or(0, |metadata| metadata.len());
        Self { logs: self.logs.iter().map(|(log, _)| (log.clone(), length(log))).collect() }
    }

    /// All entries, in the order in which each server answered.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for (log, mark) in &self.logs {
            let text = read_from(log, *mark)?;
            for line in complete_lines(&text, *mark > 0).lines() {
                entries.push(parse(line).with_context(|| format!("an audit log's line: {line}"))?);
            }
        }
        Ok(entries)
    }

    /// The finished requests of this user.
    pub fn by(&self, user: &str) -> Result<Vec<Entry>> {
        let mut entries = self.entries()?;
        entries.retain(|entry| entry.user == user && entry.stage != "ResponseStarted");
        Ok(entries)
    }

    /// How many requests of this user, verb and resource were answered.
    pub fn count(&self, user: &str, verb: &str, resource: &str) -> Result<usize> {
        Ok(self.by(user)?.iter().filter(|entry| entry.verb == verb && entry.resource == resource).count())
    }

    /// What this user asked for and was not allowed.
    pub fn denials(&self, user: &str) -> Result<Vec<Entry>> {
        let mut entries = self.by(user)?;
        entries.retain(|entry| entry.code == 403);
        Ok(entries)
    }

    /// Waits until the entries are as wanted. They are written right *after* a request's answer, so whoever has just
    /// got an answer may be ahead of the log.
    pub async fn until(&self, within: Duration, wanted: impl Fn(&[Entry]) -> bool) -> Result<Vec<Entry>> {
        let deadline = time::Instant::now() + within;
        let mut interval = time::interval(Duration::from_millis(10));
        loop {
            interval.tick().await;
            let entries = self.entries()?;
            if wanted(&entries) {
                return Ok(entries);
            }
            if time::Instant::now() > deadline {
                bail!(
                    "the audit log is not as wanted after {within:?}; its last entry: {:?}",
                    entries.last()
                );
            }
        }
    }
}

/// What is written, but for a line that has no end yet, and, if there is a mark, for the one that had none then: `text`
/// starts with the last byte before the mark.
fn complete_lines(text: &str, is_marked: bool) -> &str {
    let begin = if is_marked { text.find('\n').map_or(text.len(), |end| end + 1) } else { 0 };
    let end = text.rfind('\n').map_or(0, |end| end + 1);
    text.get(begin..end).unwrap_or_default()
}

/// From one byte before the mark.
fn read_from(log: &Path, mark: u64) -> Result<String> {
    let mut file = match File::open(log) {
        Ok(file) => file,
        // A server that has answered nothing yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", log.display())),
    };
    file.seek(SeekFrom::Start(mark.saturating_sub(1)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The fields of `audit.k8s.io/v1` `Event` that we use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

fn parse(line: &str) -> Result<Entry> {
    let line: Line = serde_json::from_str(line)?;
    Ok(Entry {
        user: line.user.username,
        verb: line.verb,
        resource: line.object_ref.resource,
        subresource: line.object_ref.subresource,
        namespace: line.object_ref.namespace,
        name: line.object_ref.name,
        uri: line.uri,
        code: line.response_status.code,
        user_agent: line.user_agent,
        received: line.request_received_timestamp,
        answered: line.stage_timestamp,
        stage: line.stage,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;

    use super::*;
    use crate::Directory;

    fn line(uri: &str) -> String {
        let at = "2025-11-20T10:00:00.000000Z";
        format!(
            "{{\"stage\":\"ResponseComplete\",\"verb\":\"get\",\"requestURI\":\"{uri}\",\"user\":{{}},\
             \"requestReceivedTimestamp\":\"{at}\",\"stageTimestamp\":\"{at}\"}}\n"
        )
    }

    /// The API server may be in the middle of a line at any time.
    #[test]
    fn a_line_that_is_being_written_belongs_to_what_was_before() -> Result<()> {
        let folder = Directory::create()?;
        let log = folder.path().join("audit.jsonl");
        let (second, fourth) = (line("/2"), line("/4"));
        for cut in [0, 1, 20, second.len() - 1, second.len()] {
            fs::write(&log, line("/1") + &second[..cut])?;
            let audit = Audit::of(vec![log.clone()]).from_now();
            assert_eq!(audit.entries()?, [], "cut at {cut}");
            let mut file = OpenOptions::new().append(true).open(&log)?;
            write!(file, "{}{}{}", &second[cut..], line("/3"), &fourth[..7])?;
            let uris: Vec<_> = audit.entries()?.into_iter().map(|entry| entry.uri).collect();
            let expected: &[&str] = if cut == 0 { &["/2", "/3"] } else { &["/3"] };
            assert_eq!(uris, expected, "cut at {cut}");
        }
        Ok(())
    }
}
