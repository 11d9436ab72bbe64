//! The program under the name `calicoctl`, against a fake daemon that keeps resources.

mod fake;

use std::{
    fmt::Write as _,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use fake::{Daemon, margay, scratch};
use testkit::golden::assert_golden;

/// What the environment of whoever runs the test may say.
const VARIABLES: [&str; 6] = [
    "DATASTORE_TYPE",
    "CALICO_DATASTORE_TYPE",
    "ETCD_ENDPOINTS",
    "CALICO_ETCD_ENDPOINTS",
    "ETCD_DISCOVERY_SRV",
    "CALICO_ETCD_DISCOVERY_SRV",
];

fn calicoctl(daemon: &Daemon) -> Command {
    let mut command = margay();
    command.arg0("/usr/local/bin/calicoctl").env("MARGAY_SOCKET", daemon.socket());
    VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
    command
}

fn run(daemon: &Daemon, arguments: &[&str]) -> Output {
    calicoctl(daemon).args(arguments).output().expect("it runs")
}

/// Exit code, standard output and standard error.
fn all(output: &Output) -> (Option<i32>, String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).expect("UTF-8");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn says(daemon: &Daemon, arguments: &[&str], code: i32, out: &str, err: &str) {
    let (found, stdout, stderr) = all(&run(daemon, arguments));
    assert_eq!((found, stdout.as_str(), stderr.as_str()), (Some(code), out, err), "{arguments:?}");
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = scratch("d");
        fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file can be written");
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pool(name: &str, cidr: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: {name}\nspec:\n  cidr: \
         {cidr}\n---\n"
    )
}

const TIER: &str = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata:\n  name: t\n---\n";

#[test]
fn success_and_failure_are_told_in_its_words() {
    let (daemon, folder) = (Daemon::start(), Folder::new());
    let one = folder.file("one.yaml", &pool("blue", "10.0.0.0/16"));
    let two = folder.file("two.yaml", &(pool("blue", "10.0.0.0/16") + &pool("red", "10.1.0.0/16")));
    let mixed = folder.file("mixed.yaml", &(pool("red", "10.1.0.0/16") + TIER));
    says(&daemon, &["create", "-f", &one], 0, "Successfully created 1 'IPPool' resource(s)\n", "");
    says(
        &daemon,
        &["create", "-f", &one],
        1,
        "",
        "failed to create 'IPPool' resource: [resource already exists: IPPool(blue) with error: it \
         is there]\n",
    );
    says(
        &daemon,
        &["create", "-f", &one, "--skip-exists"],
        0,
        "Successfully created 1 'IPPool' resource(s)\n",
        "",
    );
    says(
        &daemon,
        &["create", "-f", &two],
        1,
        "Partial success: created the first 1 out of 2 'IPPool' resources:\n",
        "hit error: [resource already exists: IPPool(blue) with error: it is there]\n",
    );
    says(&daemon, &["apply", "-f", &two], 0, "Successfully applied 2 'IPPool' resource(s)\n", "");
    says(&daemon, &["apply", "-f", &mixed], 0, "Successfully applied 2 resource(s)\n", "");
    says(
        &daemon,
        &["replace", "-f", &one],
        0,
        "Successfully replaced 1 'IPPool' resource(s)\n",
        "",
    );
    says(
        &daemon,
        &["patch", "ippool", "blue", "-p", r#"{"spec":{"disabled":true}}"#, "-t", "merge"],
        0,
        "Successfully patched 1 'IPPool' resource\n",
        "",
    );
    says(
        &daemon,
        &["patch", "ippool", "none", "--patch={}"],
        1,
        "",
        "failed to patch 'IPPool' resource: [resource does not exist: IPPool(none) with error: not \
         found]\n",
    );
    says(
        &daemon,
        &["delete", "ippool", "blue", "none"],
        1,
        "Successfully deleted 1 'IPPool' resource(s)\n",
        "Failed to delete 'IPPool' resource: resource does not exist: IPPool(none) with error: not \
         found\n",
    );
    says(
        &daemon,
        &["delete", "-f", &two, "--skip-not-exists"],
        0,
        "Successfully deleted 2 'IPPool' resource(s)\n",
        "",
    );
    says(
        &daemon,
        &["replace", "-f", &two],
        1,
        "",
        "failed to replace any 'IPPool' resources: [resource does not exist: IPPool(blue) with \
         error: not found resource does not exist: IPPool(red) with error: not found]\n",
    );
    says(
        &daemon,
        &["validate", "-f", &two],
        0,
        "Successfully validated 2 'IPPool' resource(s)\n",
        "",
    );
}

#[test]
fn labels_are_set_updated_and_removed() {
    let (daemon, folder) = (Daemon::start(), Folder::new());
    run(&daemon, &["apply", "-f", &folder.file("a.yaml", &pool("blue", "10.0.0.0/16"))]);
    let label = |arguments: &[&str], code, out: &str, err: &str| {
        says(&daemon, &[&["label", "pools", "blue"], arguments].concat(), code, out, err);
    };
    label(&["rack=a"], 0, "Successfully set label rack on pools blue\n", "");
    label(&["rack=b"], 1, "", "IPPool(blue) has rack=a already\n");
    label(&["rack=b", "--overwrite"], 0, "Successfully updated label rack on pools blue\n", "");
    label(&["rack", "--remove"], 0, "Successfully removed label rack from pools blue\n", "");
    label(&["rack", "--remove"], 1, "", "IPPool(blue) has no label rack\n");
}

#[test]
fn what_is_asked_for_wrongly_is_refused_with_exit_code_1() {
    let (daemon, folder) = (Daemon::start(), Folder::new());
    run(&daemon, &["apply", "-f", &folder.file("a.yaml", &pool("blue", "10.0.0.0/16"))]);
    says(&daemon, &["get", "teapot"], 1, "", "resource type 'teapot' is not supported\n");
    says(
        &daemon,
        &["get", "blockaffinities"],
        1,
        "",
        "resource type 'blockaffinities' is not supported\n",
    );
    says(&daemon, &["get", "ippool", "-n", "x"], 1, "", "IPPool is not namespaced\n");
    says(&daemon, &["get", "ippool", "-a"], 1, "", "IPPool is not namespaced\n");
    says(
        &daemon,
        &["get", "ippool", "-o", "custom-columns=COLOUR"],
        1,
        "",
        "unknown heading COLOUR, valid values are: NAME, CIDR, SELECTOR, NAT, IPIPMODE, VXLANMODE, \
         DISABLED, DISABLEBGPEXPORT, ASSIGNMENTMODE\n",
    );
    says(&daemon, &["get", "ippool", "-o", "xml"], 1, "", "unrecognized output format 'xml'\n");
    says(
        &daemon,
        &["get", "ippool", "none"],
        1,
        "",
        "resource does not exist: IPPool(none) with error: not found\n",
    );
    let info = "apiVersion: projectcalico.org/v3\nkind: ClusterInformation\nmetadata:\n  name: \
                default\nspec:\n  calicoVersion: v3.20.1\n";
    let info = folder.file("info.yaml", info);
    let (code, _, said) = all(&run(&daemon, &["apply", "-f", &info]));
    assert_eq!(code, Some(1));
    assert!(
        said.contains("operation Apply is not supported on ClusterInformation(default)"),
        "{said}"
    );
    let (code, _, said) = all(&run(&daemon, &["get", "ippool", "--bogus"]));
    assert_eq!(code, Some(1));
    assert!(said.starts_with("Invalid option: 'calicoctl get ippool --bogus'. "), "{said}");
    for words in
        [&["cluster", "diags"][..], &["node", "run"], &["datastore", "migrate-policy-names"]]
    {
        let (code, out, said) = all(&run(&daemon, words));
        assert_eq!((code, out.as_str()), (Some(1), ""));
        let named = format!("operation {} is not supported", words.join(" "));
        assert!(said.starts_with(&named), "{said}");
    }
    // A cluster of a release that this tool does not know.
    daemon.margay(&["apply", "-f", &info]);
    let (code, _, said) = all(&run(&daemon, &["get", "ippool"]));
    assert_eq!(code, Some(1));
    assert!(said.starts_with("version mismatch.\nClient Version:   v3."), "{said}");
    assert!(said.contains("Cluster Version:  v3.20.1"), "{said}");
    let forced = run(&daemon, &["get", "ippool", "--allow-version-mismatch"]);
    assert!(forced.status.success());
    let (code, out, _) = all(&run(&daemon, &["version"]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("Client Version:    v3."), "{out}");
    assert!(out.contains("\nCluster Version:   v3.20.1\nCluster Type:      unknown\n"), "{out}");
}

#[test]
fn a_datastore_is_locked_and_unlocked_under_both_names() {
    let daemon = Daemon::start();
    let ready = || {
        let (_, text, _) = all(&run(&daemon, &["get", "clusterinfo", "default", "-o", "json"]));
        let object: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let guid = object["spec"]["clusterGUID"].as_str().expect("an id").to_owned();
        (object["spec"]["datastoreReady"] == true, guid)
    };
    // One that says nothing of itself is given an id, and keeps it.
    says(&daemon, &["datastore", "migrate", "lock"], 0, "Datastore locked.\n", "");
    let (locked, guid) = ready();
    assert!(!locked && guid.len() == 32, "{guid}");
    says(&daemon, &["datastore", "migrate", "unlock"], 0, "Datastore unlocked.\n", "");
    assert_eq!(ready(), (true, guid.clone()));
    daemon.margay(&["datastore", "lock"]);
    assert_eq!(ready(), (false, guid.clone()));
    daemon.margay(&["datastore", "unlock"]);
    assert_eq!(ready(), (true, guid));
    let refused = "Datastore is not locked. Run the `calicoctl datastore migrate lock` command in \
                   order to begin migration.\n";
    says(&daemon, &["datastore", "migrate", "export"], 1, "", refused);
}

#[test]
fn another_datastore_than_the_daemons_is_not_reached() {
    let (daemon, folder) = (Daemon::start(), Folder::new());
    let (code, out, err) = all(&run(&daemon, &["get", "nodes", "-c", "/nowhere.cfg"]));
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert!(out.starts_with("Failed to create Calico API client: "), "{out}");
    let config = |spec: &str| {
        let text = "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\nspec:\n  ";
        folder.file("calicoctl.cfg", &format!("{text}{spec}\n"))
    };
    let etcd = config("datastoreType: etcdv3\n  etcdEndpoints: http://10.0.0.1:2379");
    let (code, out, _) = all(&run(&daemon, &["get", "nodes", "--config", &etcd]));
    assert_eq!(code, Some(1));
    assert!(out.contains("type etcdv3") && out.contains("type embedded"), "{out}");
    let nothing = config("etcdUsername: me");
    assert!(run(&daemon, &["get", "nodes", "--config", &nothing]).status.success());
    let mut command = calicoctl(&daemon);
    let output = command.args(["get", "nodes"]).env("DATASTORE_TYPE", "kubernetes").output();
    let (code, out, _) = all(&output.expect("it runs"));
    assert_eq!(code, Some(1));
    assert!(out.contains("the environment names"), "{out}");
}

#[test]
fn without_a_daemon_it_says_so_on_standard_output() {
    let mut command = margay();
    command.arg0("calicoctl").env("MARGAY_SOCKET", "/nowhere/bgpd.sock").args(["get", "nodes"]);
    let (code, out, err) = all(&command.output().expect("it runs"));
    assert_eq!((code, err.as_str()), (Some(1), ""));
    let start = "Failed to create Calico API client: margay-bgpd is not running";
    assert!(out.starts_with(start), "{out}");
}

#[test]
fn data_is_bare_a_list_or_an_array() {
    let (daemon, folder) = (Daemon::start(), Folder::new());
    let file = folder.file("a.yaml", &(pool("blue", "10.0.0.0/16") + &pool("red", "10.1.0.0/16")));
    run(&daemon, &["apply", "-f", &file]);
    let json = |arguments: &[&str]| -> serde_json::Value {
        let (code, out, err) = all(&run(&daemon, &[arguments, &["-o", "json"]].concat()));
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str(&out).expect("JSON")
    };
    assert_eq!(json(&["get", "ippool", "blue"])["kind"], "IPPool");
    assert_eq!(json(&["get", "ippool", "blue"]), daemon.json(&["get", "ippool", "blue"]));
    assert_eq!(json(&["get", "ippool"])["kind"], "IPPoolList");
    assert_eq!(json(&["get", "ippool", "blue", "red"]).as_array().map(Vec::len), Some(2));
    assert_eq!(json(&["get", "-f", &file]).as_array().map(Vec::len), Some(2));
    let exported = json(&["get", "ippool", "blue", "--export"]);
    assert_eq!(exported["metadata"], serde_json::json!({ "name": "blue" }));
    let yaml = all(&run(&daemon, &["get", "ippool", "red", "-o", "yaml"])).1;
    let back = folder.file("back.yaml", &yaml);
    says(
        &daemon,
        &["replace", "-f", &back],
        0,
        "Successfully replaced 1 'IPPool' resource(s)\n",
        "",
    );
    let template = "{{range .}}{{range .Items}}{{.ObjectMeta.Name}} {{.Spec.CIDR}}\n{{end}}{{end}}";
    let form = format!("go-template={template}");
    let expected = "blue 10.0.0.0/16\nred 10.1.0.0/16\n";
    says(&daemon, &["get", "ippool", "-o", &form], 0, expected, "");
    let form = format!("go-template-file={}", folder.file("template", template));
    says(&daemon, &["get", "ippool", "-o", &form], 0, expected, "");
    says(
        &daemon,
        &["get", "ippool", "-o", "go-template={{"],
        1,
        "",
        "-o go-template: an action is not closed\n",
    );
    let one = "NAME   CIDR          \n";
    says(
        &daemon,
        &["get", "ippool", "blue", "red", "-o", "custom-columns=NAME,CIDR"],
        0,
        &format!("NAME   CIDR          \nblue   10.0.0.0/16   \n\n{one}red    10.1.0.0/16   \n\n"),
        "",
    );
}

#[test]
fn policies_of_kubernetes_are_converted() {
    let (daemon, folder) = (Daemon::start(), Folder::new());
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: web\n\
                  spec:\n  podSelector: {}\n";
    let one = folder.file("one.yaml", policy);
    let (code, out, err) = all(&run(&daemon, &["convert", "-f", &one, "-o", "json"]));
    assert_eq!(code, Some(0), "{err}");
    let object: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(object["kind"], "NetworkPolicy");
    assert_eq!(object["metadata"]["name"], "knp.default.web");
    let two = folder.file("two.yaml", &format!("{policy}---\n{}", policy.replace("web", "db")));
    let (_, out, _) = all(&run(&daemon, &["convert", "-f", &two]));
    assert!(out.starts_with("apiVersion: v1\nkind: List\n"), "{out}");
    let (code, _, err) = all(&run(&daemon, &["convert", "-f", &one, "--ignore-validation"]));
    assert_eq!((code, err.as_str()), (Some(1), "--ignore-validation is not supported\n"));
}

/// Every kind's tables, of both programs, filled with what the documentation has as examples.
#[test]
fn each_kind_has_the_tables_that_users_know() {
    let daemon = Daemon::start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/model/tests/examples");
    let folder = folder.to_str().expect("UTF-8");
    daemon.text(&["apply", "-f", folder]);
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the examples are there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let mut text = String::new();
    for file in files {
        let kind = file.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let namespaced = daemon.margay(&["get", kind, "-A"]).status.success();
        let everywhere: &[&str] = if namespaced { &["-A"] } else { &[] };
        for form in ["table", "wide"] {
            let arguments = [&["get", kind, "-o", form], everywhere].concat();
            let table = daemon.text(&arguments);
            writeln!(text, "$ margay {}\n{table}", arguments.join(" ")).expect("a string");
        }
        for form in ["ps", "wide"] {
            let arguments = [&["get", kind, "-o", form, "--allow-version-mismatch"], everywhere];
            let arguments = arguments.concat();
            let (_, out, err) = all(&run(&daemon, &arguments));
            let line = format!("$ calicoctl {}\n{out}{err}", arguments.join(" "));
            // Blanks at the end of lines are seen, and no editor takes them away.
            writeln!(text, "{}", line.replace(" \n", " |\n")).expect("a string");
        }
    }
    assert_golden(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kinds.txt"), &text);
}
