//! What `deploy/README.md` tells people to type, and what it says is where.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use zen_lead::config;

use crate::rendered::{Key, by_kustomize};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> Result<String> {
    Ok(fs::read_to_string(root().join("deploy/README.md"))?)
}

/// The lines between fences.
fn commands() -> Result<Vec<String>> {
    let text = readme()?;
    let blocks = text.split("\n```\n").skip(1).step_by(2);
    Ok(blocks.flat_map(str::lines).map(str::to_owned).collect())
}

#[test]
fn every_file_is_told_of_and_nothing_else() -> Result<()> {
    let text = readme()?;
    let table = text.lines().filter(|line| line.starts_with("| `"));
    let first = table.filter_map(|line| line.split('|').nth(1));
    let told: BTreeSet<String> =
        first.flat_map(|cell| cell.split(',')).map(|name| name.trim().trim_matches('`').to_owned()).collect();
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(root().join("deploy"))? {
        files.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    files.remove("README.md");
    assert_eq!(told, files);
    Ok(())
}

/// Each is one that the program takes, or names a folder or an object that there is.
#[test]
fn what_people_shall_type_exists() -> Result<()> {
    let ours: Vec<Key> = by_kustomize("deploy")?.into_keys().collect();
    let commands = commands()?;
    ensure!(commands.len() > 8, "{commands:?}");
    for command in &commands {
        let words: Vec<&str> = command.split(' ').collect();
        ensure!(words[0] == "kubectl", "{command}");
        if words[1] == "zen-lead" {
            let line = ["kubectl-zen_lead"].iter().chain(&words[2..]);
            config::parse_from(line).with_context(|| command.clone())?;
            continue;
        }
        let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
        if let Some(folder) = after("-k") {
            ensure!(root().join(folder).join("kustomization.yaml").is_file(), "{command}");
        }
        let is_ours = after("-n").is_some_and(|namespace| *namespace == "zen-lead-system");
        // A selector has a slash as well.
        let objects = words.iter().filter(|word| is_ours && !word.contains('='));
        for (kind, name) in objects.filter_map(|word| word.split_once('/')) {
            let is_named = |(of, namespace, other): &&Key| {
                of.eq_ignore_ascii_case(kind) && namespace == "zen-lead-system" && other == name
            };
            ensure!(ours.iter().any(|key| is_named(&key)), "{command}: there is no {kind} {name}: {ours:?}");
        }
    }
    Ok(())
}
