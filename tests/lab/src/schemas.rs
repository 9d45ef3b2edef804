//! What fields the objects of a version of Kubernetes have, and of what type.
//!
//! Kubernetes' own Go client carries this, generated from the API, for server-side apply: a list of types, each of which
//! is a scalar, a list or a map, with its fields or the type of its elements. It is read from the module's source, for
//! any version that is released, without a server of that version.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// The types of one version of Kubernetes.
#[derive(Debug)]
pub struct Schemas {
    types: BTreeMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
struct Document {
    types: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    shape: Shape,
}

/// What a value may be; more than one of these for values of any type.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    named_type: Option<String>,
    scalar: Option<Scalar>,
    list: Option<Elements>,
    map: Option<Fields>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scalar {
    String,
    Numeric,
    Boolean,
    Untyped,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Elements {
    element_type: Box<Shape>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(default)]
    fields: Vec<Field>,
    element_type: Option<Box<Shape>>,
}

#[derive(Debug, Deserialize)]
struct Field {
    name: String,
    #[serde(rename = "type")]
    shape: Shape,
}

/// As `go mod download -json` tells it.
#[derive(Deserialize)]
struct Module {
    #[serde(rename = "Dir")]
    folder: PathBuf,
}

impl Schemas {
    /// Those of Kubernetes 1.`minor`. Needs Go; downloads the client of that version, once a machine. Blocks.
    pub fn of(minor: u32) -> Result<Self> {
        let module = format!("k8s.io/client-go@v0.{minor}.0");
        let mut go = Command::new("go");
        go.args(["mod", "download", "-json", &module]).current_dir(std::env::temp_dir()).stdin(Stdio::null());
        let output = go.output().context("cannot start go: install Go 1.26 or later")?;
        let told = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "go mod download {module}: {told}");
        let folder = serde_json::from_str::<Module>(&told)?.folder;
        let source = folder.join("applyconfigurations/internal/internal.go");
        let source = fs::read_to_string(&source).with_context(|| source.display().to_string())?;
        let yaml = source.split('`').nth(1).context("the client's source has no types")?;
        let Document { types } = serde_saphyr::from_str(yaml)?;
        Ok(Self { types: types.into_iter().map(|Named { name, shape }| (name, shape)).collect() })
    }

    /// Whether an object has only fields that its kind has, of the right types. What is required is not known here.
    pub fn check(&self, object: &Value) -> Result<()> {
        let part = |name: &str| object[name].as_str().with_context(|| format!("it has no {name}"));
        let (api_version, kind) = (part("apiVersion")?, part("kind")?);
        let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
        let group = group.split('.').next().unwrap_or(group);
        let name = format!("io.k8s.api.{group}.{version}.{kind}");
        let shape = self.types.get(&name).with_context(|| format!("{api_version} has no kind {kind}"))?;
        self.fits(object, shape, kind)
    }

    fn fits(&self, value: &Value, shape: &Shape, path: &str) -> Result<()> {
        if let Some(name) = &shape.named_type {
            let named = self.types.get(name).with_context(|| format!("{path}: no type {name}"))?;
            return self.fits(value, named, path);
        }
        match (value, shape) {
            (Value::Array(values), Shape { list: Some(elements), .. }) => {
                for (index, value) in values.iter().enumerate() {
                    self.fits(value, &elements.element_type, &format!("{path}[{index}]"))?;
                }
                Ok(())
            }
            (Value::Object(values), Shape { map: Some(Fields { fields, element_type }), .. }) => {
                for (name, value) in values {
                    let path = format!("{path}.{name}");
                    let field = fields.iter().find(|field| field.name == *name).map(|field| &field.shape);
                    let shape = field.or(element_type.as_deref());
                    self.fits(value, shape.with_context(|| format!("{path}: no such field"))?, &path)?;
                }
                Ok(())
            }
            (Value::Null, _)
            | (Value::String(_), Shape { scalar: Some(Scalar::String | Scalar::Untyped), .. })
            | (Value::Number(_), Shape { scalar: Some(Scalar::Numeric | Scalar::Untyped), .. })
            | (Value::Bool(_), Shape { scalar: Some(Scalar::Boolean | Scalar::Untyped), .. }) => Ok(()),
            _ => bail!("{path}: {value} is not of its type"),
        }
    }
}
