use super::*;

fn now() -> Cluster {
    Cluster { guid: "ours".into(), kind: "margay".into(), locked: true, revision: "7".into() }
}

fn held(address: &str, handle: &str, serial: u64, leaked: bool) -> v1::HeldAddress {
    v1::HeldAddress {
        address: address.into(),
        handle: handle.into(),
        serial,
        leaked: leaked.then(|| "nobody uses it".into()),
        ..v1::HeldAddress::default()
    }
}

fn report(cluster: Cluster, held: Vec<v1::HeldAddress>) -> (String, Report) {
    let report = Report::of("v1", cluster, held).expect("addresses");
    let text = serde_json::to_vec(&report).expect("JSON");
    ("file".into(), serde_json::from_slice(&text).expect("it reads what it wrote"))
}

fn said(reports: &[(String, Report)], cluster: &Cluster, version: &str, care: Care) -> String {
    in_all(reports, cluster, version, care).expect_err("it is refused").message().to_owned()
}

#[test]
fn only_what_every_report_calls_leaked_is_released_handle_by_handle() {
    let one = report(
        now(),
        vec![
            held("10.0.0.1", "h", 1, true),
            held("10.0.0.2", "h", 1, true),
            held("10.0.0.3", "came-back", 1, true),
            held("10.0.0.4", "anew", 1, true),
            held("10.0.0.5", "live", 1, false),
            held("10.0.0.6", "i", 2, true),
        ],
    );
    let other = report(
        Cluster { revision: "3".into(), ..now() },
        vec![
            held("10.0.0.1", "h", 1, true),
            held("10.0.0.2", "h", 1, true),
            held("10.0.0.3", "came-back", 1, false),
            held("10.0.0.4", "anew", 9, true),
            held("10.0.0.6", "i", 2, true),
        ],
    );
    let all = in_all(&[one, other], &now(), "v1", Care::Full).expect("both are taken");
    let all: Vec<Vec<_>> = all
        .iter()
        .map(|handle| handle.iter().map(|it| (it.address.as_str(), it.serial)).collect())
        .collect();
    assert_eq!(all, [vec![("10.0.0.1", 1), ("10.0.0.2", 1)], vec![("10.0.0.6", 2)]]);
}

#[test]
fn a_report_that_is_not_of_this_cluster_as_it_is_is_refused() {
    let ours = || vec![report(now(), Vec::new())];
    let of = |cluster: Cluster| vec![report(cluster, Vec::new())];
    for care in [Care::Full, Care::Forced] {
        let text = said(&of(Cluster { guid: "other".into(), ..now() }), &now(), "v1", care);
        assert!(text.contains("is of cluster \"other\", not of this one (\"ours\")"), "{text}");
        let none = Cluster { guid: String::new(), ..now() };
        assert!(said(&of(none.clone()), &none, "v1", care).contains("is of cluster"));
        let old = of(Cluster { revision: "6".into(), ..now() });
        assert!(said(&old, &now(), "v1", care).contains("no report is of now"));
        let both = [old, ours()].concat();
        assert!(in_all(&both, &now(), "v1", care).is_ok(), "one is enough");
    }
    assert_eq!(said(&ours(), &now(), "v2", Care::Full), "report file was made by v1, not by v2");
    let unlocked = Cluster { locked: false, ..now() };
    assert!(said(&of(unlocked.clone()), &now(), "v1", Care::Full).contains("was not locked"));
    assert_eq!(said(&ours(), &unlocked, "v1", Care::Full), "the datastore is not locked");
    assert!(in_all(&of(unlocked.clone()), &unlocked, "v2", Care::Forced).is_ok());
}

#[test]
fn a_report_has_the_originals_names() {
    let (_, report) = report(now(), vec![held("10.0.0.1", "h", 5, true)]);
    let value = serde_json::to_value(&report).expect("JSON");
    for (pointer, expected) in [
        ("/version", Value::from("v1")),
        ("/clusterGUID", "ours".into()),
        ("/datastoreLocked", true.into()),
        ("/clusterInformationRevision", "7".into()),
        ("/clusterType", "margay".into()),
        ("/allocations/10.0.0.1/0/handle", "h".into()),
        ("/allocations/10.0.0.1/0/sequenceNumber", 5.into()),
        ("/leakedHandles", Value::Array(Vec::new())),
    ] {
        assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
    }
}
