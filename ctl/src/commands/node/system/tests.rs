use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::*;

/// The files of a host that a test makes up.
pub struct Host(PathBuf);

impl Host {
    pub fn new(name: &str, release: &str) -> Self {
        let root = std::env::temp_dir().join(format!("margay-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let host = Self(root);
        host.file("proc/sys/kernel/osrelease", &format!("{release}\n"));
        host
    }

    pub fn file(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn packed(&self, path: &str, text: &str) {
        self.file(path, "");
        let mut gz =
            GzEncoder::new(fs::File::create(self.0.join(path)).unwrap(), Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        gz.finish().unwrap();
    }

    pub fn system(&self) -> System {
        System::new(&self.0)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const CONFIG: &str = "\
CONFIG_NF_TABLES=y
CONFIG_NF_TABLES_INET=y
# CONFIG_NET_IPIP is not set
CONFIG_VXLAN=m
CONFIG_WIREGUARD=m
";

#[test]
fn a_part_is_there_when_it_is_built_in_loaded_or_installed() {
    let host = Host::new("parts", "6.1.0-18-amd64");
    host.packed("proc/config.gz", CONFIG);
    host.file("lib/modules/6.1.0-18-amd64/modules.dep", "kernel/drivers/net/vxlan/vxlan.ko.xz:\n");
    host.file("sys/module/nf_conntrack/refcnt", "1");
    let system = host.system();
    let part = |option, module| system.part(option, module);
    assert_eq!(part("CONFIG_NF_TABLES", "nf_tables"), Presence::There("built in"));
    assert_eq!(part("CONFIG_VXLAN", "vxlan"), Presence::There("as a module"));
    assert_eq!(part("CONFIG_NF_CONNTRACK", "nf_conntrack"), Presence::There("loaded"));
    assert!(matches!(part("CONFIG_NET_IPIP", "ipip"), Presence::Missing(_)));
    assert!(matches!(part("CONFIG_WIREGUARD", "wireguard"), Presence::Missing(_)));
    assert!(matches!(part("CONFIG_NF", "nf"), Presence::Missing(_)), "not by half of a name");
}

#[test]
fn without_a_configuration_the_lists_of_modules_speak() {
    let host = Host::new("lists", "6.1.0");
    host.file("lib/modules/6.1.0/modules.builtin", "kernel/net/netfilter/nf_tables.ko\n");
    host.file("lib/modules/6.1.0/modules.dep", "kernel/drivers/net/veth.ko: \n");
    let system = host.system();
    assert_eq!(system.part("CONFIG_NF_TABLES", "nf_tables"), Presence::There("built in"));
    assert_eq!(system.part("CONFIG_VETH", "veth"), Presence::There("as a module"));
    assert_eq!(system.part("CONFIG_VXLAN", "vxlan"), Presence::Unknown);
}

#[test]
fn a_release_has_a_version() {
    for (release, version) in
        [("6.1.0-18-amd64", Some((6, 1))), ("5.10", Some((5, 10))), ("6.12-rc1", Some((6, 12)))]
    {
        assert_eq!(Host::new("release", release).system().version(), version, "{release}");
    }
    assert_eq!(Host::new("release", "unknown").system().version(), None);
}
