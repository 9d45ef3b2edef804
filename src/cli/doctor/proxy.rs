//! How nodes route: kube-proxy's mode, and how often it programs changes, where that can be read.

use k8s_openapi::api::core::v1::ConfigMap;
use machine::Micros;
use serde::Deserialize;

use super::finding::{Evidence, Finding, seconds};
use crate::annotations::duration;
use crate::cli::Error;
use crate::cli::cluster::{Cluster, answered, request};

/// What kube-proxy does unless it is told otherwise, in iptables and nftables mode.
const DEFAULT_MIN_SYNC: Micros = Micros::from_secs(1);

/// Where kubeadm puts its configuration: namespace, `ConfigMap`, key.
const PLACE: (&str, &str, &str) = ("kube-system", "kube-proxy", "config.conf");

/// kube-proxy, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// The mode, if it is known.
    pub(super) mode: Option<String>,
    /// The least time between two changes that it programs.
    pub(super) min_sync: Micros,
    /// Why the default is taken for it.
    pub(super) assumed: Option<String>,
}

/// The fields of its configuration that matter.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Configuration {
    mode: String,
    iptables: Paced,
    nftables: Paced,
    ipvs: Paced,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Paced {
    min_sync_period: String,
}

impl Proxy {
    /// Reads it where kubeadm puts it.
    pub(super) async fn read(cluster: &Cluster) -> Result<Self, Error> {
        let (namespace, name, key) = PLACE;
        let api = cluster.api::<ConfigMap>(Some(namespace));
        let request = request::<ConfigMap>("get", Some(namespace), Some(name));
        match answered(request, api.get_opt(name)).await {
            Ok(None) => {
                Ok(Self::assumed(format!("there is no ConfigMap {namespace}/{name}, as kubeadm makes it")))
            }
            Ok(Some(found)) => {
                let text = found.data.and_then(|mut data| data.remove(key));
                Ok(text.as_deref().and_then(Self::parse).unwrap_or_else(|| {
                    Self::assumed(format!("ConfigMap {namespace}/{name} has no {key} that can be read"))
                }))
            }
            Err(error) if error.is_forbidden() => Ok(Self::assumed(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Nothing is known, for this reason.
    pub(super) fn assumed(why: String) -> Self {
        Self { mode: None, min_sync: DEFAULT_MIN_SYNC, assumed: Some(why) }
    }

    /// What its configuration says; nothing if that is no configuration.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let read: Configuration = serde_saphyr::from_str(text).ok()?;
        // On Linux.
        let mode = if read.mode.is_empty() { "iptables" } else { &*read.mode };
        let (paced, default) = match mode {
            "nftables" => (&read.nftables, DEFAULT_MIN_SYNC),
            "ipvs" => (&read.ipvs, Micros::ZERO),
            _ => (&read.iptables, DEFAULT_MIN_SYNC),
        };
        // "0s" is what stands there if nobody has set it: kubeadm writes the defaults out.
        let asked = duration::parse(&paced.min_sync_period).ok().filter(|asked| *asked > Micros::ZERO);
        Some(Self { mode: Some(mode.to_owned()), min_sync: asked.unwrap_or(default), assumed: None })
    }

    /// In a failover's sum.
    pub(super) fn words(&self) -> String {
        self.mode.as_ref().map_or_else(|| "kube-proxy".to_owned(), |mode| format!("kube-proxy ({mode})"))
    }

    /// What the sum takes for granted.
    pub(super) fn note(&self) -> Option<String> {
        let why = self.assumed.as_ref()?;
        Some(format!(
            "kube-proxy's mode is not known, and its minSyncPeriod is taken for {}: {why}",
            seconds(self.min_sync)
        ))
    }
}

/// It lets the second of two changes wait for longer than it has to.
pub(super) fn slow(proxy: &Proxy) -> Option<Finding> {
    let mode = proxy.mode.as_deref().filter(|_| proxy.min_sync > DEFAULT_MIN_SYNC)?;
    let (namespace, name, _) = PLACE;
    Some(Finding {
        check: "slow-kube-proxy",
        why: format!(
            "nodes take the second of two changes only {} after the first, whichever Services they are of",
            seconds(proxy.min_sync)
        ),
        evidence: vec![Evidence::new(
            format!("configmap/{name} -n {namespace}"),
            format!("{mode}.minSyncPeriod"),
            seconds(proxy.min_sync),
        )],
        remedy: format!("{mode}.minSyncPeriod: 1s, which is the default, and then a restart of kube-proxy"),
    })
}
