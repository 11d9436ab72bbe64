use super::*;

/// A state directory of a test.
struct Dir(std::path::PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("margay-name-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a new directory");
        Self(dir)
    }

    fn node(&self, name: Option<&str>, register: bool) -> String {
        let mut desired = Desired::default();
        desired.node.name = name.map(str::to_owned);
        desired.node.state_dir.clone_from(&self.0);
        desired.node.registration.enabled = register;
        settle(&desired)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_node_of_a_cluster_remembers_its_name() {
    let dir = Dir::new("remembers");
    assert_eq!(dir.node(Some("node-7"), true), "node-7");
    assert_eq!(dir.node(None, true), "node-7", "whatever the host is called now");
    assert_eq!(dir.node(Some("node-8"), true), "node-8", "the configuration has the last word");
    assert_eq!(dir.node(None, true), "node-8");
}

#[test]
fn a_router_on_its_own_has_the_name_of_its_host_and_writes_nothing() {
    let dir = Dir::new("alone");
    let host = nix::unistd::gethostname().expect("a name").to_string_lossy().into_owned();
    assert_eq!(dir.node(None, false), host);
    assert_eq!(dir.node(Some("Edge_1"), false), "Edge_1");
    assert!(!dir.0.join(FILE).exists());
    assert_eq!(dir.node(None, true), host.to_lowercase());
    assert!(dir.0.join(FILE).exists());
}

#[test]
fn a_file_with_something_else_in_it_is_left_aside() {
    let dir = Dir::new("damaged");
    fs::write(dir.0.join(FILE), "not a name\u{0}").expect("written");
    let host = nix::unistd::gethostname().expect("a name").to_string_lossy().to_lowercase();
    assert_eq!(dir.node(None, true), host);
}
