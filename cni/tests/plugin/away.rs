//! The daemon is away, hangs, or is of another version.

use std::time::{Duration, Instant};

use serde_json::json;
use tonic::Status;

use crate::fake::{Mood, Runtime, Scene, VERSIONS};

#[test]
fn an_add_is_to_be_tried_again_later() {
    let scene = Scene::alone();
    for version in VERSIONS {
        let said = Runtime::new("ADD", &scene).ask(&scene.config(version, json!({})));
        assert_eq!(said.code(), 11);
        assert_eq!(said.json()["msg"], "margay-bgpd is not running");
        let details = said.json()["details"].as_str().expect("details").to_owned();
        assert!(details.starts_with("there is no socket "), "{details}");
    }
    assert_eq!(scene.spooled(), []);
}

#[test]
fn a_socket_that_nobody_listens_on_is_as_good_as_none() {
    let scene = Scene::alone();
    drop(std::os::unix::net::UnixListener::bind(scene.path("bgpd.sock")).expect("bound"));
    let said = Runtime::new("ADD", &scene).ask(&scene.config("1.0.0", json!({})));
    assert_eq!(said.code(), 11);
    assert!(said.json()["details"].as_str().expect("details").starts_with("nobody listens on "));
}

#[test]
fn a_check_and_a_collection_are_to_be_tried_again_later() {
    let scene = Scene::alone();
    let check = json!({"prevResult": {"interfaces": [{"name": "eth0", "sandbox": "/x"}]}});
    let said = Runtime::new("CHECK", &scene).ask(&scene.config("1.1.0", check));
    assert_eq!(said.code(), 11);
    let gc = json!({"cni.dev/valid-attachments": []});
    assert_eq!(Runtime::new("GC", &scene).ask(&scene.config("1.1.0", gc)).code(), 11);
}

#[test]
fn a_status_is_not_available() {
    let scene = Scene::alone();
    let said = Runtime::new("STATUS", &scene).ask(&scene.config("1.1.0", json!({})));
    assert_eq!(said.code(), 50);
}

#[test]
fn a_del_succeeds_and_leaves_the_release_for_the_daemon() {
    let scene = Scene::alone();
    for (nth, version) in VERSIONS.into_iter().enumerate() {
        let said = Runtime::new("DEL", &scene).ask(&scene.config(version, json!({})));
        assert!(said.done, "{version}: {said:?}");
        assert_eq!(said.stdout, "");
        assert!(said.stderr.contains("the release is left for the daemon"), "{said:?}");
        assert_eq!(scene.spooled().len(), nth + 1);
    }
    for spooled in scene.spooled() {
        let attachment = spooled.attachment.expect("an attachment");
        assert_eq!(attachment.network, "pods");
        assert_eq!(attachment.container_id, "c0ffee");
        assert_eq!(attachment.ifname, "eth0");
        assert_eq!(spooled.pod.expect("a pod").name, "web");
        assert!(spooled.spooled_at > 1_577_836_800_000, "{}", spooled.spooled_at);
    }
}

#[test]
fn a_del_without_network_namespace_or_with_one_that_is_gone_succeeds() {
    let scene = Scene::alone();
    for netns in ["", "/run/netns/gone"] {
        let mut runtime = Runtime::new("DEL", &scene);
        runtime.set("CNI_NETNS", netns);
        for _ in 0..3 {
            let said = runtime.ask(&scene.config("1.0.0", json!({})));
            assert!(said.done, "{said:?}");
        }
    }
    assert_eq!(scene.spooled().len(), 6);
}

#[test]
fn a_del_never_touches_the_hosts_own_interfaces() {
    let scene = Scene::alone();
    let mut runtime = Runtime::new("DEL", &scene);
    runtime.set("CNI_NETNS", "/proc/self/ns/net");
    // There is one of this name everywhere; as root it could not be deleted, and that would be told.
    runtime.set("CNI_IFNAME", "lo");
    let said = runtime.ask(&scene.config("1.0.0", json!({})));
    assert!(said.done, "{said:?}");
}

#[test]
fn a_del_that_cannot_be_spooled_fails_so_that_it_comes_again() {
    let scene = Scene::alone();
    std::fs::write(scene.path("spool"), "in the way").expect("written");
    let said = Runtime::new("DEL", &scene).ask(&scene.config("1.0.0", json!({})));
    assert_eq!(said.code(), 5);
    assert!(said.json()["msg"].as_str().expect("a message").starts_with("spool_dir: "));
}

#[test]
fn a_del_is_spooled_when_the_daemon_cannot_now() {
    for status in [Status::unavailable("starting"), Status::unimplemented("of old")] {
        let scene = Scene::with(Mood::Says(status));
        let said = Runtime::new("DEL", &scene).ask(&scene.config("1.0.0", json!({})));
        assert!(said.done, "{said:?}");
        assert_eq!(scene.spooled().len(), 1);
    }
}

#[test]
fn a_status_of_a_daemon_that_hangs_ends_in_time() {
    let scene = Scene::with(Mood::Hangs);
    let begun = Instant::now();
    let said = Runtime::new("STATUS", &scene).ask(&scene.config("1.1.0", json!({})));
    assert_eq!(said.code(), 50);
    assert_eq!(said.json()["msg"], "margay-bgpd did not answer within 5 s");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_del_of_addresses_only_takes_no_link_away() {
    let scene = Scene::alone();
    let config = scene.config("1.0.0", json!({"type": "bridge", "ipam": {"type": "margay-ipam"}}));
    let mut runtime = Runtime::new("DEL", &scene).named("margay-ipam", &scene);
    // A folder cannot be entered, which would be told.
    runtime.set("CNI_NETNS", "/proc/self/ns/mnt");
    let said = runtime.ask(&config);
    assert!(said.done, "{said:?}");
    assert_eq!(scene.spooled().len(), 1);
}
