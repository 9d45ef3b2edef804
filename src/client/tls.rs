//! The TLS configuration, made anew when its certificate files change.
//!
//! Clusters rotate their CA, and issuers rotate client certificates, by replacing files. They are
//! read at every connect, which is rare and costs two small reads, and compared by content: no
//! interval to wait out, no reliance on modification times (a projected volume swaps symlinks).

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use kube::{Config, client::ConfigExt};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Makes the TLS configuration and keeps the newest that worked.
pub(super) struct TlsSource {
    config: Config,
    ca_file: Option<PathBuf>,
    speaks: Speaks,
    latest: Mutex<Latest>,
}

/// What the client offers to speak.
#[derive(Debug, Clone, Copy)]
pub(super) enum Speaks {
    /// HTTP/2 where there is one; a proxy in between may speak HTTP/1.1 only.
    Any,
    /// HTTP/1.1, where a connection can be upgraded to something else.
    Http1,
}

impl Speaks {
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Self::Http1 => vec![b"http/1.1".to_vec()],
        }
    }
}

struct Latest {
    files: Vec<Option<Vec<u8>>>,
    tls: Arc<ClientConfig>,
}

impl TlsSource {
    /// Reads everything once. The error names the file and what is wrong with it.
    pub(super) fn new(mut config: Config, ca_file: Option<PathBuf>, speaks: Speaks) -> Result<Self, String> {
        // kube's own reloading keeps a CA for a minute; ours needs none.
        config.root_cert_file = None;
        let files = contents(&config, ca_file.as_ref());
        let tls = build(&config, ca_file.as_ref(), &files, speaks)?;
        Ok(Self { config, ca_file, speaks, latest: Mutex::new(Latest { files, tls }) })
    }

    /// The configuration for the next connect. Files that cannot be read or used leave the last good
    /// one in place: a volume may be swapped at this very moment.
    pub(super) fn current(&self) -> Arc<ClientConfig> {
        let files = contents(&self.config, self.ca_file.as_ref());
        // The lock guards plain data; whoever panicked with it left it whole.
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if files != latest.files && files.iter().all(Option::is_some) {
            match build(&self.config, self.ca_file.as_ref(), &files, self.speaks) {
                Ok(tls) => {
                    tracing::info!("certificate files changed: using the new ones");
                    latest.tls = tls;
                }
                Err(reason) => tracing::warn!(reason, "certificate files changed: keeping the old ones"),
            }
            // Also after an error, so that it is said once for each change.
            latest.files = files;
        }
        latest.tls.clone()
    }
}

/// What the CA and client certificate files hold now; `None` for one that cannot be read.
fn contents(config: &Config, ca_file: Option<&PathBuf>) -> Vec<Option<Vec<u8>>> {
    let identity = [&config.auth_info.client_certificate, &config.auth_info.client_key];
    let identity = identity.into_iter().flatten().map(PathBuf::from);
    ca_file.cloned().into_iter().chain(identity).map(|path| std::fs::read(path).ok()).collect()
}

fn build(
    config: &Config,
    ca_file: Option<&PathBuf>,
    files: &[Option<Vec<u8>>],
    speaks: Speaks,
) -> Result<Arc<ClientConfig>, String> {
    let mut config = config.clone();
    if let Some(path) = ca_file {
        let pem = files.first().and_then(Option::as_deref);
        let pem = pem.ok_or_else(|| format!("CA file {} cannot be read", path.display()))?;
        let roots = certificates(pem).map_err(|error| format!("CA file {}: {error}", path.display()))?;
        config.root_cert = Some(roots);
    }
    let mut tls = config.rustls_client_config().map_err(|error| super::explain(&error))?;
    tls.alpn_protocols = speaks.protocols();
    Ok(Arc::new(tls))
}

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() {
        return Err("no certificate in it".into());
    }
    Ok(found.into_iter().map(|certificate| certificate.to_vec()).collect())
}
