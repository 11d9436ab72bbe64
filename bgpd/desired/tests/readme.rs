//! The README names every key that the decoder takes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Sources that read keys, without their tests.
fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("sources can be listed") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match () {
            () if name == "tests" || name == "tests.rs" || name == "cluster" => {}
            () if path.is_dir() => sources(&path, out),
            () if name.ends_with(".rs") => out.push(path),
            () => {}
        }
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// What stands in quotes behind `entry(` and its likes.
fn keys(text: &str) -> BTreeSet<String> {
    let calls = ["entry(\"", "get(\"", "section(\""];
    let behind = calls.iter().flat_map(|call| text.split(call).skip(1));
    let quoted = behind.filter_map(|rest| rest.split('"').next());
    quoted.filter(|key| is_key(key)).map(str::to_owned).collect()
}

/// Whether `word` stands in a text, not as a part of a longer key.
fn names(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[test]
fn the_readme_names_every_key_of_the_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("../../README.md")).expect("the README is there");
    let from = readme.find("\n## Configuration").expect("it has this chapter");
    let chapter = &readme[from + 4..];
    let chapter = &chapter[..chapter.find("\n## ").unwrap_or(chapter.len())];
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let keys: BTreeSet<String> =
        files.iter().flat_map(|file| keys(&fs::read_to_string(file).expect("a source"))).collect();
    assert!(
        keys.len() > 80 && keys.contains("not-prefix-set"),
        "keys are read otherwise: {keys:?}"
    );
    let missing: Vec<_> = keys.iter().filter(|key| !names(chapter, key)).collect();
    assert!(missing.is_empty(), "not in the README: {missing:?}");
}
