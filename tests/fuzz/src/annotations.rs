//! Annotations, as anybody may set them who may write a Service or a pod: `name=value`, one a line.

use std::collections::BTreeMap;

use machine::Timestamp;
use zen_lead::annotations::{PREFIX, Settings, parse, parse_pod};
use zen_lead::names::{SERVICE_NAME_MAX, is_rfc1035_label, leader_service};
use zen_lead::replay::Override;
use zen_lead::service::epoch;

/// A value that is shown to people is cut to so many bytes.
const SHOWN_MOST: usize = 128;

/// Reads `text` as the annotations of a Service and of a pod. The first line is the Service's name.
///
/// # Panics
/// Something is wrong.
pub fn run(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let (source, lines) = text.split_once('\n').unwrap_or(("orders", &text));
    let pairs = lines.split('\n').filter_map(|line| line.split_once('='));
    let annotations: BTreeMap<_, _> =
        pairs.map(|(name, value)| (format!("{PREFIX}{name}"), value.to_owned())).collect();

    let settings = parse(&annotations, source);
    for invalid in settings.invalid.iter().chain(&parse_pod(&annotations).invalid) {
        let value = annotations.get(invalid.annotation).map(String::as_str).unwrap_or_default();
        assert!(
            !value.is_empty() && value.starts_with(&*invalid.value),
            "it is not what was set: {invalid:?}"
        );
        assert!(invalid.value.len() <= SHOWN_MOST && !invalid.why.is_empty(), "{invalid:?}");
    }
    check(&settings, source);
    for (name, value) in &annotations {
        // The same settings, as `zen-lead replay --policy` takes them.
        if let Ok(setting) = format!("{name}={value}").parse::<Override>() {
            let again = setting.to_string().parse::<Override>();
            assert_eq!(again.as_ref(), Ok(&setting), "it is told as it can be read");
        }
        for now in [Timestamp(0), Timestamp(u64::MAX)] {
            let _ = epoch(value, now);
        }
    }
}

fn check(settings: &Settings, source: &str) {
    if let Some(name) = &settings.leader_service_name {
        assert!(is_rfc1035_label(name) && **name != *source, "{name}");
    }
    if is_rfc1035_label(source) {
        let name = leader_service(source);
        assert!(is_rfc1035_label(&name) && name.len() <= SERVICE_NAME_MAX && name != source, "{name}");
    }
    assert!(settings.failover_budget != Some(machine::Micros::ZERO), "no failover takes no time at all");
}
