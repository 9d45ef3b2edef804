//! The way to the API server: where it is, who we are, and two connections to it.
//!
//! kube's own client is not used below its `Client` type, because its defaults can blind a failover
//! controller for five minutes: it speaks HTTP/1.1 only, so a dead peer is noticed by nothing but the
//! watch's own timeout. Here every request travels on one HTTP/2 connection that is pinged while
//! idle (`link`), connects are bounded and hedged (`dial`), and rotated tokens and CAs are taken
//! up (`token`, `tls`).
//!
//! Watches and writes have a connection each, so that neither can stall the other.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use http::Request;
use kube::{
    Config,
    client::ConfigExt,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tokio::sync::Notify;
use tower::{BoxError, ServiceBuilder};

mod dial;
mod explain;
mod link;
#[cfg(test)]
mod tests;
mod tls;
mod token;

pub use explain::explain;
pub(crate) use explain::explain_any;
pub(crate) use link::Lane;

use dial::Dialer;
use link::Link;
use tls::{Speaks, TlsSource};
use token::{TokenFile, TokenLayer};

/// Longest wait for the answer to the first request. Three connects fit in.
const WARM_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection without requests gets one after this time: an API server closes those that had none for 90 s,
/// whatever pings they carry, and many a proxy those of a minute.
const IDLE_AT_MOST: Duration = Duration::from_secs(45);

/// Time between tries to open it anew.
const WARM_RETRY: Duration = Duration::from_secs(1);

/// Where to find the API server.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// This kubeconfig. `None`: `$KUBECONFIG`, else the pod's service account, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// This context of the kubeconfig; given, the pod's service account is not used.
    pub context: Option<String>,
}

/// The API server as seen by the controller. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Clients {
    /// For lists and watches.
    pub watch: kube::Client,
    /// For writes, the Lease among them.
    pub write: kube::Client,
    /// Namespace of the kubeconfig's context or of the pod.
    pub default_namespace: String,
    /// URL of the API server, for logs.
    pub server: String,
    /// Told whenever the connection for writes has ended.
    write_ended: Arc<Notify>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Clients {
    /// Clients over connections that somebody else looks after.
    #[must_use]
    pub fn over(watch: kube::Client, write: kube::Client, server: String) -> Self {
        let default_namespace = write.default_namespace().to_owned();
        Self { watch, write, default_namespace, server, write_ended: Arc::default() }
    }

    /// Opens both connections by asking for `/version`, which every authenticated user may read.
    ///
    /// Any HTTP answer makes a connection warm, so an error does not mean that watches will fail;
    /// nor need anybody call this. Bounded by 5 s.
    pub async fn warm(&self) -> Result<(), kube::Error> {
        let (watch, write) = futures::join!(version(&self.watch), version(&self.write));
        watch.and(write)
    }

    /// Opens the connection for writes, keeps it open while nothing is written, and opens it anew when it has ended,
    /// so that no failover waits for a connect. Watches do that for theirs. Never returns.
    pub async fn keep_warm(&self) {
        loop {
            // A refusal has come over a connection as well.
            while !matches!(version(&self.write).await, Ok(()) | Err(kube::Error::Api(_))) {
                tokio::time::sleep(WARM_RETRY).await;
            }
            // Both are reasons to ask again.
            let _ = tokio::time::timeout(IDLE_AT_MOST, self.write_ended.notified()).await;
        }
    }
}

/// Reads the configuration and makes the clients. No packet is sent: a server that is down is no
/// error here (see [`Clients::warm`]).
pub async fn connect(options: &ClientOptions) -> Result<Clients, ConnectError> {
    // Fails only if a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let source = Source::find(options).await?;
    source.warn_about_proxy();
    Clients::new(&source)
}

/// A client over HTTP/1.1, which alone has what makes a connection something else: a forwarded port. No packet is sent.
pub(crate) async fn connect_for_upgrades(options: &ClientOptions) -> Result<kube::Client, ConnectError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let source = Source::find(options).await?;
    source.client(Link::http1(source.dialer(Speaks::Http1)?))
}

/// Why no client could be made. Every message says what was wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig is missing, unreadable, or contradicts itself.
    #[error("kubeconfig {from}: {error}; {remedy}")]
    Kubeconfig {
        /// Which file, or where it was looked for.
        from: String,
        /// What was wrong.
        #[source]
        error: KubeconfigError,
        /// What to do.
        remedy: &'static str,
    },
    /// The service account of the pod cannot be used.
    #[error(
        "service account of this pod: {0}; check automountServiceAccountToken, or give --kubeconfig FILE"
    )]
    InCluster(#[source] InClusterError),
    /// Neither a kubeconfig nor a service account.
    #[error(
        "no API server configured: not in a pod, and no kubeconfig ({0}); give --kubeconfig FILE or set KUBECONFIG"
    )]
    Nowhere(#[source] KubeconfigError),
    /// The CA or the client certificate cannot be used.
    #[error("TLS for {server}: {reason}; check the certificate files in {from}")]
    Tls {
        /// URL of the API server.
        server: String,
        /// Where the configuration came from.
        from: String,
        /// What was wrong.
        reason: String,
    },
    /// The token or the credential plugin cannot be used.
    #[error("credentials for {server}: {reason}; check the user in {from}")]
    Credentials {
        /// URL of the API server.
        server: String,
        /// Where the configuration came from.
        from: String,
        /// What was wrong.
        reason: String,
    },
}

/// A configuration and where it came from.
struct Source {
    config: Config,
    /// File of the CA, if it is a file; `kube::Config` keeps only its bytes.
    ca_file: Option<PathBuf>,
    from: String,
}

