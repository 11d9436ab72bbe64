use super::*;

fn file(spec: &str) -> Result<Option<Wanted>, String> {
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\nspec:\n  {spec}\n"
    );
    in_file(text.as_bytes(), "f")
}

fn environment(pairs: &[(&str, &str)]) -> Result<Option<Wanted>, String> {
    in_environment(|name| {
        pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

fn datastore(wanted: Result<Option<Wanted>, String>) -> Option<Datastore> {
    wanted.unwrap().map(|wanted| wanted.datastore)
}

#[test]
fn the_type_is_named_or_follows_from_endpoints() {
    assert_eq!(datastore(file("datastoreType: kubernetes")), Some(Datastore::Kubernetes));
    assert_eq!(datastore(file("etcdEndpoints: http://10.0.0.1:2379")), Some(Datastore::Etcd));
    assert_eq!(datastore(file("etcdUsername: me")), None);
    assert_eq!(datastore(environment(&[("DATASTORE_TYPE", "etcdv3")])), Some(Datastore::Etcd));
    let prefixed = [("CALICO_DATASTORE_TYPE", "kubernetes"), ("DATASTORE_TYPE", "etcdv3")];
    assert_eq!(datastore(environment(&prefixed)), Some(Datastore::Kubernetes));
    assert_eq!(datastore(environment(&[("ETCD_ENDPOINTS", "http://x")])), Some(Datastore::Etcd));
    assert_eq!(datastore(environment(&[("DATASTORE_TYPE", "")])), None);
}

#[test]
fn a_file_is_read_strictly() {
    for (spec, told) in [
        ("datastoreTipe: etcdv3", "unknown field \"spec.datastoreTipe\""),
        ("datastoreType: consul", "unknown datastore type: consul"),
        ("etcdEndpoints: a\n  etcdDiscoverySrv: b", "exclude each other"),
    ] {
        let error = file(spec).unwrap_err();
        assert!(error.starts_with("configuration file f: ") && error.contains(told), "{error}");
    }
    assert!(in_file(b"kind: CalicoAPIConfig", "f").unwrap_err().contains("apiVersion"));
    assert!(in_file(b"{", "f").is_err());
}

#[test]
fn only_the_usual_file_need_not_be_there() {
    assert!(
        wanted(Path::new("/nowhere/calicoctl.cfg"), |_| None).unwrap_err().contains("/nowhere")
    );
}

#[test]
fn who_names_another_datastore_is_not_given_this_one() {
    let wanted = environment(&[("DATASTORE_TYPE", "etcdv3")]).unwrap().unwrap();
    assert_eq!(wanted.must_be("etcd"), Ok(()));
    let error = wanted.must_be("embedded").unwrap_err();
    assert!(error.contains("the environment") && error.contains("embedded"), "{error}");
}
