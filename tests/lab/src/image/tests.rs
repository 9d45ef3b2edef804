//! What is packed, with a few bytes in place of the program.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::*;
use crate::Directory;

fn source() -> Source {
    Source { revision: Some("c0ffee".to_owned()), epoch: 1_795_657_441 }
}

fn parts(program: &[u8]) -> Vec<Part> {
    let part = |arch| Part { arch, layer: layer::of(program, b"Apache-2.0").unwrap() };
    Arch::ALL.map(part).into()
}

fn read(layout: &Path, digest: &Value) -> Vec<u8> {
    let digest = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    fs::read(layout.join("blobs/sha256").join(digest)).unwrap()
}

fn document(layout: &Path, descriptor: &Value) -> Value {
    let content = read(layout, &descriptor["digest"]);
    assert_eq!(descriptor["size"], content.len());
    serde_json::from_slice(&content).unwrap()
}

#[test]
fn an_image_packed_twice_is_the_same_to_the_byte() {
    let place = Directory::create().unwrap();
    let pack = |name: &str| write(&place.path().join(name), &parts(b"program"), &source()).unwrap();
    let (first, second, again) = (pack("first"), pack("second"), pack("first"));
    assert_eq!(first.digest, second.digest);
    let archives = [&first, &second, &again].map(|image| fs::read(&image.archive).unwrap());
    assert!(archives[0] == archives[1], "two archives differ");
    assert!(archives[0] == archives[2], "what was there before shows");
    let other = write(&place.path().join("other"), &parts(b"another"), &source()).unwrap();
    assert_ne!(first.digest, other.digest);
}

