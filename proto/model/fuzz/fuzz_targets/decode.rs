//! A text is read or refused; what is accepted is written, and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use margay_model::{Item, Mode, Resource, decode};

fuzz_target!(|text: &[u8]| {
    let manifest = match decode(text, Mode::Lenient) {
        Ok(manifest) => manifest,
        Err(faults) => {
            assert!(!faults.is_empty());
            let _ = faults.to_string();
            return;
        }
    };
    for document in manifest.documents {
        match document.item {
            Item::Resource(resource) => again(resource),
            Item::Kubernetes(object) => {
                if let Some(resource) = object.into_resource().resource {
                    let _ = resource.to_json();
                }
            }
        }
    }
});

fn again(mut resource: Resource) {
    let json = resource.to_json().to_string();
    let read = decode(json.as_bytes(), Mode::Strict).unwrap_or_else(|f| panic!("{json}\n{f}"));
    assert_eq!(read.documents.len(), 1, "{json}");
    assert_eq!(read.documents[0].item, Item::Resource(resource.clone()), "{json}");
    resource.apply_defaults();
    let defaulted = resource.clone();
    resource.apply_defaults();
    assert_eq!(resource, defaulted);
}
