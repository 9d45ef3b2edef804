//! What rows cost.

use super::*;
use crate::kinds::fixtures::{POD, decode, merge, pod_json};

#[test]
fn ten_thousand_ports_are_no_quadratic_matter() {
    let ports: Vec<_> = (1..=10_000)
        .map(|i| json!({"name": format!("p{i}"), "containerPort": i, "port": i, "targetPort": format!("p{i}")}))
        .collect();
    let mut hostile = pod_json();
    merge(&mut hostile, &json!({"spec": {"containers": [{"ports": ports}]}}));
    let lite: PodLite = decode(hostile);
    let mut interner = Interner::default();
    let row = PodRow::new(&lite, &mut interner).unwrap();
    let view = view(&json!({"spec": {"ports": ports}}));
    let resolved = resolve(&row, &view).unwrap();
    assert!(resolved.len() == 10_000 && resolved.iter().zip(1..).all(|(port, i)| port.port == i));
    // The same again shares every port.
    let again = PodRow::new(&lite, &mut interner).unwrap();
    assert!(Arc::ptr_eq(&row.ports, &again.ports));
}

/// What the allocator takes for `bytes`: a header of eight, in steps of sixteen.
fn allocated(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16)
}

#[test]
fn a_typical_row_takes_at_most_400_bytes() {
    let lite: PodLite = serde_json::from_str(POD).unwrap();
    let row = PodRow::new(&lite, &mut Interner::default()).unwrap();
    assert_eq!((row.labels.len(), row.ports.len()), (6, 5));
    let counters = 2 * size_of::<usize>();
    let identity = allocated(counters + row.pod.name().len() + 1 + row.pod.uid().len());
    let shared = size_of::<PodRow>() + identity;
    assert!(shared <= 256, "{shared} bytes, labels and ports shared");
    // A pod whose labels are its own, as a StatefulSet's: the set and its place in the table.
    let labels = allocated(counters + row.labels.len() * size_of::<Arc<str>>()) + 2 * size_of::<Arc<str>>();
    assert!(shared + labels <= 400, "{} bytes, with labels of its own", shared + labels);
}

#[test]
fn pods_of_one_template_share_their_texts() {
    let mut interner = Interner::default();
    let mut next = |i: u32| {
        let over = json!({"metadata": {"name": format!("orders-{i}"), "uid": format!("u{i}")}});
        PodRow::new(&pod(&over), &mut interner).unwrap()
    };
    let (one, two) = (next(1), next(2));
    assert!(Arc::ptr_eq(&one.labels, &two.labels) && Arc::ptr_eq(&one.ports, &two.ports));
    assert!(Arc::ptr_eq(&one.namespace, &two.namespace));
    assert!(Arc::ptr_eq(one.node.as_ref().unwrap(), two.node.as_ref().unwrap()));
}

#[test]
fn texts_that_nobody_uses_are_purged() {
    let mut interner = Interner::default();
    let kept = PodRow::new(&pod(&json!({})), &mut interner).unwrap();
    let in_use = interner.len();
    // A day of pods with names of their own in a label, as a StatefulSet's have.
    for i in 0..20_000 {
        let over = json!({"metadata": {"labels": {"statefulset.kubernetes.io/pod-name": format!("x-{i}")}}});
        drop(PodRow::new(&pod(&over), &mut interner));
        assert!(interner.len() <= 1_100, "{}", interner.len());
    }
    interner.purge();
    assert_eq!(interner.len(), in_use);
    assert!(Arc::ptr_eq(&interner.text("shop"), &kept.namespace));
    drop(kept);
    interner.purge();
    assert!(interner.is_empty());
}
