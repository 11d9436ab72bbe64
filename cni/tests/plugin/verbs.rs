//! Every verb in every version, beside golden files.

use serde_json::json;

use crate::fake::{Asked, Runtime, Scene, VERSIONS};

/// Compares stdout, with the test's own folder taken out.
fn golden(name: &str, scene: &Scene, stdout: &str) {
    let folder = scene.path("").display().to_string();
    let plain = stdout.replace(folder.trim_end_matches('/'), "FOLDER");
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    testkit::golden::assert_golden(path, &plain);
}

#[test]
fn add_answers_in_the_form_of_each_version() {
    let scene = Scene::good();
    for version in VERSIONS {
        let said = Runtime::new("ADD", &scene).ask(&scene.config(version, json!({})));
        assert!(said.done, "{version}: {said:?}");
        assert_eq!(said.stderr, "");
        golden(&format!("add-{version}.json"), &scene, &said.stdout);
    }
    assert_eq!(scene.asked().len(), VERSIONS.len());
}

#[test]
fn add_without_a_version_answers_as_of_0_2_0() {
    let scene = Scene::good();
    let mut config = scene.config("", json!({}));
    config.as_object_mut().expect("an object").remove("cniVersion");
    let said = Runtime::new("ADD", &scene).ask(&config);
    golden("add-0.2.0.json", &scene, &said.stdout);
}

#[test]
fn add_in_a_chain_answers_with_what_came_before_too() {
    let scene = Scene::good();
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let previous = json!({"prevResult": {
            "cniVersion": version,
            "interfaces": [{"name": "net1", "sandbox": "/run/netns/blue"}],
            "ips": [{"interface": 0, "address": "192.0.2.7/24", "gateway": "192.0.2.1"}],
            "routes": [{"dst": "198.51.100.0/24", "gw": "192.0.2.1"}],
            "dns": {"nameservers": ["192.0.2.53"]},
        }});
        let said = Runtime::new("ADD", &scene).ask(&scene.config(version, previous));
        assert!(said.done, "{version}: {said:?}");
        golden(&format!("chain-{version}.json"), &scene, &said.stdout);
    }
}

#[test]
fn del_says_nothing_in_every_version_and_as_often_as_it_comes() {
    let scene = Scene::good();
    for version in VERSIONS {
        for _ in 0..3 {
            let said = Runtime::new("DEL", &scene).ask(&scene.config(version, json!({})));
            assert!(said.done, "{version}: {said:?}");
            assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
        }
    }
    assert_eq!(scene.asked().len(), 3 * VERSIONS.len());
    assert!(scene.asked().iter().all(|asked| matches!(asked, Asked::Delete(_))));
    assert_eq!(scene.spooled(), []);
}

#[test]
fn del_needs_no_network_namespace() {
    let scene = Scene::good();
    let mut runtime = Runtime::new("DEL", &scene);
    runtime.set("CNI_NETNS", "");
    assert!(runtime.ask(&scene.config("1.0.0", json!({}))).done);
    let asked = scene.asked();
    assert!(matches!(asked.as_slice(), [Asked::Delete(one)] if one.netns.is_empty()), "{asked:?}");
}

#[test]
fn check_exists_since_0_4_0() {
    let scene = Scene::good();
    for version in VERSIONS {
        let previous = json!({"prevResult": {
            "interfaces": [
                {"name": "cali0123456789a"},
                {"name": "eth0", "sandbox": "/run/netns/blue"},
            ],
            "ips": [{"version": "4", "interface": 1, "address": "10.10.0.7/32"}],
        }});
        let said = Runtime::new("CHECK", &scene).ask(&scene.config(version, previous));
        if version < "0.4.0" {
            assert_eq!(said.code(), 1);
            golden(&format!("check-{version}.json"), &scene, &said.stdout);
        } else {
            assert!(said.done, "{version}: {said:?}");
            assert_eq!(said.stdout, "");
        }
    }
    assert_eq!(scene.asked().len(), 3);
}

