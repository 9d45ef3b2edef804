//! `zen-lead completions` and `man`: the command line, for shells and for `man`.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use clap_complete::Shell;

use super::Error;
use super::output::Output;
use crate::config;

const NAME: &str = "zen-lead";

/// Prints a shell's script.
pub(super) fn completions(shell: Shell, out: &mut Output) -> Result<(), Error> {
    // By way of memory, for the generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut config::command(), NAME, &mut script);
    let script = String::from_utf8_lossy(&script);
    // clap_complete 4.6 takes the hyphen of our name for a space in one half of its script for bash.
    let script = script.replace("zen__subcmd__lead", "zen__lead");
    out.write_all(script.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes the manual's pages.
pub(super) fn pages(directory: &Path) -> Result<(), Error> {
    let written = fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(config::command().disable_help_subcommand(true), directory));
    written.map_err(|error| {
        let place = directory.display();
        Error::Refused(format!("cannot write the manual into {place}: {error}; name a directory of yours"))
    })
}
