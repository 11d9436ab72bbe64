//! Whatever goes wrong: the code, and an error that is JSON on stdout and a line on stderr.

use margay_proto::error::{invalid_argument, with_cni_code};
use serde_json::{Value, json};
use tonic::Status;

use crate::fake::{Mood, Runtime, Said, Scene};

/// The error, with its version and without surprises.
fn error(said: &Said, version: &str) -> (u64, String, String) {
    assert!(!said.done, "{said:?}");
    let json = said.json();
    assert_eq!(json["cniVersion"], version);
    assert!(said.stderr.starts_with("margay-cni: "), "{said:?}");
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    (said.code(), text("msg"), text("details"))
}

#[test]
fn a_bad_environment_is_code_4_and_named() {
    let scene = Scene::good();
    let config = scene.config("1.0.0", json!({}));
    for (verb, variable, value, told) in [
        ("ADD", "CNI_CONTAINERID", "", "CNI_CONTAINERID not set: ADD needs it"),
        ("ADD", "CNI_NETNS", "", "CNI_NETNS not set: ADD needs it"),
        ("CHECK", "CNI_IFNAME", "", "CNI_IFNAME not set: CHECK needs it"),
        (
            "ADD",
            "CNI_IFNAME",
            "sixteen-letters-",
            "CNI_IFNAME: \"sixteen-letters-\" is longer than 15 characters",
        ),
        ("DEL", "CNI_CONTAINERID", "../x", "CNI_CONTAINERID: invalid characters in \"../x\""),
        ("ADD", "CNI_COMMAND", "", "CNI_COMMAND is not set"),
        ("ADD", "CNI_COMMAND", "NOP", "CNI_COMMAND: unknown command \"NOP\""),
        ("ADD", "CNI_ARGS", "IP=1", "CNI_ARGS: IP=1: not an address"),
        (
            "ADD",
            "CNI_NETNS",
            "/proc/self/ns/net",
            "CNI_NETNS: /proc/self/ns/net is the network namespace of the host",
        ),
    ] {
        let mut runtime = Runtime::new(verb, &scene);
        runtime.set(variable, value);
        let said = runtime.ask(&config);
        assert_eq!((said.code(), said.json()["msg"].as_str()), (4, Some(told)), "{said:?}");
    }
    assert_eq!(scene.asked(), []);
}

#[test]
fn the_hosts_own_namespace_can_be_asked_for() {
    let scene = Scene::good();
    let mut runtime = Runtime::new("ADD", &scene);
    runtime.set("CNI_NETNS", "/proc/self/ns/net");
    runtime.set("CNI_NETNS_OVERRIDE", "true");
    assert!(runtime.ask(&scene.config("1.0.0", json!({}))).done);
}

