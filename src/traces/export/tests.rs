use std::time::Duration;

use machine::{Cause, Timestamp};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::Sampler;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::transport::ClientTlsConfig;

use super::Exporter;
use crate::failover::Failover;
use crate::managed::Key;
use crate::metrics::SpansDropped;
use crate::traces::Settings;

/// Far more than a try and the pause after it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A collector that takes connections and says nothing, neither in TLS nor in HTTP/2: such a connection is given up.
/// It may belong to a machine that is gone, while the next one would reach another.
#[tokio::test]
async fn a_connection_on_which_nothing_is_said_is_replaced() {
    for scheme in ["http", "https"] {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("{scheme}://{}", silent.local_addr().unwrap());
        let settings = Settings {
            endpoint: endpoint.parse().unwrap(),
            tls: (scheme == "https").then(ClientTlsConfig::new),
            headers: MetadataMap::new(),
            timeout: Duration::from_millis(300),
            sampler: Sampler::AlwaysOn,
            resource: Resource::builder_empty().build(),
        };
        let lost = SpansDropped::default();
        let (tracer, exporter) = Exporter::start(settings, "https://10.0.0.1", false, &lost).unwrap();
        let key = Key { namespace: "shop".into(), name: "orders".into() };
        tracer.export(Failover::new(key, Timestamp(1), Cause::Unready, tracer.begin()));
        let mut connections = Vec::new();
        while connections.len() < 2 {
            let next = timeout(PATIENCE, silent.accept()).await;
            connections
                .push(next.unwrap_or_else(|_| panic!("{scheme}: no connection after {connections:?}")));
        }
        exporter.stop(Duration::from_millis(100)).await;
    }
}
