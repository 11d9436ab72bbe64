use serde_json::json;

use super::*;

const CRI: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=5e";

fn read(config: &Value, verb: Verb) -> Result<Config, Error> {
    Config::read(config, CRI, verb, Role::Network)
}

fn add(config: &Value) -> Config {
    read(config, Verb::Add).expect("valid")
}

fn refused(config: &Value) -> (Code, String) {
    let error = read(config, Verb::Add).expect_err("refused");
    (error.code, error.msg)
}

/// A configuration of ours with some more keys.
fn ours(more: Value) -> Value {
    merged(json!({"cniVersion": "1.1.0", "name": "pods", "type": "margay"}), more)
}

fn calicos(more: Value) -> Value {
    merged(json!({"cniVersion": "0.3.1", "name": "k8s-pod-network", "type": "calico"}), more)
}

fn merged(mut config: Value, more: Value) -> Value {
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    config
}

#[test]
fn the_shortest_configuration_is_enough() {
    let config = add(&ours(json!({})));
    assert_eq!(config.network, "pods");
    assert_eq!(config.socket, PathBuf::from("/run/margay/bgpd.sock"));
    assert_eq!(config.spool_dir, PathBuf::from("/var/lib/margay/cni-spool"));
    assert_eq!(config.policy_wait_seconds, 5);
    assert_eq!(config.mtu, None);
    assert_eq!(config.ipam, Ipam::Ours(Assign::default()));
    assert_eq!(config.pod.name, Some(("shop".into(), "web".into())));
    assert_eq!(config.pod.uid.as_deref(), Some("5e"));
    assert_eq!(config.remarks, Vec::<String>::new());
}

#[test]
fn our_keys_are_read() {
    let config = add(&ours(json!({
        "socket": "/run/other.sock",
        "spool_dir": "/var/spool/margay",
        "policy_wait_seconds": 0,
        "mtu": 1400,
        "num_queues": 4,
        "container_settings": {"allow_ip_forwarding": true},
        "feature_control": {"ip_addrs_no_ipam": true, "floating_ips": true},
        "ipam": {
            "type": "margay-ipam",
            "assign_ipv4": false,
            "assign_ipv6": "true",
            "ipv6_pools": ["six", "2001:db8::/64"],
        },
    })));
    assert_eq!(config.socket, PathBuf::from("/run/other.sock"));
    assert_eq!(config.spool_dir, PathBuf::from("/var/spool/margay"));
    assert_eq!((config.policy_wait_seconds, config.mtu, config.queues), (0, Some(1400), Some(4)));
    assert!(config.allow_ip_forwarding);
    assert!(config.allow_addresses_without_ipam && config.allow_floating_ips);
    let expected = Assign {
        ipv4: false,
        ipv6: true,
        ipv4_pools: Vec::new(),
        ipv6_pools: vec!["six".into(), "2001:db8::/64".into()],
    };
    assert_eq!(config.ipam, Ipam::Ours(expected));
}

#[test]
fn a_configuration_written_for_calico_is_taken_as_it_is() {
    let config = add(&calicos(json!({
        "log_level": "info",
        "log_file_path": "/var/log/calico/cni/cni.log",
        "datastore_type": "kubernetes",
        "nodename": "node1",
        "nodename_file_optional": false,
        "mtu": 0,
        "ipam": {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "false"},
        "container_settings": {"allow_ip_forwarding": false},
        "policy": {"type": "k8s"},
        "kubernetes": {"k8s_api_root": "https://10.96.0.1:443", "kubeconfig": "/etc/kubeconfig"},
        "policy_setup_timeout_seconds": 0,
        "endpoint_status_dir": "/var/run/calico/endpoint-status",
    })));
    assert_eq!(config.ipam, Ipam::Ours(Assign::default()));
    assert_eq!((config.mtu, config.policy_wait_seconds), (None, 5));
    assert_eq!(config.remarks, Vec::<String>::new());
}

#[test]
fn what_of_calicos_cannot_be_obeyed_is_told() {
    let vpp = json!({"dataplane_options": {"type": "grpc", "socket": "unix:///run/vpp.sock"}});
    assert_eq!(
        add(&calicos(vpp.clone())).remarks,
        ["dataplane_options: not supported, passed over"]
    );
    assert_eq!(refused(&ours(vpp)).0, Code::UnsupportedField);
}

#[test]
fn calicos_wait_for_policies_counts_where_ours_is_not_given() {
    let config = add(&calicos(json!({"policy_setup_timeout_seconds": 9})));
    assert_eq!(config.policy_wait_seconds, 9);
    let both = json!({"policy_setup_timeout_seconds": 9, "policy_wait_seconds": 3});
    assert_eq!(add(&calicos(both)).policy_wait_seconds, 3);
}

