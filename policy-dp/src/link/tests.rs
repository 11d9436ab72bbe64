use margay_model::Kind;

use super::*;

fn endpoints(all: &[(&str, u64)]) -> BTreeMap<ResourceKey, u64> {
    let key = |name: &str| ResourceKey {
        kind: Kind::WorkloadEndpoint,
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    };
    all.iter().map(|(name, revision)| (key(name), *revision)).collect()
}

#[test]
fn only_what_differs_is_reported_and_what_is_gone_is_taken_back() {
    let before = endpoints(&[("gone", 1), ("new", 2), ("same", 3)]);
    let now = endpoints(&[("added", 5), ("new", 4), ("same", 3)]);
    let told: Vec<_> = news(&before, &now)
        .into_iter()
        .map(|ready| (ready.endpoint.expect("its name").name, ready.generation))
        .collect();
    let expected = [("gone", None), ("added", Some(5)), ("new", Some(4))];
    assert_eq!(told, expected.map(|(name, revision)| (name.to_owned(), revision)));
    assert_eq!(news(&now, &now), []);
}
