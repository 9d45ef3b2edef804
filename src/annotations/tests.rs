//! What annotations ask for, and what becomes of nonsense.

use std::num::NonZeroU8;

use machine::MaxSwitches;

use super::*;

fn settings(annotations: &[(&str, &str)]) -> Settings {
    parse(&map(annotations), "orders")
}

fn map(annotations: &[(&str, &str)]) -> BTreeMap<String, String> {
    annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The settings, and which annotations were not understood with which default.
fn refused(annotation: &'static str, value: &str) -> (Settings, &'static str) {
    let settings = settings(&[(annotation, value)]);
    let [invalid] = &*settings.invalid else { panic!("{annotation}={value}: {:?}", settings.invalid) };
    assert_eq!((invalid.annotation, &*invalid.value), (annotation, value));
    let default = invalid.default;
    (settings, default)
}

fn seconds(seconds: u64) -> Micros {
    Micros::from_secs(seconds)
}

#[test]
fn nothing_asked_for_is_the_default() {
    assert_eq!(settings(&[]), Settings::default());
}

#[test]
fn p01_only_true_opts_in() {
    assert!(settings(&[(ENABLED, "true")]).opted_in);
    for other in ["", "false", "True", "TRUE", " true", "true ", "1", "yes"] {
        let settings = settings(&[(ENABLED, other)]);
        assert!(!settings.opted_in && settings.invalid.is_empty(), "{other}");
    }
}

#[test]
fn empty_values_are_absent() {
    let all = [
        LEADER_SERVICE_NAME,
        FAILBACK,
        STICKY,
        MIN_READY_DURATION,
        FAILOVER_MIN_DELAY,
        STRATEGY,
        PREFER_NEW_REVISION,
        PREFER_NODE,
        PREFER_ZONE,
        LEAVE_CORDONED,
        MAX_SWITCHES,
        PORTS_MODE,
        PAUSED,
        SWITCHOVER_TO,
    ];
    assert_eq!(settings(&all.map(|name| (name, ""))), Settings::default());
    assert_eq!(parse_pod(&map(&[(PRIORITY, ""), (NEVER_LEAD, "")])), PodSettings::default());
}

#[test]
fn p04_the_leader_service_is_named_by_annotation() {
    let settings = settings(&[(LEADER_SERVICE_NAME, "primary")]);
    assert_eq!(settings.leader_service_name.as_deref(), Some("primary"));
    for bad in ["Primary", "1st", "a.b", "a/b", "-", &"a".repeat(64)] {
        let (settings, _) = refused(LEADER_SERVICE_NAME, bad);
        assert_eq!(settings.leader_service_name, None, "{bad}");
    }
}

#[test]
fn b06_the_services_own_name_is_refused() {
    let (settings, default) = refused(LEADER_SERVICE_NAME, "orders");
    assert_eq!((settings.leader_service_name, default), (None, "<source>-leader"));
    assert!(settings.invalid[0].why.contains("own name"));
}

#[test]
fn p08_sticky_false_is_failback_at_once() {
    assert_eq!(settings(&[(STICKY, "false")]).policy.failback, Failback::After(Micros::ZERO));
    assert_eq!(settings(&[(STICKY, "true")]).policy.failback, Failback::Never);
    let (settings, default) = refused(STICKY, "no");
    assert_eq!((settings.policy.failback, default), (Failback::Never, "true"));
}

#[test]
fn failback_wins_over_sticky() {
    for (failback, wanted) in [
        ("never", Failback::Never),
        ("immediate", Failback::After(Micros::ZERO)),
        ("0", Failback::After(Micros::ZERO)),
        ("1m30s", Failback::After(seconds(90))),
    ] {
        for sticky in ["true", "false"] {
            let settings = settings(&[(FAILBACK, failback), (STICKY, sticky)]);
            assert_eq!(settings.policy.failback, wanted, "{failback} {sticky}");
            assert_eq!(settings.invalid, []);
        }
    }
}

#[test]
fn a_failback_that_cannot_be_understood_moves_no_leader() {
    let settings = settings(&[(FAILBACK, "soon"), (STICKY, "false")]);
    assert_eq!(settings.policy.failback, Failback::Never);
    assert_eq!((settings.invalid.len(), settings.invalid[0].default), (1, "never"));
}

#[test]
fn p09_min_ready_duration_is_a_go_duration() {
    let of = |value| settings(&[(MIN_READY_DURATION, value)]).policy.min_ready_duration;
    assert_eq!(
        (of("30s"), of("0s"), of(""), of("1.5h")),
        (seconds(30), seconds(0), seconds(0), seconds(5400))
    );
    for bad in ["-5s", "30", "half an hour", "30 s"] {
        let (settings, default) = refused(MIN_READY_DURATION, bad);
        assert_eq!((settings.policy.min_ready_duration, default), (Micros::ZERO, "0s"));
    }
}

#[test]
fn the_other_settings_are_read_and_refused() {
    assert_eq!(settings(&[(FAILOVER_MIN_DELAY, "2s")]).policy.failover_min_delay, seconds(2));
    assert_eq!(refused(FAILOVER_MIN_DELAY, "2").1, "0s");
    assert_eq!(settings(&[(STRATEGY, "newest")]).policy.strategy, Strategy::Newest);
    assert_eq!(settings(&[(STRATEGY, "longest-ready")]).policy.strategy, Strategy::LongestReady);
    assert_eq!(refused(STRATEGY, "Newest").0.policy.strategy, Strategy::Oldest);
    assert!(!settings(&[(PREFER_NEW_REVISION, "false")]).policy.prefer_new_revision);
    assert!(refused(PREFER_NEW_REVISION, "0").0.policy.prefer_new_revision);
    assert!(settings(&[(LEAVE_CORDONED, "true")]).policy.leave_cordoned);
    assert!(!refused(LEAVE_CORDONED, "yes").0.policy.leave_cordoned);
    assert_eq!(settings(&[(PORTS_MODE, "available")]).ports_mode, PortsMode::Available);
    assert_eq!(refused(PORTS_MODE, "some").0.ports_mode, PortsMode::All);
}

#[test]
fn a_pause_may_have_an_end() {
    assert_eq!(settings(&[(PAUSED, "true")]).pause, Some(Pause { until: None }));
    assert_eq!(settings(&[(PAUSED, "false")]).pause, None);
    for text in ["2025-11-20T08:00:00Z", "2025-11-20T09:00:00+01:00"] {
        let until = Some(Timestamp::from_secs(1_763_625_600));
        assert_eq!(settings(&[(PAUSED, text)]).pause, Some(Pause { until }), "{text}");
    }
    for bad in ["yes", "tomorrow", "2025-11-20", "2025-11-20T08:00:00", "2025-13-20T08:00:00Z"] {
        assert_eq!(refused(PAUSED, bad).0.pause, None, "{bad}");
    }
}

#[test]
fn a_switchover_is_its_whole_text() {
    let bare = settings(&[(SWITCHOVER_TO, "orders-1")]).switchover.unwrap();
    assert_eq!((&*bare.text, &*bare.pod, bare.uid, bare.expires), ("orders-1", "orders-1", None, None));
    let full = settings(&[(SWITCHOVER_TO, "orders-1/b2;try-3;2025-11-20T08:00:00Z")]).switchover.unwrap();
    assert_eq!(&*full.text, "orders-1/b2;try-3;2025-11-20T08:00:00Z");
    assert_eq!((&*full.pod, full.uid.as_deref()), ("orders-1", Some("b2")));
    assert_eq!(full.expires, Some(Timestamp::from_secs(1_763_625_600)));
}

#[test]
fn a_switchover_that_cannot_be_understood_does_nothing() {
    for bad in [
        "orders-1/b2",
        "orders-1;token",
        "orders-1;t;2025-11-20T08:00:00Z",
        "orders-1/b2;t",
        "orders-1/b2;t;soon",
        "orders-1/b2;;2025-11-20T08:00:00Z",
        "orders-1/;t;2025-11-20T08:00:00Z",
        "/b2;t;2025-11-20T08:00:00Z",
        "orders-1/b2;t;2025-11-20T08:00:00Z;more",
        "../secrets",
        ";",
        "Orders",
        " ",
    ] {
        assert_eq!(refused(SWITCHOVER_TO, bad).0.switchover, None, "{bad}");
    }
}

#[test]
fn a_pod_says_its_priority_and_whether_it_leads() {
    let pod = parse_pod(&map(&[(PRIORITY, "-3"), (NEVER_LEAD, "true")]));
    assert_eq!(pod, PodSettings { priority: -3, excluded: true, invalid: vec![] });
    let pod = parse_pod(&map(&[(PRIORITY, "99999999999"), (NEVER_LEAD, "maybe")]));
    assert_eq!((pod.priority, pod.excluded), (0, false));
    let refused: Vec<_> = pod.invalid.iter().map(|invalid| (invalid.annotation, invalid.default)).collect();
    assert_eq!(refused, [(PRIORITY, "0"), (NEVER_LEAD, "false")]);
}

#[test]
fn a_long_value_is_quoted_in_part() {
    let settings = settings(&[(STRATEGY, &"ä".repeat(10_000))]);
    assert_eq!(&*settings.invalid[0].value, "ä".repeat(64));
}

#[test]
fn several_are_reported_at_once() {
    let settings = settings(&[(STRATEGY, "x"), (STICKY, "x"), (PAUSED, "x")]);
    assert_eq!(settings.invalid.len(), 3);
}

#[test]
fn a_default_may_be_written_out() {
    let written = [
        (FAILBACK, "never"),
        (STICKY, "true"),
        (MIN_READY_DURATION, "0s"),
        (FAILOVER_MIN_DELAY, "0s"),
        (STRATEGY, "oldest"),
        (PREFER_NEW_REVISION, "true"),
        (LEAVE_CORDONED, "false"),
        (PORTS_MODE, "all"),
        (PAUSED, "false"),
    ];
    assert_eq!(settings(&written), Settings::default());
}

#[test]
fn a_budget_is_more_than_nothing() {
    assert_eq!(settings(&[(FAILOVER_BUDGET, "1500ms")]).failover_budget, Some(Micros::from_millis(1_500)));
    assert_eq!(refused(FAILOVER_BUDGET, "0s").0.failover_budget, None);
}

#[test]
fn a_place_is_preferred_by_the_names_of_node_and_zone() {
    let asked = settings(&[(PREFER_NODE, "node-7.example.com"), (PREFER_ZONE, "eu_1A.b")]);
    let Preferred { node, zone } = &asked.preferred;
    assert_eq!((node.as_deref(), zone.as_deref()), (Some("node-7.example.com"), Some("eu_1A.b")));
    assert_eq!((asked.invalid.len(), asked.policy), (0, Policy::default()));
    for (annotation, bad) in [(PREFER_NODE, "Node 7"), (PREFER_ZONE, "eu,us"), (PREFER_ZONE, "-eu")] {
        let (settings, default) = refused(annotation, bad);
        assert_eq!(settings.preferred, Preferred::default(), "{bad}");
        assert!(default.starts_with("no preferred "), "{bad}");
    }
}

#[test]
fn a_limit_of_switches_is_a_count_and_a_duration() {
    let limit = |count, window| Some(MaxSwitches { count: NonZeroU8::new(count).unwrap(), window });
    for (text, expected) in [
        ("5/10m", limit(5, seconds(600))),
        ("1/1ms", limit(1, Micros::from_millis(1))),
        ("100/1h30m", limit(100, seconds(5_400))),
    ] {
        let settings = settings(&[(MAX_SWITCHES, text)]);
        assert_eq!((settings.policy.max_switches, settings.invalid), (expected, vec![]), "{text}");
    }
    for (bad, why) in [
        ("5", "such as 5/10m"),
        ("10m/5", "such as 5/10m"),
        ("/10m", "such as 5/10m"),
        ("+5/10m", "such as 5/10m"),
        ("5 / 10m", "such as 5/10m"),
        ("five/10m", "such as 5/10m"),
        ("0/10m", "between 1 and 100"),
        ("101/10m", "between 1 and 100"),
        ("99999999999999999999/10m", "between 1 and 100"),
        ("5/", "not a duration"),
        ("5/10", "not a duration"),
        ("5/10m/2", "not a duration"),
        ("5/-10m", "negative"),
        ("5/0s", "no time at all"),
    ] {
        let (settings, default) = refused(MAX_SWITCHES, bad);
        assert_eq!((settings.policy.max_switches, default), (None, "no limit"), "{bad}");
        assert!(settings.invalid[0].why.contains(why), "{bad}: {}", settings.invalid[0].why);
    }
}