#[test]
fn an_unknown_key_is_refused_in_our_configuration_and_remarked_on_in_calicos() {
    let unknown = json!({"polcy_wait_seconds": 3});
    assert_eq!(
        refused(&ours(unknown.clone())),
        (Code::UnsupportedField, "polcy_wait_seconds: 3 is not supported".into())
    );
    let config = add(&calicos(unknown));
    assert_eq!(config.remarks, ["polcy_wait_seconds: unknown, passed over"]);
    let ipam = json!({"ipam": {"type": "margay-ipam", "ipv4pools": ["a"]}});
    assert_eq!(
        refused(&ours(ipam.clone())),
        (Code::UnsupportedField, "ipam.ipv4pools: [\"a\"] is not supported".into())
    );
    assert_eq!(add(&calicos(ipam)).remarks, ["ipam.ipv4pools: unknown, passed over"]);
}

#[test]
fn what_runtimes_add_is_no_unknown_key() {
    add(&ours(json!({
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
        "runtimeConfig": {"portMappings": []},
        "cni.dev/attachments": [],
        "io.kubernetes.cri/whatever": 1,
        "prevResult": null,
        "dns": {},
        "disableGC": true,
    })));
}

#[test]
fn a_device_that_cannot_be_made_is_refused_or_told() {
    let netkit = json!({"device_type": "netkit"});
    assert_eq!(refused(&ours(netkit.clone())).0, Code::UnsupportedField);
    assert_eq!(
        add(&calicos(netkit)).remarks,
        ["device_type: \"netkit\" is not supported, a veth it is"]
    );
    assert!(add(&ours(json!({"device_type": "veth"}))).remarks.is_empty());
}

#[test]
fn faults_are_told_with_their_path() {
    for (more, told) in [
        (json!({"mtu": "big"}), "mtu: expected a whole number from 0 to 4294967295, found \"big\""),
        (json!({"mtu": -1}), "mtu: expected a whole number from 0 to 4294967295, found -1"),
        (json!({"socket": "run/x"}), "socket: expected an absolute path, found \"run/x\""),
        (json!({"ipam": []}), "ipam: expected an object, found a list"),
        (
            json!({"ipam": {"type": "calico-ipam", "ipv4_pools": ["a", 1]}}),
            "ipam.ipv4_pools[1]: expected a string, found 1",
        ),
        (
            json!({"ipam": {"type": "calico-ipam", "assign_ipv4": "yes"}}),
            "ipam.assign_ipv4: expected true or false, found \"yes\"",
        ),
        (json!({"ipam": {"type": "../sh"}}), "ipam.type: \"../sh\" is no name of a plugin"),
        (json!({"name": ""}), "name: the configuration has none"),
        (json!({"name": "a b"}), "name: invalid characters in \"a b\""),
        (
            json!({"args": {"cni": {"labels": [{"value": "x"}]}}}),
            "args.cni.labels[0]: expected an object with key, found an object",
        ),
        (
            json!({"runtimeConfig": {"ips": ["here"]}}),
            "runtimeConfig.ips[0]: expected an address, found \"here\"",
        ),
        (json!({"prevResult": {"ips": 1}}), "prevResult.ips: expected a list, found 1"),
    ] {
        for config in [ours(more.clone()), calicos(more)] {
            assert_eq!(refused(&config), (Code::InvalidConfig, told.to_owned()), "{config}");
        }
    }
    assert_eq!(
        refused(&json!([])),
        (Code::InvalidConfig, "the configuration: expected an object, found a list".into())
    );
}

#[test]
fn a_del_takes_what_it_needs() {
    let config = ours(json!({
        "polcy_wait_seconds": 3,
        "mtu": "big",
        "socket": "run/x",
        "ipam": {"type": "margay-ipam", "assign_ipv4": []},
        "prevResult": {"ips": 1},
        "args": {"cni": {"labels": 1}},
    }));
    let taken = read(&config, Verb::Del).expect("taken");
    assert_eq!(taken.network, "pods");
    assert_eq!(taken.socket, PathBuf::from(SOCKET));
    let foreign = ours(json!({"ipam": {"type": "host-local", "routes": 7}}));
    let ipam = read(&foreign, Verb::Del).expect("taken").ipam;
    assert!(matches!(ipam, Ipam::Foreign(foreign) if foreign.plugin == "host-local"));
}

