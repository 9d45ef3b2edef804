//! What people are told.

use machine::Reason as Election;
use serde_json::json;

use super::*;
use crate::annotations;
use crate::failover::Who;
use crate::kinds::fixtures::{service, view};
use crate::managed::Key;

const ELECTION: [Election; 17] = [
    Election::LeaderElected,
    Election::LeaderChanged,
    Election::LeaderDraining,
    Election::LeaderLost,
    Election::LeaderRecovered,
    Election::NoPodsFound,
    Election::NoReadyPods,
    Election::NamedPortResolutionFailed,
    Election::PortResolutionFailed,
    Election::EndpointSliceDeleted,
    Election::SwitchoverCompleted,
    Election::SwitchoverRefused,
    Election::Paused,
    Election::Resumed,
    Election::LeaderServiceConflict,
    Election::PublicationContested,
    Election::PublishRejected,
];

const NOW: Timestamp = Timestamp(1_763_625_607_250_000);

fn reasons() -> impl Iterator<Item = Reason> {
    ELECTION.into_iter().map(Reason::Election).chain([
        Reason::InvalidService,
        Reason::LeaderServiceCreated,
        Reason::LeaderRoutingAvailable,
        Reason::InvalidConfiguration,
        Reason::BudgetExceeded,
    ])
}

fn regarding() -> Regarding {
    Regarding::from(&*view(&json!({})).source)
}

fn changed() -> Notice {
    let notice = machine::Notice {
        reason: Election::LeaderChanged,
        cause: Some(Cause::Unready),
        pod: Some(Pod::new("orders-1", "b2")),
        previous: Some(Pod::new("orders-0", "a0")),
        detail: None,
    };
    Notice::election(&notice, Some(Epoch(1_763_625_608)))
}

#[test]
fn a_notice_is_an_event_that_the_api_server_takes() {
    let event = json!(event(&changed(), &regarding(), NOW, "controller-7f/x1"));
    let name = event["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(
        name.starts_with("orders.6440215d64050.") && name.len() == "orders.643fe7ca6ebd0.12345678".len(),
        "{name}"
    );
    let mut rest = event;
    rest["metadata"].as_object_mut().unwrap().remove("name");
    assert_eq!(
        rest,
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"namespace": "shop"},
            "eventTime": "2025-11-20T08:00:07.250000Z",
            "type": "Normal", "reason": "LeaderChanged", "action": "FailOver",
            "note": "Another pod leads now: orders-1, orders-0 before. Cause: unready (the leader was not Ready). \
                Epoch: 1763625608.",
            "regarding": {"apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "orders", "uid": "s0"},
            "related": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "orders-1", "uid": "b2"},
            "reportingController": "zen-lead", "reportingInstance": "controller-7f/x1",
        })
    );
}

#[test]
fn p20_the_reasons_have_their_public_names() {
    for reason in ELECTION {
        // The machine writes them by their own names: one word in log and notice.
        assert_eq!(json!(reason), Reason::Election(reason).as_str());
    }
    let others: Vec<_> = reasons().skip(ELECTION.len()).map(Reason::as_str).collect();
    assert_eq!(
        others,
        [
            "InvalidService",
            "LeaderServiceCreated",
            "LeaderRoutingAvailable",
            "InvalidConfiguration",
            "BudgetExceeded"
        ]
    );
}

#[test]
fn every_reason_is_put_into_whole_sentences() {
    for reason in reasons() {
        let words = words(reason);
        let sentence = |text: &str| text.starts_with(|c: char| c.is_ascii_uppercase());
        assert!(sentence(words.headline) && !words.headline.ends_with('.'), "{reason:?}");
        assert!(sentence(words.particulars), "{reason:?}");
        assert!(
            words.remedy.is_empty() || sentence(words.remedy) && words.remedy.ends_with('.'),
            "{reason:?}"
        );
        assert!(
            words.severity == Severity::Normal || !words.remedy.is_empty(),
            "{reason:?} warns without a remedy"
        );
        assert!(!words.action.is_empty() && words.action.len() <= 128, "{reason:?}");
    }
}

