//! Writing a log anew, with what the machine does now.

use std::io::{self, BufRead, Write};

use crate::record::{Entry, ReadError, Reader, write_header, write_record};

/// Copies a log: the same facts, with the transitions and orders that the shipped machine makes of them.
pub fn update<R: BufRead>(reader: &mut Reader<R>, out: &mut impl Write) -> Result<(), super::Error> {
    let mut elections = std::collections::BTreeMap::new();
    let mut current = None;
    let mut line = Vec::new();
    let writing = |error: io::Error| super::Error::Write { what: "the log".into(), error };
    loop {
        let entry = reader.read().map_err(|error: ReadError| super::Error::Read(error))?;
        line.clear();
        match entry {
            None => return Ok(()),
            Some(Entry::Start(header)) => {
                elections.insert(header.service.clone(), header.election());
                write_header(&mut line, &header).map_err(|error| writing(error.into()))?;
                current = Some(header.service);
            }
            Some(Entry::Step(service, mut record)) => {
                if let Some(election) = elections.get_mut(&service) {
                    record.step = election.step(record.at, &record.event);
                }
                let name = (current.as_ref() != Some(&service)).then_some(&*service);
                write_record(&mut line, name, &record).map_err(|error| writing(error.into()))?;
            }
        }
        out.write_all(&line).map_err(writing)?;
    }
}