#[test]
fn a_bad_configuration_has_the_code_of_its_fault_in_every_verb() {
    let scene = Scene::good();
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let runtime = Runtime::new(verb, &scene);
        for (stdin, code) in [
            ("", 6),
            ("{", 6),
            ("\u{fffd}", 6),
            ("[]", 7),
            (r#"{"cniVersion": "9.9.9", "name": "a", "type": "margay"}"#, 1),
            (r#"{"cniVersion": 1, "name": "a", "type": "margay"}"#, 7),
            (r#"{"cniVersion": "1.1.0", "type": "margay"}"#, 7),
        ] {
            let said = runtime.call(stdin);
            assert_eq!(error(&said, "1.1.0").0, code, "{verb} {stdin}");
        }
    }
    assert_eq!(scene.asked(), []);
}

#[test]
fn a_field_that_is_not_supported_is_code_2_with_key_and_value() {
    let scene = Scene::good();
    for verb in ["ADD", "STATUS"] {
        let config = scene.config("1.1.0", json!({"vlan": 7}));
        let said = Runtime::new(verb, &scene).ask(&config);
        let (code, msg, _) = error(&said, "1.1.0");
        assert_eq!((code, msg.as_str()), (2, "vlan: 7 is not supported"));
    }
    let config = scene.config("1.1.0", json!({"vlan": 7}));
    assert!(Runtime::new("DEL", &scene).ask(&config).done);
}

#[test]
fn a_check_without_result_and_a_collection_without_list_are_code_7() {
    let scene = Scene::good();
    let config = scene.config("1.1.0", json!({}));
    for (verb, told) in [
        ("CHECK", "prevResult: missing, CHECK needs it"),
        ("GC", "cni.dev/valid-attachments: missing, GC needs it"),
    ] {
        let (code, msg, _) = error(&Runtime::new(verb, &scene).ask(&config), "1.1.0");
        assert_eq!((code, msg.as_str()), (7, told));
    }
    assert_eq!(scene.asked(), []);
}

#[test]
fn what_the_daemon_says_is_handed_on_with_its_code() {
    for (status, code, msg, details) in [
        (
            with_cni_code(
                Status::resource_exhausted("pool blue is full\nhelp: add a pool\nhelp: or wait"),
                11,
            ),
            11,
            "pool blue is full",
            "help: add a pool\nhelp: or wait",
        ),
        (with_cni_code(Status::already_exists("eth0 is taken"), 102), 102, "eth0 is taken", ""),
        (with_cni_code(invalid_argument("netns", "no such file"), 4), 4, "no such file", ""),
        (invalid_argument("mtu", "mtu: 9 is too small"), 7, "mtu: 9 is too small", ""),
        (Status::unavailable("the datastore is away"), 11, "the datastore is away", ""),
        (Status::internal(""), 11, "margay-bgpd answered Internal", ""),
    ] {
        let scene = Scene::with(Mood::Says(status));
        for version in ["0.2.0", "0.3.1", "1.1.0"] {
            let said = Runtime::new("ADD", &scene).ask(&scene.config(version, json!({})));
            assert_eq!(error(&said, version), (code, msg.into(), details.into()));
        }
    }
}

#[test]
fn a_difference_that_a_check_finds_is_told() {
    let status = with_cni_code(Status::failed_precondition("mtu of eth0 is 1400, not 1450"), 103);
    let scene = Scene::with(Mood::Says(status));
    let previous = json!({"prevResult": {
        "interfaces": [{"name": "eth0", "sandbox": "/run/netns/blue"}],
    }});
    let said = Runtime::new("CHECK", &scene).ask(&scene.config("0.4.0", previous));
    let expected = (103, "mtu of eth0 is 1400, not 1450".into(), String::new());
    assert_eq!(error(&said, "0.4.0"), expected);
}

#[test]
fn status_hands_on_50_and_51_and_makes_50_of_what_is_passing() {
    for (status, code) in [
        (with_cni_code(Status::unavailable("no address is left"), 50), 50),
        (with_cni_code(Status::unavailable("no routes"), 51), 51),
        (Status::unavailable("starting"), 50),
    ] {
        let scene = Scene::with(Mood::Says(status));
        let said = Runtime::new("STATUS", &scene).ask(&scene.config("1.1.0", json!({})));
        assert_eq!(said.code(), code);
    }
}

#[test]
fn a_del_that_the_daemon_refuses_is_told_and_not_spooled() {
    let status = with_cni_code(Status::internal("the kernel refused"), 100);
    let scene = Scene::with(Mood::Says(status));
    let said = Runtime::new("DEL", &scene).ask(&scene.config("1.0.0", json!({})));
    assert_eq!(said.code(), 100);
    assert_eq!(scene.spooled(), []);
}

#[test]
fn the_oldest_versions_get_errors_too() {
    let scene = Scene::good();
    let config: Value = scene.config("0.1.0", json!({"mtu": "x"}));
    let (code, msg, _) = error(&Runtime::new("ADD", &scene).ask(&config), "0.1.0");
    assert_eq!(code, 7);
    assert!(msg.starts_with("mtu: "), "{msg}");
}
