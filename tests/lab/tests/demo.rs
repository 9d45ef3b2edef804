//! The command line of `cargo demo`. What it shows is tested where the controller is.

use std::process::{Command, Output};

use anyhow::Result;

fn demo(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_lab")).arg("demo").args(arguments).output()?)
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_exit_code_is_1_if_it_cannot_be_shown() -> Result<()> {
    let output = demo(&["--rounds", "1", "--controller", "/bin/true"])?;
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(words(&output).contains("the controller ended with exit status: 0 before it was ready"));
    Ok(())
}

#[test]
fn wrong_usage_is_2_and_named() -> Result<()> {
    for (arguments, word) in [
        (&["--rounds", "0"][..], "--rounds"),
        (&["--context", "staging"], "--kubeconfig"),
        (&["--screenshot", "page.png"], "--traces"),
        (&["--colour"], "--colour"),
    ] {
        let output = demo(arguments)?;
        assert_eq!(output.status.code(), Some(2), "{}", words(&output));
        assert!(words(&output).contains(word), "{word}: {}", words(&output));
    }
    Ok(())
}

#[test]
fn help_tells_what_is_done_to_a_cluster() -> Result<()> {
    let output = demo(&["--help"])?;
    assert!(output.status.success());
    // However the lines are broken.
    let help = words(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    for word in [
        "--keep",
        "--rounds",
        "--traces",
        "--kubeconfig",
        "garbage collector",
        "removed at the end",
        "Exit code",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert!(!help.contains("--controller") && !help.contains("--screenshot"), "those are for us");
    Ok(())
}
