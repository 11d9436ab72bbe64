use clap::Parser;

use super::*;
use crate::cli::{Cli, Command, NodeCommand};

fn parsed(arguments: &[&str]) -> InstallCni {
    let all = ["margay", "node", "install-cni"].iter().chain(arguments);
    match Cli::try_parse_from(all).expect("valid").command {
        Command::Node(NodeCommand::InstallCni(args)) => *args,
        other => panic!("{other:?}"),
    }
}

fn conflist_of(arguments: &[&str], socket: &str, portmap: bool) -> Value {
    serde_json::from_str(&usual(&parsed(arguments), Path::new(socket), portmap)).expect("JSON")
}

#[test]
fn the_usual_configuration_is_short() {
    let expected = json!({
        "name": "margay",
        "cniVersion": "1.0.0",
        "plugins": [{
            "type": "margay",
            "ipam": { "type": "margay-ipam", "assign_ipv4": true, "assign_ipv6": false },
            "capabilities": { "io.kubernetes.cri.pod-annotations": true, "ips": true, "mac": true },
        }],
    });
    assert_eq!(conflist_of(&[], SOCKET, false), expected);
}

#[test]
fn paths_are_found_wherever_the_plugin_is_called() {
    let list = conflist_of(&["--spool-dir", "spool"], "run/b.sock", false);
    let here = env::current_dir().expect("a directory");
    let plugin = &list["plugins"][0];
    assert_eq!(plugin["socket"], here.join("run/b.sock").to_string_lossy().as_ref());
    assert_eq!(plugin["spool_dir"], here.join("spool").to_string_lossy().as_ref());
}

#[test]
fn what_differs_from_the_usual_stands_in_the_configuration() {
    let list = conflist_of(
        &[
            "--network",
            "pods",
            "--families",
            "ipv4,ipv6",
            "--mtu",
            "1400",
            "--spool-dir",
            "/state/cni-spool",
            "--cni-version",
            "1.1.0",
        ],
        "/run/other.sock",
        true,
    );
    assert_eq!((list["name"].as_str(), list["cniVersion"].as_str()), (Some("pods"), Some("1.1.0")));
    let margay = &list["plugins"][0];
    assert_eq!(margay["socket"], "/run/other.sock");
    assert_eq!(margay["spool_dir"], "/state/cni-spool");
    assert_eq!(margay["mtu"], 1400);
    assert_eq!(margay["ipam"]["assign_ipv6"], true);
    assert_eq!(list["plugins"][1]["type"], "portmap");
    let six = conflist_of(&["--families", "ipv6"], SOCKET, false);
    assert_eq!(six["plugins"][0]["ipam"]["assign_ipv4"], false);
}

#[test]
fn a_name_that_no_runtime_looks_at_is_refused() {
    for (option, value) in [
        ("--conf-name", "margay.txt"),
        ("--conf-name", "a/b.conflist"),
        ("--conf-name", ".hidden.conflist"),
        ("--network", "a b"),
        ("--network", ""),
        ("--cni-version", "2.0.0"),
        ("--families", "ipx"),
        ("--mtu", "67"),
    ] {
        let arguments = ["margay", "node", "install-cni", option, value];
        assert!(Cli::try_parse_from(arguments).is_err(), "{option} {value:?}");
    }
}

#[test]
fn the_plugins_of_lists_and_of_single_configurations_are_found() {
    assert_eq!(
        plugins(r#"{"plugins": [{"type": "calico"}, {"type": "portmap"}]}"#),
        ["calico", "portmap"]
    );
    assert_eq!(plugins(r#"{"type": "margay"}"#), ["margay"]);
    for text in ["", "[]", r#"{"plugins": 7}"#, r#"{"plugins": [1, {"type": 2}]}"#] {
        assert_eq!(plugins(text), Vec::<String>::new(), "{text}");
    }
    assert!(is_ours("margay") && is_ours("calico") && !is_ours("bridge"));
}
