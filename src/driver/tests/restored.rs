//! I10: lists of a store that was restored.

use serde_json::{Value, json};

use super::super::Feed;
use super::{driver, hear, listed, server};
use crate::kinds::fixtures::{decode, pod, service, with};
use crate::watch::Change;

/// A store restored with its count raised, as the manuals of etcd advise: lists are newer than ever, and some objects
/// older than known.
#[tokio::test(start_paused = true)]
async fn i10_a_list_with_an_older_object_than_known_is_of_a_restored_store() {
    listed_otherwise(Some("900")).await;
}

/// Without that, and when as much has been written since: the same versions come again.
#[tokio::test(start_paused = true)]
async fn i10_a_list_with_the_same_version_of_something_else_is_of_a_restored_store() {
    listed_otherwise(None).await;
}

/// The slice's list has another leader than was written, in this version or in the same.
async fn listed_otherwise(version: Option<&str>) {
    let server = server(100);
    let mut driver = driver(&server);
    let source = service(&json!({ "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] } }));
    let second = pod(&json!({
        "metadata": { "name": "orders-1", "uid": "a1", "creationTimestamp": "2025-11-20T09:00:00Z" },
    }));
    driver.lists[0].slices.is_complete = true;
    for change in listed(vec![source]) {
        driver.told(Feed::Services(0, change));
    }
    for change in listed(vec![pod(&json!({})), second]) {
        driver.told(Feed::Pods(0, change));
    }
    hear(&mut driver).await;
    let (sent, published) = server.slices.lock().unwrap().last().cloned().unwrap();
    assert_eq!(sent["endpoints"][0]["targetRef"]["name"], "orders-0");
    driver.told(Feed::Slices(0, Change::Applied(decode(published.clone()))));
    hear(&mut driver).await;

    let version = version.map_or_else(|| published["metadata"]["resourceVersion"].clone(), Value::from);
    let former = json!({
        "metadata": {
            "resourceVersion": version,
            "annotations": {
                "zen-lead.io/leader-pod-name": "orders-1", "zen-lead.io/leader-pod-uid": "a1",
                "zen-lead.io/epoch": "77",
            },
        },
        "endpoints": [{
            "addresses": ["10.0.7.21"], "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "name": "orders-1", "uid": "a1" },
        }],
    });
    let restored = decode(with(published, &former));
    let [relisting, page, _] = listed(vec![restored]);
    for change in [relisting, page, Change::Listed { version: 1_000_000, restored: false }] {
        driver.told(Feed::Slices(0, change));
    }
    hear(&mut driver).await;
    let (sent_again, _) = server.slices.lock().unwrap().last().cloned().unwrap();
    let epoch = |slice: &Value| {
        let text = slice["metadata"]["annotations"]["zen-lead.io/epoch"].as_str().unwrap();
        text.parse::<u64>().unwrap()
    };
    assert_eq!(sent_again["metadata"]["resourceVersion"], version, "written to what there is: {sent_again}");
    assert_eq!(sent_again["endpoints"][0]["targetRef"]["name"], "orders-1", "who is found and fit stays");
    assert!(epoch(&sent_again) > epoch(&sent), "in a new term");
}
