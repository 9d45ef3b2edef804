//! The command line, and the variables that stand in for it.

use std::path::PathBuf;
use std::time::Duration;

use super::*;

fn run(arguments: &str) -> RunArgs {
    let Command::Run(run) = parse(arguments).unwrap().command else { panic!("{arguments} is not run") };
    *run
}

fn parse(arguments: &str) -> Result<Cli, clap::Error> {
    parse_from(std::iter::once("zen-lead").chain(arguments.split_whitespace()))
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn no_subcommand_means_run() {
    for arguments in ["", "run", "--metrics-bind-address=:8080", "run --metrics-bind-address :8080"] {
        assert_eq!(run(arguments).metrics_bind_address, BindAddress::AllAddresses(8080), "{arguments}");
    }
    assert_eq!(run("--health-probe-bind-address=0").health_probe_bind_address, BindAddress::Disabled);
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let run = run("run");
    assert_eq!(run.health_probe_bind_address, BindAddress::AllAddresses(8081));
    assert_eq!(run.leader_election_id, "zen-lead-controller-leader-election");
    assert_eq!(run.max_writes_in_flight, 48);
    assert_eq!(run.log_format, LogFormat::Text);
    assert_eq!(run.metrics_detail, MetricsDetail::Service);
    assert_eq!(run.namespaces, Vec::<String>::new());
    assert_eq!(run.ignored_warning(), None);
    assert_eq!(run.failover_budget, Duration::from_secs(5));
    assert_eq!((run.watch_nodes, run.node_lease_timeout), (false, None));
    assert_eq!((run.flight_recorder, run.record_file_bytes, run.record_files), (4 << 20, 64 << 20, 8));
    assert_eq!(run.debug_bind_address, BindAddress::Host("127.0.0.1".into(), 6060));
    assert_eq!(run.record, None);
    assert!(!run.dry_run && !run.exit_on_start_error && !run.propagate_to_apiserver);
}

#[test]
fn a_single_dash_is_understood_for_known_flags_only() {
    let run = run("-metrics-bind-address=127.0.0.1:9090 -dry-run -qps=5");
    assert_eq!(run.metrics_bind_address, BindAddress::Host("127.0.0.1".into(), 9090));
    assert!(run.dry_run);
    assert_eq!(run.ignored, ["qps"]);
    assert_eq!(parse("-unknown=1").unwrap_err().exit_code(), 2);
}

#[test]
fn tuning_flags_are_dropped_with_their_values_and_named_once() {
    let run = run(
        "--qps 50 --burst=100 --zap-devel --enable-leader-pod-cache=true --qps=60 --retry-max-delay 5s --namespace shop",
    );
    assert_eq!(run.ignored, ["qps", "burst", "zap-devel", "enable-leader-pod-cache", "retry-max-delay"]);
    assert_eq!(run.namespaces, ["shop"]);
    let warning = run.ignored_warning().unwrap();
    assert!(warning.contains("--qps, --burst, --zap-devel"), "{warning}");
}

#[test]
fn a_boolean_tuning_flag_does_not_eat_the_next_flag_or_word() {
    assert_eq!(run("--zap-devel --namespace shop").namespaces, ["shop"]);
    assert_eq!(parse("--zap-devel shop").unwrap_err().exit_code(), 2);
}

#[test]
fn every_such_flag_of_the_go_program_is_accepted() {
    for (name, _) in go::IGNORED_FLAGS {
        assert_eq!(run(&format!("--{name}=1")).ignored, [*name]);
        assert_eq!(run(&format!("-{name}")).ignored, [*name]);
    }
}

#[test]
fn metrics_are_of_services_or_of_namespaces() {
    assert_eq!(run("--metrics-detail=aggregate").metrics_detail, MetricsDetail::Aggregate);
    assert_eq!(run("-metrics-detail service").metrics_detail, MetricsDetail::Service);
}

#[test]
fn replay_has_files_and_another_policy() {
    let Command::Replay(replay) =
        parse("replay --policy sticky=false --policy zen-lead.io/strategy=newest a b").unwrap().command
    else {
        panic!("not replay")
    };
    let overrides: Vec<_> = replay.overrides.iter().map(ToString::to_string).collect();
    assert_eq!(overrides, ["sticky=false", "strategy=newest"]);
    assert_eq!(replay.files, [PathBuf::from("a"), PathBuf::from("b")]);
    for (arguments, expected) in [
        ("replay", "<FILE>"),
        ("replay --policy budget=2s a", "failover-min-delay"),
        ("replay --policy failback=soon a", "30s or 1m30s"),
        ("replay --policy failback= a", "needs a value"),
    ] {
        let error = parse(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{arguments}");
        assert!(error.to_string().contains(expected), "{arguments}: {error}");
    }
}

#[test]
fn cleanup_knows_whose_objects_and_where() {
    let task = |arguments: &str| match parse(arguments).unwrap().command {
        Command::Cleanup(cleanup) => cleanup.task(),
        other => panic!("{other:?}"),
    };
    let plain = task("cleanup");
    assert_eq!((plain.dry_run, plain.stop, plain.stop_timeout), (false, None, Duration::from_mins(1)));
    let all = task("cleanup --instance ops/lead -n a,b --dry-run --stop lead --stop-timeout 2m");
    assert_eq!(all.instance.to_string(), "ops/lead");
    assert_eq!((all.namespaces, all.stop_timeout), (vec!["a".into(), "b".into()], Duration::from_mins(2)));
    assert_eq!((all.dry_run, all.stop), (true, Some("lead".into())));
    assert!(task("cleanup --namespace=").namespaces.is_empty());
    for (arguments, expected) in [
        ("cleanup --instance zen-lead", "NAMESPACE/NAME"),
        ("cleanup --stop Lead", "lower-case"),
        ("cleanup --stop-timeout 2m", "--stop <DEPLOYMENT>"),
        ("cleanup --stop lead --stop-timeout soon", "not a duration"),
        ("cleanup everything", "unexpected argument"),
    ] {
        let error = parse(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{arguments}");
        assert!(error.to_string().contains(expected), "{arguments}: {error}");
    }
}

#[test]
fn namespaces_are_repeated_or_separated_by_commas() {
    assert_eq!(run("--namespace b,a --namespace c -n a").namespaces, ["a", "b", "c"]);
    assert_eq!(run("--namespace=").namespaces, Vec::<String>::new());
    assert_eq!(parse("--namespace Shop").unwrap_err().exit_code(), 2);
}

#[test]
fn nodes_are_watched_and_given_time_if_somebody_asks_for_it() {
    assert!(run("--watch-nodes").watch_nodes);
    assert_eq!(
        run("--watch-nodes --node-lease-timeout=1m30s").node_lease_timeout,
        Some(Duration::from_secs(90))
    );
}

#[test]
fn booleans_take_a_value_the_go_way() {
    assert!(run("--dry-run").dry_run);
    assert!(run("--dry-run=true").dry_run);
    assert!(!run("--dry-run=false").dry_run);
    assert!(run("-leader-elect").leader_elect && !run("--leader-elect=false").leader_elect);
}

#[test]
fn wrong_values_exit_with_2_and_say_what_was_expected() {
    for (arguments, expected) in [
        ("--metrics-bind-address=8080", "expected :PORT"),
        ("--metrics-bind-address=:99999", "no port"),
        ("--max-writes-in-flight=0", "1..=512"),
        ("--metrics-detail=pod", "service, aggregate"),
        ("--instance=zen-lead", "NAMESPACE/NAME"),
        ("--failover-budget=soon", "not a duration"),
        ("--failover-budget=0s", "no time at all"),
        ("--watch-nodes --node-lease-timeout=624ms", "at least 625ms, two and a half renewals"),
        ("--watch-nodes --node-lease-timeout=soon", "not a duration"),
        ("--node-lease-timeout=40s", "add it, or leave both out"),
        ("--log-level=info,=x=y", "--log-level"),
        ("--leader-election-id=Lead", "lower-case"),
        ("frobnicate", "unrecognized subcommand"),
    ] {
        let error = parse(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{arguments}");
        assert!(error.to_string().contains(expected), "{arguments}: {error}");
    }
}

#[test]
fn help_and_version_exit_with_0() {
    for arguments in ["--help", "run --help", "--version", "-V"] {
        assert_eq!(parse(arguments).unwrap_err().exit_code(), 0, "{arguments}");
    }
    let help = parse("run --help").unwrap_err().to_string();
    assert!(help.contains("Examples:") && !help.contains("qps"), "{help}");
}

#[test]
fn instance_and_bind_address_show_as_they_are_written() {
    for text in ["0", ":8080", "127.0.0.1:1", "[::1]:8081", "localhost:80"] {
        assert_eq!(text.parse::<BindAddress>().unwrap().to_string(), text);
    }
    assert_eq!(run("--instance ops/lead").instance().to_string(), "ops/lead");
}

#[test]
fn identity_is_never_empty() {
    assert_eq!(run("--identity a-1").identity(), "a-1");
    assert!(!run("").identity().is_empty());
}

#[test]
fn log_filter_prefers_the_flag() {
    let filter = run("--log-level info,kube=debug").log_filter();
    assert_eq!(filter, "info,kube=debug".parse().unwrap());
    assert!(filter.would_enable("kube::client", &tracing::Level::DEBUG));
    assert!(!filter.would_enable("zen_lead", &tracing::Level::DEBUG));
}

/// Variables of the process can be set for a child only.
fn run_with(variables: &[(&str, &str)]) -> String {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "config::tests::child", "--nocapture"]);
    let output = child.envs(variables.iter().copied()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The child of the tests below; by itself it only shows that nothing panics.
#[test]
fn child() {
    match parse("run --context flag") {
        Ok(Cli { command: Command::Run(run) }) => {
            println!(
                "{run:?} filter={} identity={} instance={}",
                run.log_filter(),
                run.identity(),
                run.instance()
            );
        }
        Ok(cli) => println!("{cli:?}"),
        Err(error) => println!("{error}"),
    }
}

#[test]
fn variables_stand_in_for_flags_and_flags_win() {
    let seen = run_with(&[
        ("ZEN_LEAD_NAMESPACE", "shop,ops"),
        ("ZEN_LEAD_CONTEXT", "variable"),
        ("ZEN_LEAD_DRY_RUN", "true"),
        ("ZEN_LEAD_METRICS_BIND_ADDRESS", "0"),
        ("ZEN_LEAD_METRICS_DETAIL", "aggregate"),
        ("ZEN_LEAD_LOG", "debug"),
        ("RUST_LOG", "trace"),
        ("POD_NAME", "zen-lead-0"),
        ("POD_NAMESPACE", "system"),
    ]);
    for expected in [
        r#"namespaces: ["ops", "shop"]"#,
        r#"context: Some("flag")"#,
        "dry_run: true",
        "metrics_bind_address: Disabled",
        "metrics_detail: Aggregate",
        "filter=debug identity=zen-lead-0 instance=system/zen-lead",
    ] {
        assert!(seen.contains(expected), "{expected} in {seen}");
    }
}

#[test]
fn empty_variables_mean_not_given() {
    let seen = run_with(&[
        ("ZEN_LEAD_NAMESPACE", ""),
        ("ZEN_LEAD_DRY_RUN", ""),
        ("ZEN_LEAD_METRICS_BIND_ADDRESS", ""),
        ("ZEN_LEAD_METRICS_DETAIL", ""),
        ("ZEN_LEAD_INSTANCE", ""),
        ("ZEN_LEAD_LOG", ""),
        ("RUST_LOG", "warn"),
        ("POD_NAMESPACE", ""),
    ]);
    for expected in [
        "namespaces: []",
        "dry_run: false",
        "metrics_bind_address: AllAddresses(8080)",
        "metrics_detail: Service",
        "filter=warn",
        "/zen-lead",
    ] {
        assert!(seen.contains(expected), "{expected} in {seen}");
    }
}

#[test]
fn a_wrong_variable_is_refused_by_name() {
    let seen = run_with(&[("ZEN_LEAD_MAX_WRITES_IN_FLIGHT", "many")]);
    assert!(seen.contains("invalid value 'many'") && seen.contains("--max-writes-in-flight"), "{seen}");
}

#[test]
fn a_plugin_of_kubectl_never_means_run() {
    let plugin = |arguments: &[&str]| parse_from([&["/usr/local/bin/kubectl-zen_lead"], arguments].concat());
    let cli = plugin(&["status", "orders", "-n", "shop", "-o", "wide"]).unwrap();
    let Command::Operate(Operate::Status(status)) = cli.command else { panic!("{cli:?}") };
    assert_eq!((status.name.as_deref(), status.cluster.namespace.as_deref()), (Some("orders"), Some("shop")));
    assert_eq!(status.output, Some(Format::Wide));
    let help = plugin(&[]).unwrap_err();
    assert_eq!((help.kind(), help.exit_code()), (clap::error::ErrorKind::DisplayHelp, 0));
    let flags = plugin(&["--metrics-bind-address=:8080"]).unwrap_err();
    assert_eq!(flags.exit_code(), 2);
}
