//! How long it takes from a line of the pod watch to what the machine is told of it, and what a pod costs in memory
//! from then on. No control plane.
//!
//! The floor is the same parser that only looks where each value ends.
//!
//! `cargo bench --bench decode [-- --rounds N] [--json FILE]`

#![allow(missing_docs, reason = "a program")]

#[path = "support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use support::{Figure, number, report};
use zen_lead::annotations::Settings;
use zen_lead::kinds::{NodeLeaseLite, NodeLite, PodLite, ServiceLite};
use zen_lead::rows::{ByName, Ground, Interner, PodRow, View, event_for};
use zen_lead::service::Source;

/// A sample is the mean of so many in a row: the clock itself takes some 25 ns.
const BATCH: u32 = 100;

/// The line of a watch, as the controller reads it.
#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE", bound = "K: DeserializeOwned")]
enum Line<K> {
    Modified(K),
}

fn main() -> Result<()> {
    let bytes = bytes_per_row(100_000)?;
    let rounds = number("--rounds", 1_000)?;
    let (ready, unready) = (line(true), line(false));
    println!("a line of {} bytes", ready.len());
    let view = view()?;
    let mut interner = Interner::default();
    let mut rows = Vec::new();
    for line in [&ready, &unready] {
        rows.push(row(&decode(line)?, &mut interner)?);
    }
    let pod = decode(&ready)?;

    let ground = Ground::default();
    // One after another in each round, so that all of them see the same noise.
    let (lease, node) = (lease_line(), node_line());
    let mut samples: [Vec<f64>; 7] = Default::default();
    for _ in 0..rounds {
        samples[0].push(nanos(|_| serde_json::from_slice::<IgnoredAny>(black_box(&ready)).is_ok()));
        samples[1].push(nanos(|_| decode::<PodLite>(black_box(&ready)).is_ok()));
        samples[2].push(nanos(|_| PodRow::new(black_box(&pod), &mut interner).is_some()));
        samples[3].push(nanos(|turn| {
            let (old, new) = (&rows[turn % 2], &rows[(turn + 1) % 2]);
            event_for(Some(&old.member(&view, &ground)), black_box(new).member(&view, &ground)).is_some()
        }));
        samples[4].push(nanos(|turn| {
            let line = if turn % 2 == 0 { &unready } else { &ready };
            let Ok(pod) = decode(black_box(line)) else { return false };
            let Some(new) = PodRow::new(&pod, &mut interner) else { return false };
            event_for(Some(&rows[turn % 2].member(&view, &ground)), new.member(&view, &ground)).is_some()
        }));
        samples[5].push(nanos(|_| decode::<NodeLeaseLite>(black_box(&lease)).is_ok()));
        samples[6].push(nanos(|_| decode::<NodeLite>(black_box(&node)).is_ok()));
    }
    let [floor, decode, row, event, all, of_lease, of_node] = &samples;
    report(
        "decode",
        &[
            Figure::of("line, only parsed", "ns", floor),
            Figure::of("line to slim pod", "ns", decode).over(decode, floor),
            Figure::of("slim pod to row", "ns", row),
            Figure::of("row to event", "ns", event),
            Figure::of("line to event", "ns", all).over(all, floor),
            Figure::of("line of a node's Lease to slim Lease", "ns", of_lease),
            Figure::of("line of a Node with 50 images to slim Node", "ns", of_node),
            Figure::of("memory of a pod's row, all included", "B", &[bytes]),
        ],
    )
}

/// Nanoseconds for one call. What is called has to come out well each time.
fn nanos(mut call: impl FnMut(usize) -> bool) -> f64 {
    let begun = Instant::now();
    let is_well = (0..BATCH as usize).all(|turn| black_box(call(turn)));
    assert!(is_well, "the input is sound, and every change is an event");
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH)
}

fn decode<K: DeserializeOwned>(line: &[u8]) -> Result<K> {
    let Line::Modified(object) = serde_json::from_slice(line)?;
    Ok(object)
}

fn row(pod: &PodLite, interner: &mut Interner) -> Result<PodRow> {
    PodRow::new(pod, interner).context("the pod has a name and a UID")
}

