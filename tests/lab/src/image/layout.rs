//! The OCI image layout: files named by their digests, which name each other.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::{Context as _, Result};
use oci_spec::image::{
    ANNOTATION_CREATED, ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_REF_NAME,
    ANNOTATION_REVISION, ANNOTATION_TITLE, ANNOTATION_VERSION, ConfigBuilder, Descriptor, DescriptorBuilder,
    HistoryBuilder, ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType,
    OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder, Sha256Digest,
};
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::NAME;
use super::arch::Arch;
use super::layer::Layer;
use super::source::Source;

/// nobody, as in `deploy/base/deployment.yaml`.
const USER: &str = "65534:65534";

/// Those for probes and Prometheus; that for debugging is on loopback.
const PORTS: [&str; 2] = ["8080/tcp", "8081/tcp"];

/// One architecture's.
pub(super) struct Part {
    pub(super) arch: Arch,
    pub(super) layer: Layer,
}

/// What was written.
pub(super) struct Written {
    pub(super) digest: String,
    pub(super) sizes: Vec<(Arch, u64)>,
}

/// A folder with a layout.
pub(super) struct Layout {
    directory: PathBuf,
}

impl Layout {
    pub(super) fn create(directory: &Path) -> Result<Self> {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| blobs.display().to_string())?;
        let version = OciLayoutBuilder::default().image_layout_version("1.0.0").build()?;
        fs::write(directory.join("oci-layout"), json(&version)?)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The parts, an index of them, and the file that names that index.
    pub(super) fn write(&self, parts: &[Part], source: &Source) -> Result<Written> {
        let (mut manifests, mut sizes) = (Vec::new(), Vec::new());
        for part in parts {
            let (manifest, size) = self.part(part, source)?;
            manifests.push(manifest);
            sizes.push((part.arch, size));
        }
        let index = ImageIndexBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageIndex)
            .manifests(manifests)
            .annotations(labels(source)?)
            .build()?;
        let mut index = self.blob(MediaType::ImageIndex, &json(&index)?)?;
        let digest = index.digest().to_string();
        // The first is for tools that copy layouts, the second for containerd, which would call the image by the first.
        let names = [(ANNOTATION_REF_NAME, env!("CARGO_PKG_VERSION")), ("io.containerd.image.name", NAME)];
        index.set_annotations(Some(names.map(|(name, value)| (name.to_owned(), value.to_owned())).into()));
        let entry = ImageIndexBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageIndex)
            .manifests([index])
            .build()?;
        fs::write(self.directory.join("index.json"), json(&entry)?)?;
        Ok(Written { digest, sizes })
    }

    /// One architecture's manifest, and the size of all that a node pulls for it.
    fn part(&self, part: &Part, source: &Source) -> Result<(Descriptor, u64)> {
        let layer = self.blob(MediaType::ImageLayerGzip, &part.layer.compressed)?;
        let configuration = ImageConfigurationBuilder::default()
            .created(source.created()?)
            .architecture(part.arch.in_image())
            .os(Os::Linux)
            .config(
                ConfigBuilder::default()
                    .user(USER)
                    .exposed_ports(PORTS.map(str::to_owned))
                    .entrypoint(["/zen-lead".to_owned()])
                    .cmd(["run".to_owned()])
                    .working_dir("/")
                    .labels(labels(source)?)
                    .build()?,
            )
            .rootfs(
                RootFsBuilder::default()
                    .typ("layers")
                    .diff_ids([format!("sha256:{}", sha256(&part.layer.tar))])
                    .build()?,
            )
            .history([HistoryBuilder::default()
                .created(source.created()?)
                .created_by("cargo lab image")
                .build()?])
            .build()?;
        let configuration = self.blob(MediaType::ImageConfig, &json(&configuration)?)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(configuration.clone())
            .layers([layer.clone()])
            .annotations(labels(source)?)
            .build()?;
        let mut manifest = self.blob(MediaType::ImageManifest, &json(&manifest)?)?;
        let platform = PlatformBuilder::default().architecture(part.arch.in_image()).os(Os::Linux).build()?;
        manifest.set_platform(Some(platform));
        let size = manifest.size() + configuration.size() + layer.size();
        Ok((manifest, size))
    }

    /// Writes a file under its digest.
    fn blob(&self, media_type: MediaType, content: &[u8]) -> Result<Descriptor> {
        let digest = sha256(content);
        let path = self.directory.join("blobs/sha256").join(&digest);
        fs::write(&path, content).with_context(|| path.display().to_string())?;
        let descriptor = DescriptorBuilder::default()
            .media_type(media_type)
            .digest(Sha256Digest::from_str(&digest)?)
            .size(u64::try_from(content.len())?)
            .build()?;
        Ok(descriptor)
    }
}

/// The specification's labels: in the configuration, where tools look, and on manifest and index, which a registry
/// shows.
fn labels(source: &Source) -> Result<HashMap<String, String>> {
    let created = source.created()?;
    let known = [
        (ANNOTATION_TITLE, "zen-lead"),
        (ANNOTATION_DESCRIPTION, "Routes a Service to exactly one Ready pod, and fails over in milliseconds"),
        (ANNOTATION_VERSION, env!("CARGO_PKG_VERSION")),
        (ANNOTATION_LICENSES, "Apache-2.0"),
        (ANNOTATION_CREATED, &created),
    ];
    let revision = source.revision.as_deref().map(|revision| (ANNOTATION_REVISION, revision));
    let labels = known.into_iter().chain(revision);
    Ok(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// By way of a value, which sorts the names: those of the specification's types come in any order.
fn json(document: &impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&serde_json::to_value(document)?)?)
}

/// In hexadecimal digits.
fn sha256(content: &[u8]) -> String {
    let digest = digest(&SHA256, content);
    let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}
