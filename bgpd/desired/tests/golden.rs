//! Whole configurations, with what is said about them. `UPDATE_GOLDEN=1` rewrites the answers.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use bgp_desired::{Parsed, Severity, diff, parse, show};

/// Secret files as they might be.
fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("missing.key") => Err(io::ErrorKind::NotFound.into()),
        Some("empty.key") => Ok(b"\n".to_vec()),
        Some("node-key.pem") => Ok(b"-----BEGIN PRIVATE KEY-----\nthe-secret-of\n".to_vec()),
        Some(name) if name.ends_with(".pem") => Ok(b"-----BEGIN CERTIFICATE-----\n".to_vec()),
        _ => Ok(b"the-secret-of-the-file\n".to_vec()),
    }
}

fn cases(folder: &str) -> Vec<(String, PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut cases: Vec<_> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a case is text");
            (name, path, text)
        })
        .collect();
    cases.sort();
    cases
}

fn compare(path: &Path, got: &str) {
    let path = path.with_extension("expected");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, got).expect("the answer can be written");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, wanted, "{}: UPDATE_GOLDEN=1 rewrites it", path.display());
}

#[test]
fn every_fault_is_told_with_its_line_and_what_is_allowed() {
    let mut distinct = BTreeSet::new();
    for (name, path, text) in cases("faults") {
        let faults = parse(&text, &name, &read_secret).expect_err(&name);
        let errors: Vec<_> = faults.iter().filter(|f| f.severity == Severity::Error).collect();
        assert!(!errors.is_empty(), "{name}");
        distinct.extend(errors.iter().map(|fault| (fault.path.clone(), fault.text.clone())));
        let told: String = faults.iter().map(|fault| fault.render()).collect();
        assert!(!told.contains("hunter2"), "{name} tells a secret");
        compare(&path, &told);
    }
    assert!(distinct.len() >= 100, "only {} distinct faults", distinct.len());
}

#[test]
fn good_configurations_are_shown_with_every_value_in_effect() {
    for (name, path, text) in cases("good") {
        let parsed = parse(&text, &name, &read_secret);
        let Parsed { mut desired, warnings } = parsed.unwrap_or_else(|faults| {
            let told: String = faults.iter().map(|fault| fault.render()).collect();
            panic!("{told}");
        });
        let warnings: String = warnings.iter().map(|fault| format!("# {fault}\n")).collect();
        let shown = show(&desired);
        assert!(!shown.contains("the-secret-of"), "{name} shows a secret");
        compare(&path, &format!("{warnings}{shown}"));
        // A hidden key is refused, so that nobody makes it the key.
        let shown = shown.replace("\"(secret)\"", "\"another\"");
        let again = parse(&shown, &name, &read_secret).expect("what is shown can be read").desired;
        let steps = diff(&desired, &again);
        let only_secrets = steps.iter().all(|step| step.text == "password changed");
        assert!(only_secrets, "{name}: {steps:?}");
        if !text.contains("password") {
            // What was left out is shown, and then no longer left out.
            if let Some(bgp) = &mut desired.bgp {
                bgp.listen = Some(bgp.listen());
            }
            assert_eq!(again, desired, "{name}");
        }
    }
}
