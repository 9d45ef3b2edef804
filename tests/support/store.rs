//! What the API server would not take, but finds in its store: an older one, or one with other rules, took it.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use lab::{Lab, Service};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Stage;

impl Stage {
    /// Gives the Service's first port a target port that the API server would refuse. Only on the shared control
    /// plane.
    pub async fn store_target_port(&self, service: &Service, number: i32) -> Result<()> {
        let mut object = serde_json::to_value(service.get().await?)?;
        object["spec"]["ports"][0]["targetPort"] = json!(number);
        // Of the version that is written, not of the one that is stored.
        object["metadata"].as_object_mut().context("a Service has metadata")?.remove("resourceVersion");
        let key = format!("/registry/services/specs/{}/{}", self.ns.name(), service.name());
        put(&key, &serde_json::to_vec(&object)?).await
    }
}

/// Writes to etcd itself, through its JSON gateway.
async fn put(key: &str, value: &[u8]) -> Result<()> {
    let [key, value] = [key.as_bytes(), value].map(|bytes| ByteString(bytes.to_vec()));
    let body = json!({ "key": key, "value": value }).to_string();
    let port = Lab::shared().await?.control_plane.etcd().port();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = "POST /v3/kv/put HTTP/1.0\r\ncontent-type: application/json\r\n";
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.split(' ').nth(1) == Some("200"), "etcd answered {answer}");
    Ok(())
}