#[test]
fn i9_the_cause_is_told_by_its_word() {
    let notice = Notice { cause: Some(Cause::NodeLost), ..changed() };
    assert!(notice.note().contains(" Cause: node_lost (the leader's node was lost)."), "{}", notice.note());
}

#[test]
fn an_invalid_annotation_is_named_with_its_value_and_the_default() {
    let settings =
        annotations::parse(&[("zen-lead.io/strategy".to_owned(), "youngest".to_owned())].into(), "orders");
    let notice = Notice::invalid_configuration(&settings.invalid[0], None);
    assert_eq!(
        notice.note(),
        "An annotation cannot be understood. Particulars: zen-lead.io/strategy is \"youngest\", but it is none of \
         oldest, newest and longest-ready. Used instead: oldest. Correct the annotation; it takes effect at once."
    );
}

#[test]
fn a_pods_invalid_annotation_is_told_of_that_pod() {
    let settings =
        annotations::parse(&[("zen-lead.io/strategy".to_owned(), "youngest".to_owned())].into(), "orders");
    let pod = Some(Pod::new("orders-0", "a0"));
    assert_eq!(Notice::invalid_configuration(&settings.invalid[0], pod.clone()).pod, pod);
}

#[test]
fn a_contest_names_the_writer_and_what_it_undoes() {
    let note = |by| Notice::contested("orders-leader", by).note();
    let told = note(Some("kustomize-controller"));
    assert!(told.contains("The writer: kustomize-controller, of Service orders-leader."), "{told}");
    let told = note(None);
    assert!(told.contains("The writer: somebody, of Service orders-leader."), "{told}");
}

#[test]
fn a_conflict_names_what_stands_in_the_way() {
    let notice = Notice::conflict(&"EndpointSlice orders-leader-ipv6".into());
    assert!(notice.note().contains("EndpointSlice orders-leader-ipv6"), "{}", notice.note());
}

#[test]
fn a_failover_over_its_budget_is_told_with_its_times() {
    let service = Key { namespace: "shop".into(), name: "orders".into() };
    let mut failover = Failover::new(service, Timestamp::from_secs(100), Cause::Gone, None);
    let who = |name: &str| Some(Who { pod: Pod::new(name, name), node: None });
    (failover.before, failover.after) = (who("orders-0"), who("orders-1"));
    (failover.epoch, failover.budget) = (Some(Epoch(8)), Micros::from_millis(1_500));
    failover.leave(Timestamp::from_secs(103));
    let notice = |failover: &Failover| {
        Notice::budget_exceeded(failover, Phase::Reelecting, Micros::from_millis(2_250))
    };
    let open = notice(&failover);
    let told = Told::read(&event(&open, &regarding(), NOW, "replica")).unwrap();
    assert_eq!((told.epoch, told.took), (Some(8), Some(Micros::from_secs(3))));
    assert_eq!(
        open,
        Notice {
            reason: Reason::BudgetExceeded,
            cause: Some(Cause::Gone),
            pod: Some(Pod::new("orders-1", "orders-1")),
            previous: Some(Pod::new("orders-0", "orders-0")),
            epoch: Some(Epoch(8)),
            detail: Some("3.000 s of 1.500 s and is not over, most of it Reelecting (2.250 s)".into()),
        }
    );
    failover.outcome = Outcome::Elected;
    let over = notice(&failover).detail.unwrap();
    assert_eq!(&*over, "3.000 s of 1.500 s in all, most of it Reelecting (2.250 s)");
}

#[test]
fn p17_an_invalid_service_is_told_why() {
    let lite = service(&json!({"spec": {"selector": null}}));
    let notice = Notice::invalid_service(Source::new(&lite).unwrap_err());
    assert!(notice.note().contains("Why: it has no selector"), "{}", notice.note());
    let event = event(&notice, &Regarding::from(&lite), NOW, "x");
    assert_eq!(event.regarding.unwrap().uid.as_deref(), Some("s0"));
    assert_eq!((event.related, event.type_.as_deref()), (None, Some("Warning")));
}

