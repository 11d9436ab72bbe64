//! What users write for each kind is read, written and read again without a change.

use std::{collections::BTreeSet, fs, path::Path};

use margay_model::{Item, Kind, Mode, Resource, decode};

fn examples() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the examples are there")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    let name = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read(path).expect("a readable file"))).collect()
}

fn resources(text: &[u8]) -> Vec<Resource> {
    let manifest = decode(text, Mode::Strict).unwrap_or_else(|faults| panic!("{faults}"));
    let resource = |item| match item {
        Item::Resource(resource) => resource,
        Item::Kubernetes(object) => panic!("{object:?}"),
    };
    manifest.documents.into_iter().map(|document| resource(document.item)).collect()
}

#[test]
fn every_kind_has_an_example() {
    let found: BTreeSet<_> = examples()
        .iter()
        .flat_map(|(_, text)| resources(text))
        .map(|resource| resource.kind())
        .collect();
    assert_eq!(found, Kind::ALL.iter().copied().collect());
}

#[test]
fn what_is_written_reads_back_as_the_same() {
    for (name, text) in examples() {
        for resource in resources(&text) {
            let json = resource.to_json();
            let again = resources(json.to_string().as_bytes());
            assert_eq!(again, vec![resource.clone()], "{name}");
            assert_eq!(again[0].to_json(), json, "{name}");
            assert_eq!(Resource::decode(&resource.encode()).as_ref(), Ok(&resource), "{name}");
        }
    }
}

#[test]
fn defaults_are_valid_and_applied_once() {
    for (name, text) in examples() {
        for mut resource in resources(&text) {
            resource.apply_defaults();
            resource.check().unwrap_or_else(|faults| panic!("{name}: {faults}"));
            let mut twice = resource.clone();
            twice.apply_defaults();
            assert_eq!(twice, resource, "{name}");
        }
    }
}
