//! What makes real pods large.

use serde_json::{Value, json};

/// Environment, probes, resources and mounts, as deployments in practice have them.
pub(crate) fn enlarge_container(container: &mut Value) {
    let environment: Vec<Value> = (0..14)
        .map(|n| json!({ "name": format!("ORDERS_SETTING_{n}"), "value": format!("https://orders-{n}.shop.example/v1") }))
        .collect();
    container["env"] = json!(environment);
    container["resources"] = json!({ "requests": { "cpu": "250m", "memory": "256Mi" }, "limits": { "cpu": "1", "memory": "512Mi" } });
    for (probe, path) in
        [("livenessProbe", "/live"), ("readinessProbe", "/ready"), ("startupProbe", "/started")]
    {
        container[probe] = json!({
            "httpGet": { "path": path, "port": 8080, "scheme": "HTTP" },
            "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 3, "successThreshold": 1,
        });
    }
    container["volumeMounts"] = json!([
        { "name": "settings", "mountPath": "/etc/orders", "readOnly": true },
        { "name": "scratch", "mountPath": "/var/tmp/orders" },
    ]);
}

/// The second container that a service mesh adds.
pub(crate) fn proxy_container() -> Value {
    let mut container = json!({
        "name": "mesh-proxy", "image": "registry.example/mesh/proxy:2.14",
        "ports": [{ "name": "mesh-admin", "containerPort": 4191, "protocol": "TCP" }],
        "securityContext": { "runAsNonRoot": true, "runAsUser": 2102, "allowPrivilegeEscalation": false },
    });
    enlarge_container(&mut container);
    container
}

pub(crate) fn volumes() -> Value {
    json!([
        { "name": "settings", "configMap": { "name": "orders-settings", "defaultMode": 420 } },
        { "name": "scratch", "emptyDir": { "sizeLimit": "64Mi" } },
    ])
}

/// A fair share of every object on the wire, and of no use to anyone here.
pub(crate) fn managed_fields() -> Value {
    let environment: serde_json::Map<String, Value> = (0..14)
        .map(|n| {
            (
                format!("k:{{\"name\":\"ORDERS_SETTING_{n}\"}}"),
                json!({ ".": {}, "f:name": {}, "f:value": {} }),
            )
        })
        .collect();
    let created = json!({
        "f:metadata": { "f:labels": { ".": {}, "f:app": {}, "f:pod-template-hash": {} } },
        "f:spec": { "f:containers": { "k:{\"name\":\"app\"}": { ".": {}, "f:image": {}, "f:env": environment } } },
    });
    json!([
        { "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
          "time": "2026-01-05T08:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": created },
        { "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "subresource": "status",
          "time": "2026-01-05T08:00:09Z", "fieldsType": "FieldsV1",
          "fieldsV1": { "f:status": { "f:phase": {}, "f:podIP": {}, "f:podIPs": {}, "f:conditions": {} } } },
    ])
}