#[test]
fn a_del_without_network_is_refused() {
    let error = read(&json!({"type": "margay"}), Verb::Del).expect_err("refused");
    assert_eq!(error.msg, "name: the configuration has none");
}

#[test]
fn labels_and_annotations_come_as_lists_or_objects() {
    let config = add(&ours(json!({
        "args": {"cni": {
            "labels": [{"key": "role", "value": "db"}, {"key": "empty"}],
            "annotations": {"a": "of the list"},
        }},
        "runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"b": "of the runtime"}},
    })));
    let labels: Vec<_> = config.pod.labels.into_iter().collect();
    assert_eq!(labels, [("empty".into(), String::new()), ("role".into(), "db".into())]);
    let annotations: Vec<_> = config.pod.annotations.into_iter().collect();
    let expected = [("a".into(), "of the list".into()), ("b".into(), "of the runtime".into())];
    assert_eq!(annotations, expected);
}

#[test]
fn addresses_are_those_of_the_first_who_names_some() {
    let config = ours(json!({
        "runtimeConfig": {"ips": ["10.0.0.2/24", "2001:db8::2"], "mac": "02:00:00:00:00:02"},
        "args": {"cni": {"ips": ["10.0.0.3"], "mac": "02:00:00:00:00:03"}},
    }));
    let pod = add(&config).pod;
    let expected: Vec<std::net::IpAddr> =
        vec!["10.0.0.2".parse().unwrap(), "2001:db8::2".parse().unwrap()];
    assert_eq!(pod.addresses, expected);
    let mac = pod.annotations.get("cni.projectcalico.org/hwAddr");
    assert_eq!(mac.map(String::as_str), Some("02:00:00:00:00:02"));
    let args = "IP=10.0.0.1;MAC=02:00:00:00:00:01";
    let pod = Config::read(&config, args, Verb::Add, Role::Network).expect("valid").pod;
    assert_eq!(pod.addresses, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    let mac = pod.annotations.get("cni.projectcalico.org/hwAddr");
    assert_eq!(mac.map(String::as_str), Some("02:00:00:00:00:01"));
}

#[test]
fn unknown_arguments_are_refused_for_ours_and_passed_over_for_calicos() {
    let args = "COLOUR=red";
    let error =
        Config::read(&ours(json!({})), args, Verb::Add, Role::Network).expect_err("refused");
    assert_eq!(error.code, Code::InvalidEnvironment);
    assert!(error.msg.contains("COLOUR"), "{}", error.msg);
    assert!(Config::read(&calicos(json!({})), args, Verb::Add, Role::Network).is_ok());
    assert!(Config::read(&ours(json!({})), args, Verb::Del, Role::Network).is_ok());
}

#[test]
fn a_foreign_ipam_plugin_keeps_its_keys() {
    let config = add(&ours(json!({
        "ipam": {
            "type": "host-local",
            "subnet": "10.0.0.0/24",
            "routes": [{"dst": "10.0.0.0/8"}],
            "include_default_routes": true,
        },
    })));
    let expected = Foreign {
        plugin: "host-local".into(),
        routes: vec!["10.0.0.0/8".parse().unwrap()],
        default_routes: true,
        needs_interface: false,
    };
    assert_eq!(config.ipam, Ipam::Foreign(expected));
}

#[test]
fn a_foreign_ipam_plugin_needs_the_interface_if_it_is_a_client_or_told_so() {
    let needs = |verb, plugin: &str, told: Value| {
        let config = ours(json!({"ipam": {"type": plugin}, "ipam_needs_interface": told}));
        let config = Config::read(&config, "", verb, Role::Network).expect("read");
        let Ipam::Foreign(foreign) = config.ipam else { panic!("foreign") };
        foreign.needs_interface
    };
    for verb in [Verb::Add, Verb::Del] {
        assert!(needs(verb, "dhcp", Value::Null));
        assert!(!needs(verb, "dhcp", json!(false)));
        assert!(!needs(verb, "host-local", Value::Null));
        assert!(needs(verb, "host-local", json!(true)));
    }
    // Nothing keeps a DEL from it.
    assert!(needs(Verb::Del, "dhcp", json!("perhaps")));
    let wrong = ours(json!({"ipam": {"type": "dhcp"}, "ipam_needs_interface": "perhaps"}));
    assert_eq!(refused(&wrong).0, Code::InvalidConfig);
}

#[test]
fn the_pod_cidr_of_a_kubernetes_node_is_not_known_here() {
    let config = calicos(json!({"ipam": {"type": "host-local", "subnet": "usePodCidr"}}));
    assert_eq!(
        refused(&config),
        (Code::UnsupportedField, "ipam.subnet: \"usePodCidr\" is not supported".into())
    );
    let ranges = json!({"ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "usePodCidrIPv6"}]],
    }});
    let mut config = calicos(ranges);
    assert_eq!(refused(&config).1, "ipam.ranges[1][0].subnet: \"usePodCidrIPv6\" is not supported");
    assert!(read(&config, Verb::Del).is_ok());
    without_pod_cidr(&mut config);
    assert_eq!(
        config["ipam"]["ranges"],
        json!([[{"subnet": "10.0.0.0/24"}], [{"subnet": "::/0"}]])
    );
}

