//! Resources on the command line, against a fake daemon that keeps them.

mod fake;

use std::{fs, io::Write as _, path::PathBuf, process::Stdio};

use fake::{Daemon, margay, scratch};
use serde_json::{Value, json};

const POOLS: &str = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: blue
spec:
  cidr: 10.0.0.0/16
  natOutgoing: true
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: green
spec:
  cidr: 10.1.0.0/16
  nodeSelector: rack == 'a'
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: red
spec:
  cidr: 10.2.0.0/16
";

const POLICY: &str = "\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: web
  namespace: prod
spec:
  order: 10
  selector: app == 'web'
";

struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        let path = scratch("yaml");
        fs::write(&path, text).expect("a file can be written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn with_pools() -> Daemon {
    let daemon = Daemon::start();
    let file = File::new(POOLS);
    daemon.text(&["apply", "-f", file.path()]);
    daemon
}

#[track_caller]
fn fails(daemon: &Daemon, arguments: &[&str], code: i32, part: &str) {
    let output = daemon.margay(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(part), "no {part:?} in {text}");
}

#[test]
fn what_the_daemon_finds_wrong_is_told_with_its_place() {
    let daemon = Daemon::start();
    let wrong = POOLS.replace("10.1.0.0", "10.99.0.0").replace("10.2.0.0", "10.99.0.0");
    let (file, first) = (File::new(&wrong), File::new(POLICY));
    let output = daemon.margay(&["apply", "-f", first.path(), "-f", file.path()]);
    assert_eq!(output.status.code(), Some(2));
    let path = file.path();
    let told = format!(
        "error: {path}: document 2, line 14, column 9: IPPool 2 overlaps\n\
         error: {path}: document 3, line 22, column 9: IPPool 3 overlaps\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), told);
}

#[test]
fn apply_says_what_became_of_each_resource() {
    let daemon = Daemon::start();
    let file = File::new(POOLS);
    let text = daemon.text(&["apply", "-f", file.path()]);
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.first(), Some(&vec!["KIND", "NAMESPACE", "NAME", "OUTCOME"]));
    assert_eq!(lines.get(1), Some(&vec!["IPPool", "-", "blue", "created"]));
    assert_eq!(lines.len(), 4);
    let again = daemon.json(&["apply", "-f", file.path()]);
    assert_eq!(again[0]["outcome"], "replaced");
    assert_eq!(again[0]["kind"], "IPPool");
    fails(&daemon, &["create", "-f", file.path()], 1, "already exists");
}

