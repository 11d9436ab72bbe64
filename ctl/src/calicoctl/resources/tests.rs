use std::fs;

use super::*;

fn refused(text: &str) -> String {
    let file =
        std::env::temp_dir().join(format!("calicoctl-{}-{}", std::process::id(), text.len()));
    fs::write(&file, text).expect("a file can be written");
    let files =
        Files { file: vec![file.clone()], recursive: false, skip_empty: false, lenient: false };
    let read = read(&files, &Space { namespace: None });
    fs::remove_file(&file).expect("it is there");
    read.expect_err("it is refused").into_text()
}

#[test]
fn faults_are_told_in_the_words_of_the_original() {
    let pool = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: a\nspec:\n";
    let told = refused(&format!("{pool}  cidr: 10.0.0.0/16\n  cidrs: x\n"));
    assert!(
        told.starts_with(
            "failed to execute command: field in document is not recognized or is in the wrong \
             location: cidrs "
        ),
        "{told}"
    );
    let told = refused(&format!("{pool}  cidr: 10.0.0.0/40\n"));
    assert!(
        told.starts_with("failed to execute command: error with field spec.cidr = '10.0.0.0/40' ("),
        "{told}"
    );
    let told = refused(
        "apiVersion: projectcalico.org/v3\nkind: BlockAffinity\nmetadata:\n  name: a\nspec:\n  \
         state: confirmed\n  node: n\n  type: host\n  cidr: 10.1.2.0/26\n  deleted: false\n",
    );
    assert_eq!(told, "failed to execute command: resource type 'BlockAffinity' is not supported");
}

#[test]
fn some_kinds_and_objects_are_out_of_reach() {
    for word in ["blockaffinity", "livemigrations", "endpointslices", "teapot"] {
        let told = kind(word).expect_err("it is refused").into_text();
        assert_eq!(told, format!("resource type '{word}' is not supported"));
    }
    let policy = name_of(Kind::NetworkPolicy, "prod", "knp.default.web");
    let told = allowed(&policy, Action::Apply).expect_err("it is refused");
    assert!(
        told.starts_with(
            "operation Apply is not supported on NetworkPolicy(prod/knp.default.web): "
        ),
        "{told}"
    );
    assert!(allowed(&name_of(Kind::ClusterInformation, "", "default"), Action::Delete).is_err());
    assert_eq!(allowed(&name_of(Kind::NetworkPolicy, "prod", "web"), Action::Delete), Ok(()));
}

#[test]
fn directives_of_a_strategic_merge_are_found_at_any_depth() {
    let patch = serde_json::json!({ "spec": { "rules": [{ "$patch": "replace" }] } });
    assert_eq!(directive(&patch), Some("$patch"));
    assert_eq!(directive(&serde_json::json!({ "spec": { "a": 1 } })), None);
}
