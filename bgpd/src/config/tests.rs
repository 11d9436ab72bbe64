use super::*;

fn link(addresses: &[&str]) -> Link {
    Link {
        index: 1,
        name: "eth0".to_owned(),
        up: true,
        mac: None,
        mtu: 1500,
        addresses: addresses.iter().map(|text| text.parse().expect("a prefix")).collect(),
    }
}

#[test]
fn the_highest_address_is_the_default_router_id() {
    let links = [link(&["127.0.0.1/8"]), link(&["10.0.0.9/24", "192.0.2.1/24", "2001:db8::1/64"])];
    assert_eq!(host_router_id(&links), Some(Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!(host_router_id(&[link(&["127.0.0.1/8", "169.254.1.1/16"])]), None);
}

#[test]
fn a_missing_file_is_no_fault_unless_it_was_asked_for() {
    let path = PathBuf::from("/nonexistent/bgpd.toml");
    let optional = Source { path: path.clone(), required: false };
    assert_eq!(optional.load().expect("defaults").desired, Desired::default());
    let error = Source::new(Some(path)).load().expect_err("it is not there");
    assert!(error.render().starts_with("error: cannot read /nonexistent/bgpd.toml: "));
}

#[test]
fn a_file_that_was_read_once_must_not_go_missing() {
    let path = std::env::temp_dir().join(format!("margay-settle-{}.toml", std::process::id()));
    let mut source = Source { path: path.clone(), required: false };
    source.settle();
    assert!(source.load().is_ok(), "never there: the defaults");
    fs::write(&path, "[bgp]\nasn = 1\n").expect("a file");
    source.settle();
    assert!(source.load().is_ok());
    fs::remove_file(&path).expect("it is there");
    source.load().expect_err("a reload must not take this for the defaults");
}

#[test]
fn every_fault_has_its_line() {
    let source = Source::new(None);
    let error = source.parse("[bgp]\nasn = 1\nhold-tme = 9\n", "x.toml").expect_err("a typo");
    assert!(error.lines().starts_with("x.toml:3: "), "{}", error.lines());
}
