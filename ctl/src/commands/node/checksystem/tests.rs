use super::*;
use crate::commands::node::system::tests::Host;

fn sound(name: &str) -> Host {
    let host = Host::new(name, "6.1.0-18-amd64");
    for module in ["nf_tables", "nf_conntrack", "veth", "vxlan"] {
        host.file(&format!("sys/module/{module}/refcnt"), "0");
    }
    host.file("proc/sys/net/ipv4/ip_forward", "1\n");
    host.file("proc/sys/net/ipv4/nexthop_compat_mode", "1\n");
    host.file("proc/self/mounts", "proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n");
    host
}

fn result(checks: &[Check], name: &str) -> (&'static str, bool) {
    let check = checks.iter().find(|check| check.name == name).expect("a check");
    (check.result, check.fails())
}

#[test]
fn a_host_with_all_that_is_needed_passes_whatever_else_is_missing() {
    let checks = look(&sound("sound").system());
    assert!(checks.iter().all(|check| !check.fails()), "{checks:?}");
    assert_eq!(result(&checks, "next-hop objects"), ("ok", false));
    assert_eq!(result(&checks, "bpf file system"), ("ok", false));
    assert_eq!(result(&checks, "vxlan"), ("ok", false));
    assert_eq!(result(&checks, "wireguard"), ("unknown", false));
    assert_eq!(result(&checks, "bpf type information"), ("missing", false));
}

#[test]
fn what_is_needed_and_missing_fails() {
    let host = sound("forward");
    host.file("proc/sys/net/ipv4/ip_forward", "0\n");
    assert_eq!(result(&look(&host.system()), "net.ipv4.ip_forward"), ("missing", true));
    let old = sound("old");
    old.file("proc/sys/kernel/osrelease", "4.19.0\n");
    let checks = look(&old.system());
    assert_eq!(result(&checks, "kernel"), ("missing", true));
    let host = sound("tables");
    host.file("boot/config-6.1.0-18-amd64", "CONFIG_VETH=y\n");
    std::fs::remove_dir_all(
        std::env::temp_dir()
            .join(format!("margay-tables-{}/sys/module/nf_tables", std::process::id())),
    )
    .expect("it is there");
    let checks = look(&host.system());
    assert_eq!(result(&checks, "nftables"), ("missing", true));
    assert_eq!(result(&checks, "veth"), ("ok", false));
}

#[test]
fn what_nobody_can_tell_does_not_fail() {
    let host = Host::new("silent", "6.1.0");
    host.file("proc/sys/net/ipv4/ip_forward", "1\n");
    let checks = look(&host.system());
    assert_eq!(result(&checks, "nftables"), ("unknown", false));
    assert!(checks.iter().all(|check| !check.fails()));
}
