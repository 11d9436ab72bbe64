use super::*;

fn id(container: &str, ifname: &str) -> AttachmentId {
    AttachmentId::new("net", container, ifname).expect("it is one")
}

fn pod() -> Pod {
    Pod { namespace: "default".into(), name: "nginx".into(), uid: String::new() }
}

#[test]
fn a_pod_has_the_name_that_calico_gives_it() {
    // sha1sum of "default.nginx".
    assert_eq!(host_end(&id("c", "eth0"), Some(&pod()), |_| false), "calic440f455693");
}

#[test]
fn a_container_that_is_no_pod_is_called_by_its_id() {
    assert_eq!(host_end(&id("0123456789abcdef", "eth0"), None, |_| false), "cali0123456789a");
    assert_eq!(host_end(&id("c1", "eth0"), None, |_| false), "calic1");
}

#[test]
fn a_name_that_is_taken_is_not_given_again() {
    let usual = host_end(&id("c", "eth0"), Some(&pod()), |_| false);
    let second = host_end(&id("c", "net1"), Some(&pod()), |name| name == usual);
    let third = host_end(&id("c", "net1"), Some(&pod()), |name| name == usual || name == second);
    for name in [&second, &third] {
        assert!(name.starts_with(PREFIX) && name.len() == 15, "{name}");
    }
    assert_ne!(usual, second);
    assert_ne!(second, third);
}

#[test]
fn hardware_addresses_are_local_and_of_one_station() {
    let (a, b) = (mac(&id("a", "eth0")), mac(&id("b", "eth0")));
    assert_ne!(a, b);
    for Mac([first, ..]) in [a, b] {
        assert_eq!(first & 3, 2);
    }
}
