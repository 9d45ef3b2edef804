//! What a client needs to know of a control plane: addresses, authority, credentials. Written down as kubeconfigs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

/// How to reach a control plane. It does not keep the control plane alive.
#[derive(Debug)]
pub struct Connection {
    pub(crate) urls: Vec<String>,
    pub(crate) ca_pem: String,
    pub(crate) ca_file: PathBuf,
    /// Signs the tokens of service accounts.
    pub(crate) token_key: PathBuf,
    pub(crate) admin_token: String,
    pub(crate) kubeconfigs: PathBuf,
}

/// Where a kubeconfig takes the authority's certificate from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Authority {
    /// `certificate-authority-data`: the text itself.
    #[default]
    Inline,
    /// `certificate-authority`: a file, which a client may read again.
    File,
}

/// Where a kubeconfig takes the bearer token from.
#[derive(Debug, Clone)]
pub enum Token {
    /// `token`: the text itself.
    Inline(String),
    /// `tokenFile`: a file, which a client reads again as tokens are rotated.
    File(PathBuf),
}

impl Connection {
    /// `https://127.0.0.1:<port>` of an API server.
    ///
    /// # Panics
    /// If there are not that many API servers.
    #[must_use]
    pub fn url(&self, index: usize) -> &str {
        &self.urls[index]
    }

    /// The authority that signed the servers' certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The administrator's token.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// A client of the first API server with the administrator's rights. Use it in the runtime that made it.
    pub async fn client(&self) -> Result<Client> {
        self.client_of(0).await
    }

    /// The same of another API server.
    pub async fn client_of(&self, index: usize) -> Result<Client> {
        let token = Token::Inline(self.admin_token.clone());
        client(self.kubeconfig(self.url(index), Authority::Inline, &token, "default")).await
    }

    /// A kubeconfig's content, for a server that may also be a forwarder in front of the API servers.
    #[must_use]
    pub fn kubeconfig(&self, server: &str, authority: Authority, token: &Token, namespace: &str) -> Value {
        let cluster = match authority {
            Authority::Inline => json!({
                "server": server,
                // Serializes as base64, which is what the field wants.
                "certificate-authority-data": ByteString(self.ca_pem.clone().into_bytes()),
            }),
            Authority::File => json!({ "server": server, "certificate-authority": self.ca_file }),
        };
        let user = match token {
            Token::Inline(token) => json!({ "token": token }),
            Token::File(path) => json!({ "tokenFile": path }),
        };
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "lab", "cluster": cluster }],
            "users": [{ "name": "user", "user": user }],
            "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "user", "namespace": namespace } }],
            "current-context": "lab",
        })
    }

    /// Writes such a content to a new file; JSON is YAML.
    pub fn write_kubeconfig(&self, name: &str, content: &Value) -> Result<PathBuf> {
        let path = self.new_file(&format!("{name}.kubeconfig"));
        fs::write(&path, serde_json::to_vec_pretty(content)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A path that has not been used in this control plane.
    pub(crate) fn new_file(&self, name: &str) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        self.kubeconfigs.join(format!("{}-{name}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }
}

/// A client as of this kubeconfig's content, without kube's retries: a test wants to see the first answer.
pub async fn client(kubeconfig: Value) -> Result<Client> {
    // Whoever links this crate may also link a second crypto provider; then rustls would not choose by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// A client as of a kubeconfig file.
pub async fn client_from(path: &Path) -> Result<Client> {
    client(serde_json::from_slice(&fs::read(path)?)?).await
}
