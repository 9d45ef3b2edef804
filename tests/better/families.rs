//! IPv4 and IPv6: one slice a family, and the second follows the first.

use anyhow::{Context, Result};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use lab::{Pod, leader_of};

use crate::support::{SOON, Stage};

/// Whether the slice of this name shows this address of the pod, and nothing else.
fn shows(slices: &[EndpointSlice], name: &str, pod: &Pod, address: usize) -> bool {
    slices.iter().any(|slice| {
        slice.name_any() == name
            && leader_of(slice).as_deref() == Some(pod.name())
            && slice.endpoints[0].addresses == [pod.ips()[address].to_string()]
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn b09_a_dual_stack_service_has_a_slice_a_family_and_both_follow_the_leader() -> Result<()> {
    let stage = Stage::new("b09").await?;
    stage.source("orders").dual_stack().create().await?;
    let first = stage.member("orders", "orders-0").dual_stack().ready().create().await?;
    let second = stage.member("orders", "orders-1").dual_stack().ready().create().await?;
    for (leader, loses) in [(&first, true), (&second, false)] {
        let both = |slices: &[EndpointSlice]| {
            shows(slices, "orders-leader", leader, 0) && shows(slices, "orders-leader-ipv6", leader, 1)
        };
        let slices = stage.ns.slices().all_until("orders-leader", SOON, both).await?;
        let of = |kind: &str| slices.iter().find(|slice| slice.address_type == kind);
        let (v4, v6) = (of("IPv4").context("a slice of IPv4")?, of("IPv6").context("a slice of IPv6")?);
        for key in ["zen-lead.io/epoch", "zen-lead.io/leader-pod-uid"] {
            assert_eq!(v4.annotations().get(key), v6.annotations().get(key), "{key}");
        }
        if loses {
            leader.unready().await?;
        }
    }
    second.unready().await?;
    stage.until_leaderless("orders").await?;
    stage.end().await
}

/// The first family decides; a leader that lacks the second leaves that one's slice empty.
#[tokio::test(flavor = "multi_thread")]
async fn b09_i12_a_leader_without_the_second_family_leaves_its_slice_empty() -> Result<()> {
    let stage = Stage::new("b09-second").await?;
    stage.source("orders").dual_stack().create().await?;
    let only_v6 = stage.member("orders", "orders-0").ipv6_only().ready().create().await?;
    let only_v4 = stage.member("orders", "orders-1").ready().create().await?;
    let both = stage.member("orders", "orders-2").dual_stack().ready().create().await?;
    let slices = stage.ns.slices();
    let uid = Some(only_v4.uid().to_owned());
    let empty_beside = |slices: &[EndpointSlice]| {
        let second = slices.iter().find(|slice| slice.name_any() == "orders-leader-ipv6");
        shows(slices, "orders-leader", &only_v4, 0)
            && second.is_some_and(|second| {
                second.endpoints.is_empty()
                    && second.annotations().get("zen-lead.io/leader-pod-uid").cloned() == uid
            })
    };
    slices.all_until("orders-leader", SOON, empty_beside).await?;
    only_v4.vanish().await?;
    let led = |slices: &[EndpointSlice]| {
        shows(slices, "orders-leader", &both, 0) && shows(slices, "orders-leader-ipv6", &both, 1)
    };
    slices.all_until("orders-leader", SOON, led).await?;
    // Who has no address of the first family cannot lead at all.
    both.vanish().await?;
    stage.until_leaderless("orders").await?;
    assert!(only_v6.get().await?.status.is_some());
    stage.end().await
}

/// The Go zen-lead could not: a slice's address type never changes.
#[tokio::test(flavor = "multi_thread")]
async fn b09_a_service_made_anew_in_the_other_family_gets_slices_of_that() -> Result<()> {
    let stage = Stage::new("b09-anew").await?;
    let source = stage.source("orders").families(&["IPv4"]).create().await?;
    let pod = stage.member("orders", "orders-0").dual_stack().ready().create().await?;
    stage.until_led("orders", &pod).await?;
    source.delete().await?;
    stage.source("orders").families(&["IPv6"]).create().await?;
    let sixth = |slices: &[EndpointSlice]| slices.len() == 1 && shows(slices, "orders-leader", &pod, 1);
    let slices = stage.ns.slices().all_until("orders-leader", SOON, sixth).await?;
    assert_eq!(slices[0].address_type, "IPv6");
    stage.end().await
}

/// A second family that comes later, and goes again.
#[tokio::test(flavor = "multi_thread")]
async fn b09_a_second_family_can_come_and_go() -> Result<()> {
    let stage = Stage::new("b09-later").await?;
    let source = stage.source("orders").families(&["IPv4"]).create().await?;
    let pod = stage.member("orders", "orders-0").dual_stack().ready().create().await?;
    stage.until_led("orders", &pod).await?;
    let policy = |policy: &str| serde_json::json!({ "spec": { "ipFamilyPolicy": policy } });
    source.patch(policy("RequireDualStack")).await?;
    let both = |slices: &[EndpointSlice]| {
        shows(slices, "orders-leader", &pod, 0) && shows(slices, "orders-leader-ipv6", &pod, 1)
    };
    stage.ns.slices().all_until("orders-leader", SOON, both).await?;
    stage
        .until_leader_service("orders", |service| {
            service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref()).is_some_and(|all| all.len() == 2)
        })
        .await?;
    source
        .patch(serde_json::json!({
            "spec": { "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"],
                "clusterIPs": [source.get().await?.spec.and_then(|spec| spec.cluster_ip)] }
        }))
        .await?;
    let one = |slices: &[EndpointSlice]| slices.len() == 1 && shows(slices, "orders-leader", &pod, 0);
    stage.ns.slices().all_until("orders-leader", SOON, one).await?;
    stage.end().await
}
