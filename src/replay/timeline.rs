//! The timeline on a terminal.

use std::io::{self, Write};

use machine::{Pod, Transition};

use super::{Difference, Gap, words};
use crate::notice::cause_words;
use crate::record::{Header, MACHINE, Record, Start};

/// Tells what happened, step by step.
pub(super) struct Timeline<'a, W> {
    out: &'a mut W,
    quiet: bool,
}

impl<'a, W: Write> Timeline<'a, W> {
    pub(super) const fn new(out: &'a mut W, quiet: bool) -> Self {
        Self { out, quiet }
    }

    pub(super) fn start(&mut self, header: &Header, gap: Option<&Gap>) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        let Header { service, machine, note, seq, start } = header;
        match gap {
            Some(Gap { missing: 0, .. }) => {
                writeln!(
                    self.out,
                    "-- {service}: from here on another election than the one replayed so far"
                )?;
            }
            Some(Gap { missing, .. }) => {
                writeln!(self.out, "-- {service}: {missing} records were never written")?;
            }
            None => {}
        }
        let from = match start {
            Start::New(_) => "from its beginning".to_owned(),
            Start::Midst(_) => format!("from step {seq} on"),
        };
        let other = if **machine == *MACHINE { String::new() } else { format!(", machine {machine}") };
        let note = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        writeln!(self.out, "== {service} {from}{other}{note}")
    }

    pub(super) fn step(&mut self, service: &str, record: &Record, leader: Option<&Pod>) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        let Record { seq, at, event, step } = record;
        let event = words::event(event, leader);
        writeln!(self.out, "{} {service} #{seq}  {event}", words::time(*at))?;
        if let Some(Transition { from, to, from_pod, to_pod, cause }) = &step.transition {
            let from = words::state(*from, from_pod.as_ref());
            let to = words::state(*to, to_pod.as_ref());
            writeln!(self.out, "    {from} -> {to}, for {}: {}", cause.as_str(), cause_words(*cause))?;
        }
        for effect in &step.effects {
            writeln!(self.out, "      {}", words::effect(effect))?;
        }
        Ok(())
    }

    pub(super) fn differs(&mut self, file: &str, line: u64, difference: &Difference) -> io::Result<()> {
        writeln!(self.out, "{file}:{line}: {difference}")
    }
}
