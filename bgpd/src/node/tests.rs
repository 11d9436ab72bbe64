use super::*;

fn parsed(text: &str) -> Desired {
    let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    bgp_desired::parse(text, "t.toml", &read).unwrap_or_else(|f| panic!("{f:?}")).desired
}

#[test]
fn only_its_own_settings_let_a_node_look_for_a_better_address() {
    let plain = parsed("[node]\nregister = true\n");
    let peers = parsed("[node]\nregister = true\n[bgp]\nasn = 65001\n");
    assert!(!is_about_us(&plain, &peers));
    assert!(is_about_us(&plain, &parsed("[node]\nregister = false\n")));
    let elsewhere = "[node]\nregister = true\n[datastore]\ntype = \"etcd\"\nendpoints = \
                     [\"http://10.0.0.1:2379\"]\n";
    assert!(is_about_us(&plain, &parsed(elsewhere)), "what is reached decides the address");
}