#[test]
fn gc_and_status_exist_since_1_1_0() {
    let scene = Scene::good();
    for verb in ["GC", "STATUS"] {
        for version in VERSIONS {
            let valid = match verb {
                "GC" => json!({"cni.dev/valid-attachments": [
                    {"containerID": "c0ffee", "ifname": "eth0"},
                ]}),
                _ => json!({}),
            };
            let said = Runtime::new(verb, &scene).ask(&scene.config(version, valid));
            if version < "1.1.0" {
                assert_eq!(said.code(), 1, "{verb} {version}");
                let name = format!("{}-{version}.json", verb.to_lowercase());
                golden(&name, &scene, &said.stdout);
            } else {
                assert!(said.done, "{verb} {version}: {said:?}");
                assert_eq!(said.stdout, "");
            }
        }
    }
    let asked = scene.asked();
    let [Asked::Collect(gc), Asked::Status(status)] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_eq!(gc.network, "pods");
    assert_eq!(gc.valid.len(), 1);
    assert!(status.assign.as_ref().is_some_and(|assign| assign.ipv4 && !assign.ipv6));
}

#[test]
fn a_collection_of_more_than_any_window_arrives_whole() {
    let scene = Scene::good();
    let valid: Vec<_> = (0..20_000)
        .map(|n| json!({"containerID": format!("container-{n}"), "ifname": "eth0"}))
        .collect();
    let gc = json!({"cni.dev/valid-attachments": valid});
    let said = Runtime::new("GC", &scene).ask(&scene.config("1.1.0", gc));
    assert!(said.done, "{said:?}");
    let asked = scene.asked();
    let [Asked::Collect(collect)] = asked.as_slice() else { panic!("{} calls", asked.len()) };
    assert_eq!(collect.valid.len(), 20_000);
    assert_eq!(collect.valid[19_999].container_id, "container-19999");
}

#[test]
fn version_answers_in_the_version_it_is_asked_in_and_needs_no_daemon() {
    let scene = Scene::alone();
    for version in VERSIONS {
        let asked = json!({ "cniVersion": version });
        let said = Runtime::new("VERSION", &scene).ask(&asked);
        assert!(said.done, "{said:?}");
        assert_eq!(said.json()["cniVersion"], version);
        assert_eq!(said.json()["supportedVersions"], json!(VERSIONS));
    }
    let said = Runtime::new("VERSION", &scene).call("");
    assert_eq!(said.json()["cniVersion"], "1.1.0");
    assert_eq!(Runtime::new("VERSION", &scene).call("{").code(), 6);
}

#[test]
fn a_configuration_for_calico_works_as_it_is() {
    let scene = Scene::good();
    let config = scene.config(
        "0.3.1",
        json!({
            "type": "calico",
            "log_level": "info",
            "datastore_type": "kubernetes",
            "nodename": "node1",
            "mtu": 1440,
            "ipam": {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true"},
            "policy": {"type": "k8s"},
            "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"},
        }),
    );
    let said = Runtime::new("ADD", &scene).named("calico", &scene).ask(&config);
    assert!(said.done, "{said:?}");
    assert_eq!(said.stderr, "");
    let asked = scene.asked();
    let [Asked::Add(add)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(add.mtu, 1440);
    assert_eq!(add.pod.as_ref().map(|pod| pod.name.as_str()), Some("web"));
}

#[test]
fn under_the_name_of_an_ipam_plugin_there_are_only_addresses() {
    for name in ["margay-ipam", "calico-ipam"] {
        let scene = Scene::good();
        let config = scene
            .config("1.0.0", json!({"type": "bridge", "bridge": "br0", "ipam": {"type": name}}));
        let said = Runtime::new("ADD", &scene).named(name, &scene).ask(&config);
        assert!(said.done, "{said:?}");
        let expected = json!({
            "cniVersion": "1.0.0",
            "ips": [{"address": "10.10.0.7/32"}, {"address": "2001:db8::7/128"}],
        });
        assert_eq!(said.json(), expected);
        assert!(Runtime::new("DEL", &scene).named(name, &scene).ask(&config).done);
    }
}

#[test]
fn what_is_said_to_a_human() {
    let run = |argument: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_margay-cni"))
            .arg(argument)
            .output()
            .expect("runs");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(run("--version"), format!("margay-cni {}\n", env!("CARGO_PKG_VERSION")));
    assert!(run("--help").contains("CNI_COMMAND=VERSION margay-cni"));
}