#[test]
fn standard_input_is_a_file_too() {
    let daemon = Daemon::start();
    let mut command = margay();
    command.env("MARGAY_SOCKET", daemon.socket()).args(["apply", "-f", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("margay runs");
    child.stdin.take().expect("a pipe").write_all(POOLS.as_bytes()).expect("margay reads");
    assert!(child.wait_with_output().expect("margay ends").status.success());
    assert_eq!(daemon.text(&["get", "ippools"]).lines().count(), 4);
}

#[test]
fn every_fault_of_a_file_is_told_with_its_line_and_nothing_is_sent() {
    let daemon = Daemon::start();
    let wrong = POOLS
        .replace("natOutgoing: true", "natOutgoin: true")
        .replace("10.2.0.0/16", "10.2.0.0/33");
    let file = File::new(&wrong);
    fails(&daemon, &["apply", "-f", file.path()], 2, "line 7");
    fails(&daemon, &["apply", "-f", file.path()], 2, "natOutgoin");
    fails(&daemon, &["apply", "-f", file.path()], 2, "10.2.0.0/33");
    assert_eq!(daemon.text(&["get", "ippools"]).lines().count(), 1, "only the header");
}

#[test]
fn tables_have_the_columns_of_the_kind() {
    let daemon = with_pools();
    let text = daemon.text(&["get", "pools"]);
    let first: Vec<_> = text.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(first, ["NAME", "CIDR", "SELECTOR"]);
    assert!(text.contains("rack == 'a'"), "{text}");
    let wide = daemon.text(&["get", "ippool", "-o", "wide"]);
    assert!(wide.starts_with("NAME") && wide.contains("VXLANMODE"), "{wide}");
    let custom = daemon.text(&["get", "ippool", "-o", "custom-columns=CIDR,NAME"]);
    assert!(custom.starts_with("CIDR"), "{custom}");
    let paths = daemon.text(&["get", "ippool", "-o", "custom-columns=POOL:.metadata.name"]);
    assert_eq!(paths, "POOL\nblue\ngreen\nred\n");
    assert_eq!(
        daemon.text(&["get", "ippool", "-o", "name"]),
        "ippool/blue\nippool/green\nippool/red\n"
    );
    fails(&daemon, &["get", "ippool", "-o", "custom-columns=COLOUR"], 2, "COLOUR");
    fails(&daemon, &["status", "-o", "name"], 2, "margay get");
}

#[test]
fn a_list_is_a_list_object_and_one_resource_is_itself() {
    let daemon = with_pools();
    let list = daemon.json(&["get", "ippool"]);
    assert_eq!(list["kind"], "IPPoolList");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(3), "all pages");
    let one = daemon.json(&["get", "ippool", "blue"]);
    assert_eq!(one["kind"], "IPPool");
    assert_eq!(one["metadata"]["resourceVersion"], "1");
    let exported = daemon.json(&["get", "ippool", "blue", "--export"]);
    assert_eq!(exported["metadata"], json!({ "name": "blue" }));
    let two = daemon.json(&["get", "ippool", "blue", "red"]);
    assert_eq!(two.as_array().map(Vec::len), Some(2));
    let names = daemon.text(&["get", "ippool", "-o", "jsonpath={.items[*].metadata.name}"]);
    assert_eq!(names, "blue green red");
    let template = "go-template={{range .items}}{{.metadata.name}},{{end}}{{config \"asnumber\"}}";
    assert_eq!(daemon.text(&["get", "ippool", "-o", template]), "blue,green,red,64512");
    fails(&daemon, &["get", "ippool", "-o", "go-template={{if}}"], 2, "missing");
    fails(&daemon, &["get", "ippool", "violet"], 1, "does not exist");
    fails(&daemon, &["get", "teapot"], 2, "teapot");
}

#[test]
fn what_get_prints_apply_takes_back() {
    let daemon = with_pools();
    for format in ["json", "yaml"] {
        let text = daemon.text(&["get", "ippool", "-o", format]);
        let file = File::new(&text);
        assert_eq!(daemon.text(&["replace", "-f", file.path()]).lines().count(), 4, "{format}");
    }
}

#[test]
fn namespaces_come_from_the_file_or_the_option() {
    let daemon = Daemon::start();
    let file = File::new(POLICY);
    daemon.text(&["apply", "-f", file.path()]);
    assert_eq!(daemon.text(&["get", "np"]).lines().count(), 1, "not in default");
    assert!(daemon.text(&["get", "np", "-n", "prod"]).contains("web"));
    let all = daemon.text(&["get", "networkpolicies", "-A"]);
    assert!(all.starts_with("NAMESPACE") && all.contains("prod"), "{all}");
    fails(&daemon, &["apply", "-f", file.path(), "-n", "other"], 2, "other");
    fails(&daemon, &["get", "ippool", "-n", "prod"], 2, "not namespaced");
}

#[test]
fn delete_takes_names_or_files() {
    let daemon = with_pools();
    let text = daemon.text(&["delete", "ippool", "blue", "green"]);
    assert!(text.contains("deleted"), "{text}");
    fails(&daemon, &["delete", "ippool", "blue"], 1, "does not exist");
    let file = File::new(POOLS);
    daemon.text(&["delete", "-f", file.path(), "--skip-not-exists"]);
    assert_eq!(daemon.text(&["get", "ippool"]).lines().count(), 1);
}

#[test]
fn patch_merges_and_label_labels() {
    let daemon = with_pools();
    daemon.text(&[
        "patch",
        "ippool",
        "blue",
        "-p",
        r#"{"spec":{"disabled":true,"natOutgoing":null}}"#,
    ]);
    let pool = daemon.json(&["get", "ippool", "blue"]);
    assert_eq!(pool["spec"]["disabled"], true);
    assert_eq!(pool["spec"].get("natOutgoing"), None::<&Value>);
    daemon.text(&["label", "ippool", "blue", "rack=a"]);
    fails(&daemon, &["label", "ippool", "blue", "rack=b"], 1, "--overwrite");
    daemon.text(&["label", "ippool", "blue", "rack=b", "--overwrite"]);
    assert_eq!(daemon.json(&["get", "ippool", "blue"])["metadata"]["labels"]["rack"], "b");
    daemon.text(&["label", "ippool", "blue", "rack", "--remove"]);
    fails(&daemon, &["label", "ippool", "blue", "rack", "--remove"], 1, "no label");
    fails(&daemon, &["label", "ippool", "blue"], 2, "label");
    fails(&daemon, &["patch", "ippool", "blue", "-p", "spec"], 2, "not JSON");
}

#[test]
fn watch_goes_on_with_what_changes() {
    let daemon = with_pools();
    // The fake ends the stream, which no daemon does.
    let output = daemon.margay(&["get", "ippool", "--watch", "-o", "json"]);
    let lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect();
    let types: Vec<_> =
        lines.iter().map(|line| line["type"].as_str().unwrap_or_default()).collect();
    assert_eq!(types, ["ADDED", "ADDED", "ADDED", "MODIFIED", "DELETED"]);
    assert_eq!(output.status.code(), Some(1));
    let table = daemon.margay(&["get", "ippool", "--watch"]);
    let shown = "NAME   CIDR         SELECTOR\n\
                 blue   10.0.0.0/16  all()\n\
                 green  10.1.0.0/16  rack == 'a'\n\
                 red    10.2.0.0/16  all()\n\
                 blue   10.0.0.0/16  all()\n\
                 deleted IPPool(blue)\n";
    assert_eq!(String::from_utf8_lossy(&table.stdout), shown);
    assert_eq!(table.status.code(), Some(1));
}

#[test]
fn resources_that_files_name_are_shown_as_they_are_stored() {
    let daemon = with_pools();
    let policy = File::new(POLICY);
    daemon.text(&["apply", "-f", policy.path()]);
    daemon.text(&["label", "ippool", "red", "rack=a"]);
    let file = File::new(&format!("{POOLS}---\n{POLICY}"));
    let text = daemon.text(&["get", "-f", file.path()]);
    let headers: Vec<_> = text.lines().filter(|line| line.contains("NAME")).collect();
    assert_eq!(headers.len(), 2, "a table for each kind: {text}");
    assert!(text.contains("\n\nNAMESPACE"), "{text}");
    let all = daemon.json(&["get", "-f", file.path()]);
    assert_eq!(all.as_array().map(Vec::len), Some(4));
    assert_eq!(all[2]["metadata"]["labels"]["rack"], "a");
    let one = daemon.json(&["get", "-f", policy.path(), "--export"]);
    assert_eq!(one["metadata"].get("resourceVersion"), None);
    let unknown = File::new(&POLICY.replace("name: web", "name: other"));
    fails(&daemon, &["get", "-f", unknown.path()], 1, "does not exist");
    fails(&daemon, &["get", "ippool", "-f", policy.path()], 2, "cannot be used with");
    fails(&daemon, &["get"], 2, "KIND");
}

#[test]
fn a_selector_picks_by_labels() {
    let daemon = with_pools();
    daemon.text(&["label", "ippool", "red", "rack=a"]);
    daemon.text(&["label", "ippool", "blue", "rack=b"]);
    let names = |selector: &str| daemon.text(&["get", "ippool", "-o", "name", "-l", selector]);
    assert_eq!(names("rack == 'a'"), "ippool/red\n");
    assert_eq!(names("has(rack)"), "ippool/blue\nippool/red\n");
    assert_eq!(names("!has(rack)"), "ippool/green\n");
    let list = daemon.json(&["get", "ippool", "-l", "rack in {'a', 'b'}"]);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    fails(&daemon, &["get", "ippool", "-l", "rack=a"], 2, "margay selector");
    let output = daemon.margay(&["get", "ippool", "-w", "-o", "json", "-l", "rack == 'a'"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "only what matches");
}

#[test]
fn what_was_known_is_shown_with_a_warning_and_never_changed() {
    let daemon = with_pools();
    daemon.text(&["label", "ippools", "green", "old=yes"]);
    let output = daemon.margay(&["get", "ippool", "green", "-o", "name"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ippool/green\n");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told, "warning: the datastore is away; shown is what was known\n");
    fails(&daemon, &["label", "ippool", "green", "new=yes"], 1, "the datastore is away");
    fails(&daemon, &["patch", "ippool", "green", "-p", "{}"], 1, "the datastore is away");
}

#[test]
fn a_list_tells_on_stderr_what_the_daemon_left_out() {
    let daemon = with_pools();
    daemon.text(&["label", "ippools", "green", "unreadable=yes"]);
    let output = daemon.margay(&["get", "ippools", "-o", "name"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ippool/blue\nippool/red\n");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told, "warning: left out: one that cannot be read\n");
}
