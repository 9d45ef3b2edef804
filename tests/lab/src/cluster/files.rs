//! What the components of a node are told, as files.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::address::{Address, PODS};
use super::{Proxy, image};

/// Writes the files of a node's components into its folder.
pub(crate) fn write(
    folder: &Path,
    node: Address,
    proxy: Proxy,
    cgroup: &str,
    kubeconfig: &Value,
) -> Result<()> {
    let cni = folder.join("cni");
    fs::create_dir_all(&cni)?;
    let documents = [
        ("kubeconfig", kubeconfig),
        ("kubelet.json", &kubelet(folder, node, cgroup)),
        ("kube-proxy.json", &kube_proxy(folder, node, proxy)),
        ("cni/lab.conflist", &container_network(node)),
    ];
    for (name, content) in documents {
        fs::write(folder.join(name), serde_json::to_vec_pretty(content)?)?;
    }
    fs::write(folder.join("containerd.toml"), containerd(&cni))?;
    // Nobody serves DNS in the cluster; a pod is not to ask the machine's resolver instead.
    fs::write(folder.join("resolv.conf"), "nameserver 127.0.0.1\n")?;
    Ok(())
}

fn containerd(cni: &Path) -> String {
    let (pause, cni) = (image::PAUSE, cni.display());
    format!(
        r#"version = 2

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# A sandbox wants a score below its parent's, which needs CAP_SYS_RESOURCE; the root of a virtual machine may lack it.
restrict_oom_score_adj = true
# A profile that is loaded for a container stays in the kernel.
disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{cni}"

# Else a folder in the machine's /opt.
[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"
"#
    )
}

/// Pods are routed (`ptp`), not bridged: over a bridge, the answer of a Service's pod to a client on the same node would
/// not pass the rules that turned the request to it, unless the kernel has `br_netfilter`.
fn container_network(node: Address) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "lab",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": node.pods() }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

fn kubelet(folder: &Path, node: Address, cgroup: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": false,
        "failSwapOn": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "cgroupsPerQOS": true,
        "enforceNodeAllocatable": ["pods"],
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        // The default is a folder in the machine's /usr/libexec.
        "volumePluginDir": "/var/lib/kubelet/plugins",
        "resolvConf": folder.join("resolv.conf"),
        "address": node.ip(),
        // Only the control plane and the other nodes are in its network.
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        // The machine's disk may be as full as its owner likes.
        "evictionHard": { "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "localStorageCapacityIsolation": false,
        // Else a container that is killed again and again ends in a long back-off.
        "featureGates": { "KubeletCrashLoopBackOffMax": true },
        "crashLoopBackOff": { "maxContainerRestartPeriod": "1s" },
    })
}

fn kube_proxy(folder: &Path, node: Address, proxy: Proxy) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": folder.join("kubeconfig") },
        "mode": proxy.name(),
        "hostnameOverride": node.name(),
        "clusterCIDR": PODS,
        "metricsBindAddress": "127.0.0.1:10249",
        // Settings of the machine, which cannot be written from a network namespace.
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    })
}
