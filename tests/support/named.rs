//! The metrics that people are told of.

use std::collections::BTreeSet;

const PREFIX: &str = "zen_lead_";

const FILES: [&str; 3] =
    ["README.md", "deploy/monitoring/prometheusrule.yaml", "deploy/monitoring/dashboard.json"];

/// The metrics of ours that the README, the alerts and the dashboard name; histograms by their family's name.
pub fn named_metrics() -> BTreeSet<String> {
    let text = |path: &&str| super::manifest(path).expect("a file of this repository");
    FILES.iter().flat_map(|path| named_in(&text(path))).collect()
}

/// Those that a text names.
pub fn named_in(text: &str) -> BTreeSet<String> {
    let names = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    names.filter(|name| name.len() > PREFIX.len() && name.starts_with(PREFIX)).map(family).collect()
}

/// The name under which a histogram's series are one.
fn family(name: &str) -> String {
    let part = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
    part.unwrap_or(name).to_owned()
}
