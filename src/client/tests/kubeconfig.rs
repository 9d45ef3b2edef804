//! Configuration in files.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::server::Authority;
use crate::client::ClientOptions;

/// A directory that goes away with the test.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("zen-lead-test-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A kubeconfig with its CA, and a token if wanted, in files beside it.
pub(super) struct Kubeconfig {
    pub(super) directory: Directory,
    address: SocketAddr,
    token: bool,
}

impl Kubeconfig {
    pub(super) fn for_server(address: SocketAddr, authority: &Authority) -> Self {
        Self::new(address, &authority.pem)
    }

    pub(super) fn new(address: SocketAddr, ca: &str) -> Self {
        let directory = Directory::new();
        fs::write(directory.join("ca.crt"), ca).unwrap();
        Self { directory, address, token: false }.written()
    }

    pub(super) fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self.written()
    }

    pub(super) fn with_token(mut self, token: &str) -> Self {
        fs::write(self.directory.join("token"), token).unwrap();
        self.token = true;
        self.written()
    }

    fn written(self) -> Self {
        let user = if self.token { "tokenFile: token" } else { "token: fixed" };
        let text = format!(
            "apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u, namespace: shop}}}}]
clusters: [{{name: c, cluster: {{server: \"https://{}\", certificate-authority: ca.crt}}}}]
users: [{{name: u, user: {{{user}}}}}]
",
            self.address
        );
        fs::write(self.directory.join("config"), text).unwrap();
        self
    }

    pub(super) fn options(&self) -> ClientOptions {
        ClientOptions { kubeconfig: Some(self.directory.join("config")), context: None }
    }
}
