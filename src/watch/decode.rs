//! From bytes to objects: pages of a list, lines of a watch.
//!
//! The good case is one pass of serde. Only what does not decode is looked at a second time, to find
//! out which object it was.

use http::StatusCode;
use kube::core::{ObjectMeta, Status};
use serde::{Deserialize, de::DeserializeOwned};

use super::Trouble;

/// A page of a list.
pub(super) struct Page<K> {
    /// Version of the whole list; the same on all its pages.
    pub(super) version: u64,
    /// Token of the next page, if there is one.
    pub(super) next: Option<String>,
    pub(super) items: Vec<K>,
    pub(super) malformed: Vec<Named>,
}

/// An object that does not decode, as far as it could be named.
pub(super) struct Named {
    pub(super) object: String,
    pub(super) error: String,
}

/// A line of a watch.
pub(super) enum Line<K> {
    Added(K),
    Modified(K),
    Deleted(K),
    Bookmark(Mark),
    Error(Status),
    Malformed { named: Named, version: Option<u64>, deleted: bool },
}

/// A bookmark: an object with nothing but a version.
#[derive(Deserialize)]
pub(super) struct Mark {
    pub(super) metadata: Metadata,
}

/// The least that names an object.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) resource_version: Option<String>,
}

/// Decodes a page. Objects that do not decode are named, the others survive.
pub(super) fn page<K: DeserializeOwned>(bytes: &[u8]) -> Result<Page<K>, Trouble> {
    let (list, malformed) = match serde_json::from_slice::<RawList<K>>(bytes) {
        Ok(list) => (list, Vec::new()),
        Err(_) => one_by_one(bytes)?,
    };
    let version = version(list.metadata.resource_version.as_deref())?;
    let next = list.metadata.r#continue.filter(|token| !token.is_empty());
    Ok(Page { version, next, items: list.items.unwrap_or_default(), malformed })
}

#[derive(Deserialize)]
#[serde(bound = "I: DeserializeOwned")]
struct RawList<I> {
    metadata: ListMetadata,
    /// Go writes an empty list as `null` at times.
    items: Option<Vec<I>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: Option<String>,
    r#continue: Option<String>,
}

fn one_by_one<K: DeserializeOwned>(bytes: &[u8]) -> Result<(RawList<K>, Vec<Named>), Trouble> {
    let list: RawList<serde_json::Value> = serde_json::from_slice(bytes).map_err(|error| {
        Trouble::failed(format!("the answer to a list cannot be read: {error}; is this the API server?"))
    })?;
    let (mut items, mut malformed) = (Vec::new(), Vec::new());
    for item in list.items.unwrap_or_default() {
        let metadata = item.get("metadata").and_then(|metadata| Metadata::deserialize(metadata).ok());
        match serde_json::from_value(item) {
            Ok(item) => items.push(item),
            Err(error) => malformed.push(name(&metadata.unwrap_or_default(), &error)),
        }
    }
    Ok((RawList { metadata: list.metadata, items: Some(items) }, malformed))
}

/// Decodes a line. A trouble means that the line is no event at all.
pub(super) fn line<K: DeserializeOwned>(bytes: &[u8]) -> Result<Line<K>, Trouble> {
    let error = match serde_json::from_slice(bytes) {
        Ok(RawLine::Added(object)) => return Ok(Line::Added(object)),
        Ok(RawLine::Modified(object)) => return Ok(Line::Modified(object)),
        Ok(RawLine::Deleted(object)) => return Ok(Line::Deleted(object)),
        Ok(RawLine::Bookmark(mark)) => return Ok(Line::Bookmark(mark)),
        Ok(RawLine::Error(status)) => return Ok(Line::Error(status)),
        Err(error) => error,
    };
    let Ok(RawName { r#type, object: Mark { metadata } }) = serde_json::from_slice(bytes) else {
        return Err(Trouble::failed(format!("a line of the watch cannot be read: {error}")));
    };
    let version = version(metadata.resource_version.as_deref()).ok();
    Ok(Line::Malformed { named: name(&metadata, &error), version, deleted: r#type == "DELETED" })
}

/// The server writes `type` first, so that `object` is decoded as it is read.
#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE", bound = "K: DeserializeOwned")]
enum RawLine<K> {
    Added(K),
    Modified(K),
    Deleted(K),
    Bookmark(Mark),
    Error(Status),
}

#[derive(Deserialize)]
struct RawName {
    r#type: String,
    object: Mark,
}

fn name(metadata: &Metadata, error: &serde_json::Error) -> Named {
    let name = metadata.name.as_deref().unwrap_or("(unnamed)");
    let object = match &metadata.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.into(),
    };
    Named { object, error: error.to_string() }
}

/// What a refusal says; servers answer with a `Status`, what is between us and them with anything.
pub(crate) fn status(body: &[u8], code: StatusCode) -> Status {
    /// Enough of an HTML page to recognise the proxy that sent it.
    const SHOWN: usize = 200;
    serde_json::from_slice(body).ok().filter(|status: &Status| status.code != 0).unwrap_or_else(|| {
        let text: String = String::from_utf8_lossy(body).chars().take(SHOWN).collect();
        let text = if text.trim().is_empty() { code.to_string() } else { text };
        Status::failure(&text, code.canonical_reason().unwrap_or_default()).with_code(code.as_u16())
    })
}

/// The version of an object.
pub(super) fn version_of(metadata: &ObjectMeta) -> Result<u64, Trouble> {
    version(metadata.resource_version.as_deref())
}

/// The API server's versions are etcd revisions: numbers that grow.
pub(super) fn version(text: Option<&str>) -> Result<u64, Trouble> {
    let text = text.ok_or_else(|| Trouble::failed("a resourceVersion is missing".into()))?;
    text.parse().map_err(|_| Trouble::failed(format!("the resourceVersion `{text}` is no number")))
}

#[cfg(test)]
mod tests;
