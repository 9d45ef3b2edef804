//! The keys of the lab's servers: an own authority for each, so that clients verify for real, as they do in production.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// Names under which the API server is reached: directly, through a forwarder on loopback, as from within a pod, and
/// from a node of the lab's cluster.
const SERVER_NAMES: [&str; 6] =
    ["127.0.0.1", "::1", "localhost", "kubernetes.default.svc", "10.96.0.1", "10.200.0.1"];

/// Files for the API server's flags, and the authority for its clients.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) ca_pem: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
    /// Signs the tokens of service accounts.
    pub(crate) token_private_key: PathBuf,
    /// Verifies them.
    pub(crate) token_public_key: PathBuf,
}

impl Keys {
    /// What every API server is told of keys, tokens and its audit log. `root`: where it has its files.
    pub(crate) fn api_server_args(&self, root: &Path, audit_log: &Path) -> [String; 9] {
        [
            format!("--tls-cert-file={}", self.certificate.display()),
            format!("--tls-private-key-file={}", self.private_key.display()),
            format!("--cert-dir={}", root.join("pki").display()),
            format!("--service-account-key-file={}", self.token_public_key.display()),
            format!("--service-account-signing-key-file={}", self.token_private_key.display()),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--token-auth-file={}", root.join("tokens.csv").display()),
            format!("--audit-policy-file={}", root.join("audit-policy.json").display()),
            format!("--audit-log-path={}", audit_log.display()),
        ]
    }

    pub(crate) fn create(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let server = ServerKeys::create("kube-apiserver", &SERVER_NAMES)?;
        let keys = Self {
            ca_file: directory.join("ca.crt"),
            certificate: directory.join("server.crt"),
            private_key: directory.join("server.key"),
            token_private_key: directory.join("token.key"),
            token_public_key: directory.join("token.pub"),
            ca_pem: server.authority,
        };
        fs::write(&keys.ca_file, &keys.ca_pem)?;
        fs::write(&keys.certificate, server.certificate)?;
        fs::write(&keys.private_key, server.private_key)?;
        let token_key = KeyPair::generate()?;
        fs::write(&keys.token_private_key, token_key.serialize_pem())?;
        fs::write(&keys.token_public_key, token_key.public_key_pem())?;
        Ok(keys)
    }
}

/// A server's keys, as PEM, with an authority made for them alone.
#[derive(Debug)]
pub(crate) struct ServerKeys {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) private_key: String,
}

impl ServerKeys {
    /// For a server that is reached under these names.
    pub(crate) fn create(common_name: &str, names: &[&str]) -> Result<Self> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "zen-lead lab");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name.push(DnType::CommonName, common_name);
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = KeyPair::generate()?;
        let certificate = server.signed_by(&server_key, &issuer)?.pem();
        Ok(Self { authority: authority_pem, certificate, private_key: server_key.serialize_pem() })
    }
}
