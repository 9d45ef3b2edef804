//! Tokens of service accounts that the API server would not issue, signed with its own key.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

/// API servers go on accepting a token for so long after its end, for clocks that differ.
const GRACE: Duration = Duration::from_mins(1);

/// The same token (a JWT: header, claims and signature), accepted until `end`.
pub(crate) fn until(token: &str, end: SystemTime, key: &Path) -> Result<String> {
    let mut parts = token.split('.');
    let (header, claims) = parts.next().zip(parts.next()).context("a token has three parts")?;
    let mut claims: Value = serde_json::from_slice(&decoded(claims)?)?;
    claims["exp"] = json!((end - GRACE).duration_since(UNIX_EPOCH)?.as_secs());
    let signed = format!("{header}.{}", encoded(serde_json::to_vec(&claims)?)?);
    // ES256, as the header says that was copied: the lab's key is one of the curve P-256.
    let (key, random) = (KeyPair::from_pem(&fs::read_to_string(key)?)?, SystemRandom::new());
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random);
    let key = key.ok().context("the lab's key is not of the curve P-256")?;
    let signature = key.sign(&random, signed.as_bytes()).ok().context("ring does not sign")?;
    Ok(format!("{signed}.{}", encoded(signature.as_ref().to_vec())?))
}

/// Base64 for URLs, which differs from the ordinary one in two characters and the padding.
fn encoded(bytes: Vec<u8>) -> Result<String> {
    let text = serde_json::to_value(ByteString(bytes))?;
    let text = text.as_str().context("base64")?;
    Ok(text.trim_end_matches('=').replace('+', "-").replace('/', "_"))
}

fn decoded(text: &str) -> Result<Vec<u8>> {
    let mut text = text.replace('-', "+").replace('_', "/");
    text.extend(std::iter::repeat_n('=', (4 - text.len() % 4) % 4));
    let ByteString(bytes) = serde_json::from_value(json!(text))?;
    Ok(bytes)
}
