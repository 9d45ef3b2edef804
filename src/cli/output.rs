//! Where answers go, and in what form.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use serde::Serialize;

use super::Error;

/// Standard output.
pub(super) struct Output {
    out: BufWriter<Stdout>,
    /// Somebody looks at it.
    pub(super) is_terminal: bool,
}

/// A form that other programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Structure {
    Json,
    Yaml,
}

impl Output {
    pub(super) fn stdout() -> Self {
        Self { out: BufWriter::new(io::stdout()), is_terminal: io::stdout().is_terminal() }
    }

    /// Writes a value for other programs.
    pub(super) fn structured(&mut self, value: &impl Serialize, form: Structure) -> Result<(), Error> {
        match form {
            Structure::Json => {
                serde_json::to_writer_pretty(&mut self.out, value).map_err(io::Error::from)?;
                writeln!(self.out)?;
            }
            Structure::Yaml => {
                let text = serde_saphyr::to_string(value).map_err(io::Error::other)?;
                write!(self.out, "{text}")?;
            }
        }
        Ok(self.flush()?)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