#[test]
fn the_layout_names_both_architectures_and_says_what_they_are() {
    let place = Directory::create().unwrap();
    let image = write(place.path(), &parts(b"program"), &source()).unwrap();
    let named: Value = serde_json::from_slice(&fs::read(image.layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(named["manifests"][0]["digest"], image.digest);
    assert_eq!(named["manifests"][0]["annotations"]["io.containerd.image.name"], NAME);

    let index = document(&image.layout, &named["manifests"][0]);
    let platforms: Vec<_> = index["manifests"].as_array().unwrap().iter().map(|m| &m["platform"]).collect();
    let platform = |arch| json!({"os": "linux", "architecture": arch});
    assert_eq!(platforms, [&platform("amd64"), &platform("arm64")]);

    let manifest = document(&image.layout, &index["manifests"][1]);
    let configuration = document(&image.layout, &manifest["config"]);
    assert_eq!(configuration["architecture"], "arm64");
    assert_eq!(configuration["created"], "2026-11-26T01:44:01Z");
    let labels = json!({
        "org.opencontainers.image.title": "zen-lead",
        "org.opencontainers.image.description":
            "Routes a Service to exactly one Ready pod, and fails over in milliseconds",
        "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.created": "2026-11-26T01:44:01Z",
        "org.opencontainers.image.revision": "c0ffee",
    });
    assert_eq!(
        configuration["config"],
        json!({
            "User": "65534:65534",
            "Entrypoint": ["/zen-lead"],
            "Cmd": ["run"],
            "WorkingDir": "/",
            "ExposedPorts": {"8080/tcp": {}, "8081/tcp": {}},
            "Labels": labels,
        })
    );
    assert_eq!(manifest["annotations"], labels);
    assert_eq!(index["annotations"], labels);
}

#[test]
fn the_layer_is_the_program_and_its_licence_of_no_time_and_nobody() {
    let place = Directory::create().unwrap();
    let image = write(place.path(), &parts(b"program"), &source()).unwrap();
    let named: Value = serde_json::from_slice(&fs::read(image.layout.join("index.json")).unwrap()).unwrap();
    let index = document(&image.layout, &named["manifests"][0]);
    let manifest = document(&image.layout, &index["manifests"][0]);
    let compressed = read(&image.layout, &manifest["layers"][0]["digest"]);
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(GzDecoder::new(&*compressed)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        found.insert(entry.path().unwrap().display().to_string(), (header.mode().unwrap(), content));
    }
    let expected = [
        ("LICENSE".to_owned(), (0o644, "Apache-2.0".to_owned())),
        ("zen-lead".to_owned(), (0o755, "program".to_owned())),
    ];
    assert_eq!(found, expected.into());
}

#[test]
fn an_image_that_is_too_big_is_refused() {
    let place = Directory::create().unwrap();
    let compressed = vec![0; COMPRESSED_BYTES_MOST.try_into().unwrap()];
    let layer = layer::Layer { tar: Vec::new(), compressed };
    let refusal =
        write(place.path(), &[Part { arch: Arch::Amd64, layer }], &source()).unwrap_err().to_string();
    assert!(refusal.starts_with("the image for amd64 is 125"), "{refusal}");
    assert!(refusal.contains("at most 12582912 are allowed"), "{refusal}");
}

#[test]
fn a_folder_that_is_no_layout_is_left_alone() {
    let place = Directory::create().unwrap();
    let file = place.path().join("layout/thesis.txt");
    fs::create_dir(place.path().join("layout")).unwrap();
    fs::write(&file, "years of work").unwrap();
    let refusal = write(place.path(), &parts(b"program"), &source()).unwrap_err().to_string();
    assert!(refusal.contains("is no OCI layout"), "{refusal}");
    assert!(file.exists());
}

#[test]
fn the_name_is_the_one_that_is_deployed() {
    let deployment = fs::read_to_string(repository().unwrap().join("deploy/base/deployment.yaml")).unwrap();
    let image =
        crate::documents(&deployment).unwrap()[0]["spec"]["template"]["spec"]["containers"][0]["image"]
            .clone();
    assert_eq!(format!("docker.io/library/{}", image.as_str().unwrap()), NAME);
}

#[test]
fn the_containerfile_says_the_same() {
    let place = Directory::create().unwrap();
    let source = Source { revision: None, ..source() };
    let image = write(place.path(), &parts(b"program"), &source).unwrap();
    let named: Value = serde_json::from_slice(&fs::read(image.layout.join("index.json")).unwrap()).unwrap();
    let index = document(&image.layout, &named["manifests"][0]);
    let manifest = document(&image.layout, &index["manifests"][0]);
    let configuration = &document(&image.layout, &manifest["config"])["config"];

    let text = fs::read_to_string(repository().unwrap().join("deploy/Containerfile")).unwrap();
    let text = text.replace("\\\n", "");
    let shipped = text.split_once("\nFROM scratch\n").expect("the last stage is from scratch").1;
    let argument =
        |instruction: &str| shipped.lines().find_map(|line| line.strip_prefix(instruction)).unwrap();
    assert_eq!(configuration["User"], argument("USER "));
    assert_eq!(configuration["WorkingDir"], argument("WORKDIR "));
    for (key, instruction) in [("Entrypoint", "ENTRYPOINT "), ("Cmd", "CMD ")] {
        assert_eq!(configuration[key], serde_json::from_str::<Value>(argument(instruction)).unwrap());
    }
    let ports: Vec<_> = configuration["ExposedPorts"].as_object().unwrap().keys().collect();
    assert_eq!(ports, argument("EXPOSE ").split_whitespace().collect::<Vec<_>>());
    // The time is the builder's to tell.
    for (name, value) in configuration["Labels"].as_object().unwrap() {
        let said = argument("LABEL ").contains(&format!("{name}={value}"));
        assert!(said || name.ends_with(".created"), "the Containerfile does not say {name}={value}");
    }
    // What `Cargo.toml` asks for at least is what the image is built with.
    assert!(text.contains(concat!("rust:", env!("CARGO_PKG_RUST_VERSION"))), "another compiler");
    for argument in binary::ARGUMENTS.iter().copied().chain(Arch::ALL.map(Arch::triple)) {
        assert!(text.contains(argument), "the Containerfile does not say {argument}");
    }
    // A default would win over the platform that the builder is told.
    assert!(text.contains("\nARG TARGETARCH\n"), "one architecture's program in the image of each");
}
