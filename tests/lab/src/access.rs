//! Who a client under test is: a `ServiceAccount`, what it may do, its token and its kubeconfig.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::PostParams;
use serde_json::json;

use crate::connection::{self, Authority, Token};
use crate::lab::Namespace;
use crate::token;

/// The shortest life of a token that the API server grants is ten minutes; this is the usual one.
const TOKEN_LIFE: Duration = Duration::from_hours(1);

/// A `ServiceAccount`.
#[derive(Clone)]
pub struct Account {
    namespace: Namespace,
    name: String,
}

impl Account {
    pub(crate) async fn create(namespace: &Namespace, name: &str) -> Result<Self> {
        // Manifests applied before may have brought it.
        if namespace.api::<ServiceAccount>().get_opt(name).await?.is_none() {
            let object = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
            namespace.api::<ServiceAccount>().create(&PostParams::default(), &object).await?;
        }
        Ok(Self { namespace: namespace.clone(), name: name.into() })
    }

    /// Its name as a user: that of audit entries.
    #[must_use]
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace.name(), self.name)
    }

    /// A new token for an hour.
    pub async fn token(&self) -> Result<String> {
        self.token_for(TOKEN_LIFE).await
    }

    /// A new token for so long, at least ten minutes.
    pub async fn token_for(&self, life: Duration) -> Result<String> {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(i64::try_from(life.as_secs())?),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let api = self.namespace.api::<ServiceAccount>();
        let answer = api.create_token_request(&self.name, &PostParams::default(), &request).await?;
        Ok(answer.status.context("the answer has a token")?.token)
    }

    /// A new token that is accepted until `end`, which may lie in the past: the API server itself issues none for less
    /// than ten minutes.
    pub async fn token_until(&self, end: SystemTime) -> Result<String> {
        token::until(&self.token().await?, end, &self.namespace.connection().token_key)
    }

    /// A kubeconfig with a new token in it, for the first API server.
    pub async fn kubeconfig(&self) -> Result<PathBuf> {
        self.kubeconfig_for(self.namespace.connection().url(0)).await
    }

    /// The same for another server: an API server of a higher index, or a forwarder.
    pub async fn kubeconfig_for(&self, server: &str) -> Result<PathBuf> {
        let token = Token::Inline(self.token().await?);
        self.write(server, Authority::Inline, &token)
    }

    /// A kubeconfig that points to a token file and to a CA file; returns both paths: kubeconfig, token file.
    ///
    /// [`rotate`] replaces the token.
    pub async fn kubeconfig_with_token_file(&self, server: &str) -> Result<(PathBuf, PathBuf)> {
        self.kubeconfig_with_token_in_file(server, &self.token().await?)
    }

    /// The same with this token in the file.
    pub fn kubeconfig_with_token_in_file(&self, server: &str, token: &str) -> Result<(PathBuf, PathBuf)> {
        let file = self.namespace.connection().new_file(&format!("{}.token", self.name));
        fs::write(&file, token)?;
        Ok((self.write(server, Authority::File, &Token::File(file.clone()))?, file))
    }

    /// A client in its name, for the first API server.
    pub async fn client(&self) -> Result<Client> {
        connection::client_from(&self.kubeconfig().await?).await
    }

    fn write(&self, server: &str, authority: Authority, token: &Token) -> Result<PathBuf> {
        let connection = self.namespace.connection();
        let content = connection.kubeconfig(server, authority, token, self.namespace.name());
        connection.write_kubeconfig(&self.name, &content)
    }
}

/// Replaces a file as the kubelet replaces tokens and certificates: readers see the old content or the new, never half.
pub fn rotate(file: &Path, content: &str) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(&new, file).with_context(|| format!("cannot replace {}", file.display()))
}