impl Source {
    /// The order of controller-runtime: flag, `$KUBECONFIG`, service account, `~/.kube/config`.
    async fn find(options: &ClientOptions) -> Result<Self, ConnectError> {
        if let Some(path) = &options.kubeconfig {
            let from = path.display().to_string();
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| unreadable(&from, error))?;
            return Self::from_kubeconfig(kubeconfig, options, from).await;
        }
        let named = Kubeconfig::from_env().map_err(|error| unreadable("of $KUBECONFIG", error))?;
        if let Some(kubeconfig) = named {
            return Self::from_kubeconfig(kubeconfig, options, "of $KUBECONFIG".into()).await;
        }
        if options.context.is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
            return Self::in_cluster();
        }
        let kubeconfig = Kubeconfig::read().map_err(ConnectError::Nowhere)?;
        Self::from_kubeconfig(kubeconfig, options, "~/.kube/config".into()).await
    }

    fn in_cluster() -> Result<Self, ConnectError> {
        let config = Config::incluster_env().map_err(ConnectError::InCluster)?;
        Ok(Self { ca_file: config.root_cert_file.clone(), config, from: "the pod's service account".into() })
    }

    async fn from_kubeconfig(
        kubeconfig: Kubeconfig,
        options: &ClientOptions,
        from: String,
    ) -> Result<Self, ConnectError> {
        let context = options.context.clone().or_else(|| kubeconfig.current_context.clone());
        let ca_file = context.as_deref().and_then(|context| ca_file(&kubeconfig, context));
        let choice = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &choice)
            .await
            .map_err(|error| unusable(&from, error))?;
        Ok(Self { config, ca_file, from })
    }

    fn server(&self) -> String {
        self.config.cluster_url.to_string()
    }

    fn dialer(&self, speaks: Speaks) -> Result<Dialer, ConnectError> {
        let tls = TlsSource::new(self.config.clone(), self.ca_file.clone(), speaks);
        tls.and_then(|tls| Dialer::new(&self.config, tls)).map_err(|reason| ConnectError::Tls {
            server: self.server(),
            from: self.from.clone(),
            reason,
        })
    }

    fn client(&self, link: Link) -> Result<kube::Client, ConnectError> {
        client(&self.config, link).map_err(|reason| ConnectError::Credentials {
            server: self.server(),
            from: self.from.clone(),
            reason,
        })
    }

    /// A proxy between a controller and its API server is rare, and kube does not support one
    /// without further dependencies. Silence would look like a firewall problem.
    fn warn_about_proxy(&self) {
        if let Some(proxy) = &self.config.proxy_url {
            tracing::warn!(
                proxy = %proxy.host().unwrap_or_default(),
                server = self.server(),
                "proxies (HTTPS_PROXY, proxy-url) are not used: connecting directly"
            );
        }
    }
}

fn unreadable(from: &str, error: KubeconfigError) -> ConnectError {
    ConnectError::Kubeconfig { from: from.into(), error, remedy: "give a readable file with --kubeconfig" }
}

fn unusable(from: &str, error: KubeconfigError) -> ConnectError {
    let remedy = match &error {
        KubeconfigError::CurrentContextNotSet | KubeconfigError::LoadContext(_) => {
            "choose one of its contexts with --context"
        }
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            "correct certificate-authority of its cluster"
        }
        _ => "correct the file",
    };
    ConnectError::Kubeconfig { from: from.into(), error, remedy }
}

/// The CA file of a context's cluster. Inline data wins over a file, as in kube.
fn ca_file(kubeconfig: &Kubeconfig, context: &str) -> Option<PathBuf> {
    let context = kubeconfig.contexts.iter().find(|named| named.name == context)?.context.as_ref()?;
    let named = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?;
    let cluster = named.cluster.as_ref()?;
    if cluster.certificate_authority_data.as_ref().is_some_and(|data| !data.is_empty()) {
        return None;
    }
    cluster.certificate_authority.as_ref().map(PathBuf::from)
}

impl Clients {
    fn new(source: &Source) -> Result<Self, ConnectError> {
        let dialer = source.dialer(Speaks::Any)?;
        let (watch, write) = (Link::new(dialer.clone()), Link::new(dialer));
        let write_ended = write.ended();
        let (watch, write) = (source.client(watch)?, source.client(write)?);
        let default_namespace = source.config.default_namespace.clone();
        Ok(Self { watch, write, default_namespace, server: source.server(), write_ended })
    }
}

/// kube's client over a link of its own: base URL and impersonation, then the credentials.
fn client(config: &Config, link: Link) -> Result<kube::Client, String> {
    let one_line = |error: kube::Error| explain(&error);
    let stack = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer().map_err(one_line)?);
    let namespace = config.default_namespace.clone();
    if let Some(path) = &config.auth_info.token_file {
        let file = TokenFile::read(path.into()).map_err(|error| format!("token file {path}: {error}"))?;
        return Ok(kube::Client::new(stack.layer(TokenLayer::new(file)).service(link), namespace));
    }
    let auth = config.auth_layer().map_err(one_line)?;
    Ok(kube::Client::new(stack.option_layer(auth).map_err(BoxError::from).service(link), namespace))
}

async fn version(client: &kube::Client) -> Result<(), kube::Error> {
    let request = Request::get("/version").body(Vec::new()).map_err(kube::Error::HttpError)?;
    let answer = tokio::time::timeout(WARM_TIMEOUT, client.request_text(request)).await;
    answer.map_err(|elapsed| kube::Error::Service(elapsed.into()))?.map(drop)
}
