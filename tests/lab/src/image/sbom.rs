//! The bill of materials: each crate in the program, in `CycloneDX`, by what cargo itself tells.
//!
//! What only runs while it is built (build scripts, procedural macros) is not in it, and not named. Nor are musl and Rust's
//! standard library, which come with the compiler.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::arch::Arch;
use super::source::Source;

/// One architecture's, as JSON.
pub(super) fn of(repository: &Path, arch: Arch, source: &Source) -> Result<Vec<u8>> {
    let output = Command::new("cargo")
        .args(["tree", "--locked", "--package=zen-lead", "--edges=normal,no-proc-macro", "--prefix=depth"])
        .args(["--format=|{p}|{l}", "--target", arch.triple()])
        .current_dir(repository)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo does not tell what zen-lead depends on: see above");
    let lock = repository.join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
    let bill = bill(&String::from_utf8(output.stdout)?, &checksums(&lock), &source.created()?)?;
    Ok(serde_json::to_vec_pretty(&bill)?)
}

/// From cargo's tree, a line per crate that begins with how deep it stands.
fn bill(tree: &str, checksums: &BTreeMap<(String, String), String>, created: &str) -> Result<Value> {
    let mut crates = BTreeMap::new();
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut above: Vec<String> = Vec::new();
    for line in tree.lines() {
        let package =
            Crate::of(line).with_context(|| format!("cargo tells of a crate in new words: {line}"))?;
        let id = package.id();
        above.truncate(package.depth);
        if let Some(parent) = above.last() {
            needs.entry(parent.clone()).or_default().insert(id.clone());
        }
        needs.entry(id.clone()).or_default();
        above.push(id.clone());
        crates.insert(id, package);
    }
    let root = above.first().context("cargo tells of no crate")?;
    let product = crates.remove(root).context("cargo tells of no crate")?;
    let components: Vec<_> = crates.values().map(|package| package.component("library", checksums)).collect();
    let needs: Vec<_> = needs.iter().map(|(id, needed)| json!({"ref": id, "dependsOn": needed})).collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": created, "component": product.component("application", checksums)},
        "components": components,
        "dependencies": needs,
    }))
}

struct Crate {
    depth: usize,
    name: String,
    version: String,
    license: String,
}

impl Crate {
    /// `2|bytes v1.12.2|MIT`, with a path for our own, and ` (*)` if it has been told before.
    fn of(line: &str) -> Option<Self> {
        let mut fields = line.split('|');
        let (depth, package, license) = (fields.next()?, fields.next()?, fields.next()?);
        let mut words = package.split(' ');
        Some(Self {
            depth: depth.parse().ok()?,
            name: words.next()?.to_owned(),
            version: words.next()?.strip_prefix('v')?.to_owned(),
            // The slash is how crates wrote it before SPDX expressions.
            license: license.trim_end_matches(" (*)").replace('/', " OR "),
        })
    }

    fn id(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }

    fn component(&self, kind: &str, checksums: &BTreeMap<(String, String), String>) -> Value {
        let mut component = json!({
            "type": kind,
            "bom-ref": self.id(),
            "purl": self.id(),
            "name": self.name,
            "version": self.version,
            "licenses": [{"expression": self.license}],
        });
        if let Some(checksum) = checksums.get(&(self.name.clone(), self.version.clone())) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        component
    }
}

/// Of each crate in `Cargo.lock` that comes from the registry, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let checksum = |package: &str| {
        let field = |name: &str| {
            let value = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))?;
            Some(value.trim_matches('"').to_owned())
        };
        Some(((field("name")?, field("version")?), field("checksum")?))
    };
    lock.split("[[package]]").filter_map(checksum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_is_named_once_with_its_licence_checksum_and_needs() {
        let tree = "0|zen-lead v0.1.0 (/source)|Apache-2.0\n\
                    1|kube v5.0.0|Apache-2.0\n\
                    2|bytes v1.12.2|MIT/Apache-2.0\n\
                    1|bytes v1.12.2|MIT/Apache-2.0 (*)\n";
        let lock = "[[package]]\nname = \"bytes\"\nversion = \"1.12.2\"\nchecksum = \"b1\"\n\n\
                    [[package]]\nname = \"zen-lead\"\nversion = \"0.1.0\"\ndependencies = [\n \"bytes\",\n]\n";
        let bill = bill(tree, &checksums(lock), "1970-01-01T00:00:00Z").unwrap();
        let [zen_lead, kube, bytes] =
            ["zen-lead@0.1.0", "kube@5.0.0", "bytes@1.12.2"].map(|c| format!("pkg:cargo/{c}"));
        assert_eq!(bill["metadata"]["component"]["bom-ref"], zen_lead);
        assert_eq!(bill["metadata"]["component"].get("hashes"), None);
        assert_eq!(
            bill["components"],
            json!([
                {"type": "library", "bom-ref": bytes, "purl": bytes, "name": "bytes", "version": "1.12.2",
                 "licenses": [{"expression": "MIT OR Apache-2.0"}], "hashes": [{"alg": "SHA-256", "content": "b1"}]},
                {"type": "library", "bom-ref": kube, "purl": kube, "name": "kube", "version": "5.0.0",
                 "licenses": [{"expression": "Apache-2.0"}]},
            ])
        );
        assert_eq!(
            bill["dependencies"],
            json!([
                {"ref": bytes, "dependsOn": []},
                {"ref": kube, "dependsOn": [bytes]},
                {"ref": zen_lead, "dependsOn": [bytes, kube]},
            ])
        );
    }

    #[test]
    fn what_is_shipped_is_listed_and_what_only_builds_it_is_not() {
        let repository = super::super::repository().unwrap();
        let bill = of(&repository, Arch::Arm64, &Source::default()).unwrap();
        let bill: Value = serde_json::from_slice(&bill).unwrap();
        let components = bill["components"].as_array().unwrap();
        let find = |name: &str| components.iter().find(|component| component["name"] == name);
        for name in ["machine", "kube", "ring", "rustls"] {
            assert!(find(name).is_some(), "{name} is shipped");
        }
        for name in ["lab", "cc", "serde_derive", "proptest"] {
            assert!(find(name).is_none(), "{name} is not shipped");
        }
        for component in components.iter().filter(|component| component["name"] != "machine") {
            assert_eq!(component["hashes"][0]["content"].as_str().unwrap().len(), 64, "{component}");
        }
    }
}