#[test]
fn routing_names_the_leader_service_and_the_leader() {
    let notice = Notice::leader_routing_available("orders-leader", Some(Pod::new("orders-0", "a0")));
    assert!(notice.note().starts_with(
        "Traffic to the leader Service reaches the leader: orders-0. The leader Service: orders-leader."
    ));
    let notice = Notice::leader_service_created("orders-leader");
    assert_eq!(notice.note(), "The leader Service was created. Its name: orders-leader.");
}

#[test]
fn a_long_detail_is_cut_and_the_remedy_is_not() {
    for unit in ["x", "ä", "€", "𝄞"] {
        let detail = Some(unit.repeat(5_000).into());
        for reason in reasons() {
            let notice = Notice { reason, detail: detail.clone(), ..changed() };
            let note = notice.note();
            assert!(note.len() <= NOTE_MAX && note.len() > NOTE_MAX - 8, "{reason:?}: {}", note.len());
            assert!(note.ends_with(words(reason).remedy), "{reason:?}");
        }
    }
}

#[test]
fn long_names_and_identities_stay_within_the_servers_limits() {
    let long = Pod::new(&"p".repeat(253), "u");
    let notice = Notice {
        pod: Some(long.clone()),
        previous: Some(long),
        detail: Some("d".repeat(5_000).into()),
        ..changed()
    };
    let regarding = Regarding { name: "s".repeat(63).into(), ..regarding() };
    let event = event(&notice, &regarding, Timestamp(u64::MAX), &"i".repeat(500));
    assert!(event.note.unwrap().len() <= NOTE_MAX);
    assert!(event.metadata.name.unwrap().len() <= 253);
    assert_eq!(event.reporting_instance.unwrap().len(), 128);
    // No API server has such a name, but the limit holds all the same.
    let absurd = Notice { pod: Some(Pod::new(&"p".repeat(2_000), "u")), ..changed() };
    assert_eq!(absurd.note().len(), NOTE_MAX);
}

#[test]
fn the_same_notice_has_the_same_name_and_others_have_others() {
    let name = |notice: &Notice, at, identity| event(notice, &regarding(), at, identity).metadata.name;
    let base = name(&changed(), NOW, "x1");
    assert_eq!(base, name(&changed(), NOW, "x1"));
    assert_ne!(base, name(&changed(), Timestamp(NOW.0 + 1), "x1"));
    assert_ne!(base, name(&changed(), NOW, "x2"));
    assert_ne!(base, name(&Notice { epoch: None, ..changed() }, NOW, "x1"));
    assert_ne!(
        base,
        name(&Notice { reason: Reason::Election(Election::LeaderElected), ..changed() }, NOW, "x1")
    );
}

#[test]
fn what_was_told_can_be_read_back() {
    let told = Told::read(&event(&changed(), &regarding(), NOW, "replica")).unwrap();
    assert_eq!((&*told.namespace, &*told.service, told.at), ("shop", "orders", NOW));
    assert_eq!((&*told.reason, told.cause.as_deref()), ("LeaderChanged", Some("unready")));
    assert_eq!((told.pod.as_deref(), told.previous.as_deref()), (Some("orders-1"), Some("orders-0")));
    assert_eq!((told.epoch, told.took), (Some(1_763_625_608), None));
    for reason in reasons() {
        let told = Told::read(&event(&Notice::new(reason), &regarding(), NOW, "replica")).unwrap();
        assert_eq!(
            (told.cause, told.previous, told.epoch, told.took),
            (None, None, None, None),
            "{reason:?}"
        );
        assert_eq!(told.reason, reason.as_str());
    }
}

#[test]
fn what_others_wrote_in_our_name_is_only_text() {
    let mut forged = event(&changed(), &regarding(), NOW, "replica");
    forged.note = Some("One\nTwo\x1b[2J before. Cause: a\tb".into());
    forged.related.as_mut().unwrap().name = Some("x\x07".into());
    let told = Told::read(&forged).unwrap();
    assert!(!format!("{}{:?}{:?}", told.note, told.pod, told.previous).contains(r"\u{"), "{told:?}");
    assert!(!told.note.contains(char::is_control), "{told:?}");
}
