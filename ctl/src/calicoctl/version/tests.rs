use super::*;

#[test]
fn releases_are_known_by_their_minor_number() {
    for known in ["", "v3.28.0", "3.33.1", "v3.30.0-rc1", "v3.29.0-0.dev-12-gabc"] {
        assert!(is_known(known), "{known}");
    }
    for unknown in ["v3.27.4", "v3.34.0", "v2.6.0", "master", "v3", "v3.x.1"] {
        assert!(!is_known(unknown), "{unknown}");
    }
    assert!(is_known(VERSION));
}

#[test]
fn an_interval_is_a_duration_that_is_not_nothing() {
    assert_eq!(interval("1m30s"), Ok(Duration::from_secs(90)));
    assert!(interval("0s").is_err() && interval("soon").is_err());
}

#[test]
fn what_a_cluster_does_not_say_is_unknown() {
    assert_eq!(
        Cluster::default().text(),
        "Cluster Version:   unknown\nCluster Type:      unknown\n"
    );
}
