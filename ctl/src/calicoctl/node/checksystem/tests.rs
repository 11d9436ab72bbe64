use std::fs;

use super::*;
use crate::commands::node::system::tests::Host;

/// The results by name, and whether all is well.
fn results(system: &System) -> (Vec<(String, String)>, bool) {
    let (text, is_sound) = report(system);
    let lines = text.lines().filter_map(|line| line.strip_prefix("\t\t"));
    let pair = |line: &str| {
        let (name, result) = line.split_once("\t\t\t\t\t").expect("five of them");
        (name.trim().to_owned(), result.to_owned())
    };
    (lines.map(pair).collect(), is_sound)
}

fn of(results: &[(String, String)], name: &str) -> String {
    let found = results.iter().find(|(known, _)| known == name);
    found.map(|(_, result)| result.clone()).unwrap_or_default()
}

#[test]
fn lines_are_those_of_the_original() {
    let host = Host::new("calico-lines", "6.1.0-18-amd64");
    host.file("sys/module/nf_tables/refcnt", "0");
    let (text, is_sound) = report(&host.system());
    assert!(is_sound, "{text}");
    assert!(
        text.starts_with(
            "Checking kernel version...\n\t\t6.1.0-18-amd64      \t\t\t\t\tOK\n\
             Checking kernel modules...\n\t\tnf_tables           \t\t\t\t\tOK\n"
        ),
        "{text}"
    );
    assert!(text.contains("WARNING: Unable to detect the wireguard module: "), "{text}");
}

#[test]
fn what_is_needed_fails_and_the_rest_is_skipped() {
    let host = Host::new("calico-needed", "6.1.0");
    host.file("boot/config-6.1.0", "CONFIG_VETH=y\nCONFIG_NF_CONNTRACK=y\n");
    let (results, is_sound) = results(&host.system());
    assert!(!is_sound);
    assert_eq!(
        ["6.1.0", "nf_tables", "veth", "wireguard"].map(|name| of(&results, name)),
        ["OK", "FAIL", "OK", "SKIP"]
    );
}

#[test]
fn a_kernel_that_is_too_old_is_named() {
    let host = Host::new("calico-old", "4.19.0");
    let (text, is_sound) = report(&host.system());
    assert!(!is_sound && text.contains("4.19.0, older than 5.10"), "{text}");
}

#[test]
fn a_configuration_that_is_given_is_all_that_counts() {
    let host = Host::new("calico-config", "6.1.0");
    host.file("sys/module/veth/refcnt", "0");
    host.file("given", "CONFIG_NF_TABLES=m\nCONFIG_NF_CONNTRACK=y\n");
    let path = std::env::temp_dir().join(format!("margay-calico-config-{}", std::process::id()));
    let system = host.system().configured_by(&path.join("given")).expect("it can be read");
    let (found, is_sound) = results(&system);
    assert!(!is_sound, "veth is loaded, but not configured");
    assert_eq!((of(&found, "nf_tables"), of(&found, "veth")), ("OK".into(), "FAIL".into()));
    fs::write(path.join("given"), "CONFIG_NF_TABLES=m\nCONFIG_NF_CONNTRACK=y\nCONFIG_VETH=m\n")
        .expect("our own file");
    let system = host.system().configured_by(&path.join("given")).expect("it can be read");
    assert!(results(&system).1);
    assert!(host.system().configured_by(&path.join("none")).is_err());
}
