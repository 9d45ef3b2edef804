//! Lines of a response body, however the network cuts it.

use std::io::BufRead;

use http_body_util::BodyExt;
use kube::client::Body;

use super::Trouble;
use crate::client::explain;

/// No object comes near: etcd refuses above 1.5 MB, and JSON may be a few times that. What is longer
/// is not from an API server, and must not eat the memory.
const LONGEST_LINE: usize = 32 << 20;

/// A buffer larger than this is given back once its large line is done.
const KEPT_CAPACITY: usize = 1 << 20;

/// Reads a body line by line.
pub(super) struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// There is no newline between `start` and here.
    searched: usize,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new(), start: 0, searched: 0 }
    }

    /// The next line, without its newline; `None` at the end. A stream that ends within a line is
    /// a trouble: the line is not complete, and comes again when the watch resumes. Dropping the
    /// future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<&[u8]>, Trouble> {
        loop {
            if let Some(length) = newline(&self.buffer[self.searched..]) {
                let line = self.start..self.searched + length;
                self.start = line.end + 1;
                self.searched = self.start;
                return Ok(Some(&self.buffer[line]));
            }
            self.searched = self.buffer.len();
            self.make_room()?;
            let Some(frame) = self.body.frame().await else {
                return self.end();
            };
            let frame = frame.map_err(|error| Trouble::failed(explain(&error)))?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    fn end(&self) -> Result<Option<&[u8]>, Trouble> {
        if self.buffer.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        Err(Trouble::failed("the watch ended in the middle of a line".into()))
    }

    /// Drops the lines that are done.
    fn make_room(&mut self) -> Result<(), Trouble> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_CAPACITY {
            self.buffer = Vec::new();
        }
        if self.buffer.len() > LONGEST_LINE {
            return Err(Trouble::failed(format!(
                "a line of the watch is longer than {} MB",
                LONGEST_LINE >> 20
            )));
        }
        Ok(())
    }
}

/// Bytes before the first newline.
fn newline(bytes: &[u8]) -> Option<usize> {
    // The standard library's memchr, which it does not offer otherwise.
    let mut rest = bytes;
    let skipped = rest.skip_until(b'\n').unwrap_or_default();
    skipped.checked_sub(1).filter(|last| bytes[*last] == b'\n')
}

#[cfg(test)]
mod tests;
