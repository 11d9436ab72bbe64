//! Addresses of another IPAM plugin: a script that notes how it was called.

use margay_proto::{
    error::with_cni_code,
    v1::{Attachment, Workload, add_workload_request::Ipam},
};
use serde_json::{Value, json};
use tonic::Status;

use crate::fake::{Asked, Mood, Runtime, Scene};

/// Notes the verb and the configuration, and gives an address.
const GIVES: &str = r#"
folder=$(dirname "$0")
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >> "$folder/calls"
cat > "$folder/stdin"
if [ "$CNI_COMMAND" = ADD ]; then
  echo '{"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.20.0.5/24", "gateway": "10.20.0.1"}], "dns": {"nameservers": ["10.20.0.53"]}}'
fi"#;

fn config(scene: &Scene, version: &str) -> Value {
    let ipam = json!({"ipam": {"type": "host-local", "subnet": "10.20.0.0/24", "of": "its own"}});
    scene.config(version, ipam)
}

fn calls(scene: &Scene) -> Vec<String> {
    let text = std::fs::read_to_string(scene.path("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_add_takes_the_address_that_the_plugin_gives() {
    let scene = Scene::good();
    scene.plugin("host-local", GIVES);
    let config = config(&scene, "1.0.0");
    let said = Runtime::new("ADD", &scene).ask(&config);
    assert!(said.done, "{said:?}");
    let result = said.json();
    assert_eq!(result["ips"][0]["address"], "10.20.0.5/24");
    assert_eq!(result["ips"][0]["interface"], 1);
    assert_eq!(result["dns"]["nameservers"], json!(["10.20.0.53"]));
    let asked = scene.asked();
    let [Asked::Add(add)] = asked.as_slice() else { panic!("{asked:?}") };
    let Some(Ipam::Given(given)) = &add.ipam else { panic!("{add:?}") };
    assert_eq!(given.ips[0].address, "10.20.0.5/24");
    assert_eq!(calls(&scene), ["ADD c0ffee eth0"]);
    let stdin = std::fs::read_to_string(scene.path("stdin")).expect("noted");
    assert_eq!(serde_json::from_str::<Value>(&stdin).expect("JSON"), config);
}

#[test]
fn every_other_verb_reaches_the_plugin_too() {
    let scene = Scene::good();
    scene.plugin("host-local", GIVES);
    let config = config(&scene, "1.1.0");
    let with = |more: Value| {
        let mut config = config.clone();
        if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
            config.extend(more);
        }
        config
    };
    let previous = json!({"prevResult": {"interfaces": [{"name": "eth0", "sandbox": "/x"}]}});
    assert!(Runtime::new("CHECK", &scene).ask(&with(previous)).done);
    assert!(Runtime::new("STATUS", &scene).ask(&config).done);
    let gc = json!({"cni.dev/valid-attachments": []});
    assert!(Runtime::new("GC", &scene).ask(&with(gc)).done);
    assert!(Runtime::new("DEL", &scene).ask(&config).done);
    let verbs: Vec<_> = calls(&scene).iter().map(|call| call[..2].to_owned()).collect();
    assert_eq!(verbs, ["CH", "ST", "GC", "DE"]);
    assert_eq!(scene.asked().len(), 4);
}

#[test]
fn the_address_goes_back_when_the_daemon_fails() {
    let status = with_cni_code(Status::already_exists("eth0 is taken"), 102);
    let scene = Scene::with(Mood::Says(status));
    scene.plugin("host-local", GIVES);
    let said = Runtime::new("ADD", &scene).ask(&config(&scene, "1.0.0"));
    assert_eq!(said.code(), 102);
    assert_eq!(calls(&scene), ["ADD c0ffee eth0", "DEL c0ffee eth0"]);
}

#[test]
fn while_the_daemon_is_away_no_address_is_asked_for_and_every_one_is_given_back() {
    let scene = Scene::alone();
    scene.plugin("host-local", GIVES);
    // None is asked for: whether one was given before only the daemon knows.
    assert_eq!(Runtime::new("ADD", &scene).ask(&config(&scene, "1.0.0")).code(), 11);
    assert_eq!(calls(&scene), [""; 0]);
    assert!(Runtime::new("DEL", &scene).ask(&config(&scene, "1.0.0")).done);
    assert_eq!(calls(&scene), ["DEL c0ffee eth0"]);
}

/// Of one that asks over the container's interface.
fn client(scene: &Scene) -> Value {
    scene.config("1.0.0", json!({"ipam": {"type": "dhcp"}}))
}

/// How many addresses each ADD brought, and what was deleted.
fn brought(scene: &Scene) -> Vec<Option<usize>> {
    let one = |asked: &Asked| match asked {
        Asked::Add(add) => match &add.ipam {
            Some(Ipam::Leased(leased)) => Some(leased.ips.len()),
            other => panic!("{other:?}"),
        },
        Asked::Delete(_) => None,
        other => panic!("{other:?}"),
    };
    scene.asked().iter().map(one).collect()
}

#[test]
fn a_plugin_that_asks_over_the_interface_finds_it_there() {
    let scene = Scene::good();
    scene.plugin("dhcp", GIVES);
    let mut config = client(&scene);
    // Behind another plugin, whose address is not this one's.
    config["prevResult"] = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.1/24"}]});
    let said = Runtime::new("ADD", &scene).ask(&config);
    assert!(said.done, "{said:?}");
    let ips = &said.json()["ips"];
    assert_eq!(
        (&ips[0]["address"], &ips[1]["address"]),
        (&"10.1.0.1/24".into(), &"10.20.0.5/24".into())
    );
    assert_eq!(brought(&scene), [Some(0), Some(1)]);
    assert_eq!(calls(&scene), ["ADD c0ffee eth0"]);
}

#[test]
fn what_a_client_got_goes_back_before_its_link_goes() {
    // With the daemon's refusal, and with its own.
    let taken = with_cni_code(Status::already_exists("10.20.0.5 is taken"), 101);
    let scene = Scene::with(Mood::Links(taken));
    scene.plugin("dhcp", GIVES);
    assert_eq!(Runtime::new("ADD", &scene).ask(&client(&scene)).code(), 101);
    assert_eq!(calls(&scene), ["ADD c0ffee eth0", "DEL c0ffee eth0"]);
    assert_eq!(brought(&scene), [Some(0), Some(1), None]);
    let scene = Scene::good();
    scene.plugin("dhcp", &format!("{GIVES}\n[ $CNI_COMMAND = DEL ] || exit 1"));
    assert_eq!(Runtime::new("ADD", &scene).ask(&client(&scene)).code(), 110);
    assert_eq!(calls(&scene), ["ADD c0ffee eth0", "DEL c0ffee eth0"]);
    assert_eq!(brought(&scene), [Some(0), None]);
    // Without a link nothing is asked for.
    let later = with_cni_code(Status::unavailable("later"), 11);
    let scene = Scene::with(Mood::Says(later));
    scene.plugin("dhcp", GIVES);
    assert_eq!(Runtime::new("ADD", &scene).ask(&client(&scene)).code(), 11);
    assert_eq!(calls(&scene), [""; 0]);
    assert_eq!(brought(&scene), [Some(0)]);
    // A client that cannot give back keeps no link from going.
    let scene = Scene::good();
    scene.plugin("dhcp", "cat > /dev/null; exit 1");
    assert_eq!(Runtime::new("DEL", &scene).ask(&client(&scene)).code(), 110);
    assert_eq!(brought(&scene), [None]);
}

#[test]
fn an_add_that_is_repeated_keeps_the_address_that_was_given() {
    let workload = |state: &str| Workload {
        attachment: Some(Attachment {
            network: "pods".into(),
            container_id: "c0ffee".into(),
            ifname: "eth0".into(),
        }),
        state: state.into(),
        addresses: vec!["10.20.0.9".into()],
        ..Workload::default()
    };
    let scene = Scene::good();
    scene.plugin("host-local", GIVES);
    scene.has(workload("live"));
    let said = Runtime::new("ADD", &scene).ask(&config(&scene, "1.0.0"));
    assert!(said.done, "{said:?}");
    assert_eq!(said.json()["ips"][0]["address"], "10.20.0.9/32");
    assert_eq!(calls(&scene), [""; 0]);
    // One that the daemon cannot serve takes nothing from what is there either.
    let scene = Scene::with(Mood::Says(with_cni_code(Status::unavailable("later"), 11)));
    scene.plugin("host-local", GIVES);
    scene.has(workload("live"));
    assert_eq!(Runtime::new("ADD", &scene).ask(&config(&scene, "1.0.0")).code(), 11);
    assert_eq!(calls(&scene), [""; 0]);
    // What is on its way out is not there.
    let scene = Scene::good();
    scene.plugin("host-local", GIVES);
    scene.has(workload("deleting"));
    let said = Runtime::new("ADD", &scene).ask(&config(&scene, "1.0.0"));
    assert_eq!(said.json()["ips"][0]["address"], "10.20.0.5/24");
    assert_eq!(calls(&scene), ["ADD c0ffee eth0"]);
}

#[test]
fn a_plugin_that_refuses_is_not_asked_to_give_back() {
    let scene = Scene::good();
    let refuses = r#"
echo "$CNI_COMMAND" >> "$(dirname "$0")/calls"
cat > /dev/null
echo '{"cniVersion": "1.0.0", "code": 999, "msg": "duplicate allocation is not allowed"}'
exit 1"#;
    scene.plugin("host-local", refuses);
    assert_eq!(Runtime::new("ADD", &scene).ask(&config(&scene, "1.0.0")).code(), 999);
    assert_eq!(calls(&scene), ["ADD"]);
}

#[test]
fn a_plugin_that_says_much_before_it_reads_is_waited_for() {
    let scene = Scene::good();
    scene.plugin("host-local", &format!("head -c 300000 /dev/zero | tr '\\0' ' '{GIVES}"));
    let mut config = config(&scene, "1.0.0");
    config["ipam"]["much"] = "x".repeat(300_000).into();
    let said = Runtime::new("ADD", &scene).ask(&config);
    assert!(said.done, "{:.300}", said.stdout);
}

#[test]
fn an_error_of_the_plugin_is_handed_on() {
    let scene = Scene::good();
    scene.plugin(
        "host-local",
        r#"cat > /dev/null; echo '{"cniVersion": "1.0.0", "code": 11, "msg": "range is full", "details": "of 10.20.0.0/24"}'; exit 1"#,
    );
    let said = Runtime::new("ADD", &scene).ask(&config(&scene, "1.0.0"));
    assert_eq!(said.code(), 11);
    assert_eq!(said.json()["msg"], "IPAM plugin host-local: range is full");
    assert_eq!(said.json()["details"], "of 10.20.0.0/24");
    assert_eq!(scene.asked(), []);
    // Our part of a DEL is done in any case.
    assert_eq!(Runtime::new("DEL", &scene).ask(&config(&scene, "1.0.0")).code(), 11);
    assert!(matches!(scene.asked().as_slice(), [Asked::Delete(_)]));
}

#[test]
fn a_plugin_without_a_proper_answer_is_told() {
    for (script, msg) in [
        ("echo nonsense; exit 3", "the IPAM plugin host-local failed: exit status: 3"),
        ("cat > /dev/null; echo nonsense", "the IPAM plugin host-local answered no result"),
        ("cat > /dev/null; echo '{\"ips\": 1}'", "the IPAM plugin host-local answered no result"),
        ("cat > /dev/null; echo '{}'", "the IPAM plugin host-local answered no address"),
    ] {
        let scene = Scene::good();
        scene.plugin("host-local", script);
        let said = Runtime::new("ADD", &scene).ask(&config(&scene, "1.0.0"));
        assert_eq!((said.code(), said.json()["msg"].as_str()), (110, Some(msg)));
        assert_eq!(scene.asked(), []);
    }
}

#[test]
fn a_plugin_that_is_not_there_is_told_with_the_path() {
    let scene = Scene::good();
    let said = Runtime::new("ADD", &scene).ask(&config(&scene, "1.0.0"));
    assert_eq!(said.code(), 7);
    assert_eq!(said.json()["msg"], "ipam.type: there is no plugin \"host-local\" in CNI_PATH");
    assert_eq!(scene.asked(), []);
    // Nothing was given, but who knows: the runtime shall come again.
    assert_eq!(Runtime::new("DEL", &scene).ask(&config(&scene, "1.0.0")).code(), 7);
    assert!(matches!(scene.asked().as_slice(), [Asked::Delete(_)]));
}