/// A pod of a deployment in a service mesh with a second sidecar, 10 KB on the wire.
fn line(ready: bool) -> Vec<u8> {
    let pod = lab::pod("orders-6c9f8d7b5-x2x7q").container("app").port("http", 8080).port("metrics", 9090);
    let pod = pod.container("exporter").port("exporter", 9187).container("cache").port("cache", 6379);
    let pod = pod.label("app", "orders").label("app.kubernetes.io/part-of", "shop").label("tier", "backend");
    let pod = pod.label("pod-template-hash", "6c9f8d7b5").label("topology.kubernetes.io/zone", "zone-1");
    let pod = pod.annotation("mesh.example/inject", "enabled").of_replica_set("orders-6c9f8d7b5").bulky();
    let pod = if ready { pod.ready() } else { pod.unready() };
    let version = if ready { 1_000_001 } else { 1_000_002 };
    let object = pod.as_watched("shop", "5f0bd6a4-6d1b-4d2b-9e35-3c8f2f7c9a12", version);
    // As the server writes it: the type first, so that the object is decoded as it is read.
    format!(r#"{{"type":"MODIFIED","object":{object}}}"#).into_bytes()
}

/// The Lease of a node as it is renewed, with what the API server adds: a tenth of a thousand nodes a second.
fn lease_line() -> Vec<u8> {
    let owner = json!({ "apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "5f0bd6a4-6d1b-4d2b-9e35-3c8f2f7c9a14" });
    let fields = json!({ "f:metadata": { "f:ownerReferences": { ".": {}, "k:{\"uid\":\"5f0bd6a4\"}": {} } },
        "f:spec": { "f:holderIdentity": {}, "f:leaseDurationSeconds": {}, "f:renewTime": {} } });
    let object = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": "node-1", "namespace": "kube-node-lease", "uid": "5f0bd6a4-6d1b-4d2b-9e35-3c8f2f7c9a15",
            "resourceVersion": "1000003", "creationTimestamp": "2026-01-05T08:00:00Z", "ownerReferences": [owner],
            "managedFields": [{
                "apiVersion": "coordination.k8s.io/v1", "fieldsType": "FieldsV1", "fieldsV1": fields,
                "manager": "kubelet", "operation": "Update", "time": "2026-01-05T08:00:00Z",
            }],
        },
        "spec": { "holderIdentity": "node-1", "leaseDurationSeconds": 40, "renewTime": "2026-01-05T08:00:00.123456Z" },
    });
    format!(r#"{{"type":"MODIFIED","object":{object}}}"#).into_bytes()
}

/// A Node, which is some twenty kilobytes for its images and changes every five minutes.
fn node_line() -> Vec<u8> {
    let image = |number: u32| {
        let name = format!("registry.example/some/where/image-{number}");
        json!({ "names": [format!("{name}@sha256:{}", "0a".repeat(32)), format!("{name}:v1.2.3")], "sizeBytes": 123_456_789 })
    };
    let object = json!({
        "metadata": { "name": "node-1", "resourceVersion": "1000004", "labels": { "kubernetes.io/hostname": "node-1" } },
        "spec": { "podCIDR": "10.0.1.0/24", "taints": [{ "key": "dedicated", "value": "a", "effect": "NoSchedule" }] },
        "status": { "images": (0..50).map(image).collect::<Vec<_>>() },
    });
    format!(r#"{{"type":"MODIFIED","object":{object}}}"#).into_bytes()
}

/// A Service with a named port, which has to be looked up on each pod.
fn view() -> Result<View> {
    let service: ServiceLite = serde_json::from_value(json!({
        "metadata": { "name": "orders", "namespace": "shop", "uid": "5f0bd6a4-6d1b-4d2b-9e35-3c8f2f7c9a13" },
        "spec": {
            "selector": { "app": "orders" }, "ipFamilies": ["IPv4"],
            "ports": [{ "name": "http", "port": 80, "targetPort": "http" }],
        },
    }))?;
    Ok(View::new(Source::new(&service)?, &Settings::default()))
}

/// What a row takes, by the growth of this process: three pods share a template, as in a small deployment.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn bytes_per_row(count: usize) -> Result<f64> {
    let template: Value = serde_json::from_slice(&line(true))?;
    let template = template.get("object").context("the line has an object")?;
    let (mut interner, mut rows) = (Interner::default(), HashMap::<ByName, PodRow>::new());
    let before = resident()?;
    for number in 0..count {
        let mut pod: PodLite = PodLite::deserialize(template)?;
        let deployment = number / 3;
        let name = format!("orders-{deployment}-6c9f8d7b5-x{number:05}");
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert("app".into(), format!("orders-{deployment}"));
        labels.insert("pod-template-hash".into(), format!("{deployment:010}"));
        pod.metadata.uid = Some(format!("5f0bd6a4-6d1b-4d2b-9e35-{number:012}"));
        pod.metadata.name = Some(name);
        let row = row(&pod, &mut interner)?;
        rows.insert(row.pod.clone().into(), row);
    }
    let grown = resident()? - before;
    ensure!(rows.len() == count, "the names differ");
    drop(rows);
    Ok(grown / count as f64)
}

/// The resident memory of this process in bytes.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}