#[test]
fn called_for_addresses_the_keys_of_the_main_plugin_are_not_ours_to_judge() {
    let config = json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "type": "bridge",
        "bridge": "br0",
        "isGateway": true,
        "ipam": {"type": "margay-ipam", "ipv4_pools": ["blue"]},
    });
    let read = Config::read(&config, CRI, Verb::Add, Role::Ipam).expect("valid");
    assert_eq!(read.remarks, Vec::<String>::new());
    assert!(matches!(read.ipam, Ipam::Ours(assign) if assign.ipv4_pools == ["blue"]));
}

#[test]
fn the_name_of_the_program_says_what_it_is_called_for() {
    for (program, role) in [
        ("/opt/cni/bin/margay", Role::Network),
        ("calico", Role::Network),
        ("margay-cni", Role::Network),
        ("", Role::Network),
        ("/opt/cni/bin/margay-ipam", Role::Ipam),
        ("calico-ipam", Role::Ipam),
    ] {
        assert_eq!(Role::of(program), role, "{program}");
    }
}

#[test]
fn a_missing_version_is_the_one_from_before_there_were_versions() {
    assert_eq!(version(&json!({})), Ok(Version::V020));
    assert_eq!(version(&json!({"cniVersion": ""})), Ok(Version::V020));
    for known in Version::ALL {
        assert_eq!(version(&json!({"cniVersion": known.text()})), Ok(known));
    }
    let error = version(&json!({"cniVersion": "2.0.0"})).expect_err("refused");
    assert_eq!(error.code, Code::IncompatibleVersion);
    assert!(error.details.contains("1.1.0"), "{}", error.details);
    assert_eq!(version(&json!({"cniVersion": 1})).expect_err("refused").code, Code::InvalidConfig);
}

#[test]
fn what_is_no_json_is_told_with_its_place() {
    let error = decode(b"{\n  \"name\": }").expect_err("refused");
    assert_eq!(error.code, Code::Decode);
    assert!(error.details.contains("line 2"), "{}", error.details);
    assert_eq!(decode(b"").expect_err("refused").code, Code::Decode);
    assert_eq!(decode(b"\xff").expect_err("refused").code, Code::Decode);
}

#[test]
fn a_collection_needs_the_list_of_what_is_valid() {
    let gc = |more| read(&ours(more), Verb::Gc).map(|config| config.valid);
    let list = json!([{"containerID": "a", "ifname": "eth0"}]);
    let expected = vec![("a".to_owned(), "eth0".to_owned())];
    assert_eq!(gc(json!({"cni.dev/valid-attachments": list})), Ok(expected.clone()));
    assert_eq!(gc(json!({"cni.dev/attachments": list})), Ok(expected));
    assert_eq!(gc(json!({"cni.dev/valid-attachments": null})), Ok(Vec::new()));
    let error = gc(json!({})).expect_err("refused");
    assert_eq!(error.code, Code::InvalidConfig);
    // A list that cannot be read is not an empty one.
    for wrong in [json!({}), json!([1]), json!([{"containerID": "a"}]), json!("")] {
        assert!(gc(json!({"cni.dev/valid-attachments": wrong})).is_err(), "{wrong}");
    }
}

/// The configurations of the README, as far as they are whole.
#[test]
fn the_configuration_of_the_readme_is_taken_without_a_remark() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let lists: Vec<Value> = readme
        .split("```json\n")
        .skip(1)
        .filter_map(|rest| serde_json::from_str(rest.split_once("```")?.0).ok())
        .filter(|list: &Value| list.get("plugins").is_some())
        .collect();
    assert!(!lists.is_empty(), "the README has no conflist");
    for list in lists {
        let mut plugin = list["plugins"][0].clone();
        // As runtimes hand it over.
        plugin["name"] = list["name"].clone();
        plugin["cniVersion"] = list["cniVersion"].clone();
        assert_eq!(add(&plugin).remarks, Vec::<String>::new());
        assert_eq!(version(&plugin), Ok(Version::V100));
    }
}
