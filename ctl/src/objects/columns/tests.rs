use serde_json::json;

use super::*;

fn row(object: &Value, headings: &[Heading]) -> Vec<String> {
    let context = Context { default_asn: 64512 };
    headings.iter().map(|heading| heading.cell(object, &context)).collect()
}

#[test]
fn every_kind_has_columns_and_no_heading_twice() {
    for kind in Kind::ALL {
        let headings = headings(*kind);
        assert!(!headings.table.is_empty(), "{kind}");
        for columns in [&headings.table, &headings.wide, &headings.all()] {
            let mut titles: Vec<_> = columns.iter().map(|heading| heading.title).collect();
            titles.sort_unstable();
            titles.dedup();
            assert_eq!(titles.len(), columns.len(), "{kind}");
        }
        // An object without anything is shown, not refused.
        row(&json!({}), &headings.all());
    }
}

#[test]
fn a_peer_says_for_whom_it_is() {
    let peer = |spec: Value| {
        let object = json!({ "metadata": { "name": "tor" }, "spec": spec });
        row(&object, &headings(Kind::BgpPeer).table)
    };
    assert_eq!(
        peer(json!({ "peerIP": "10.0.0.1", "asNumber": 65000 })),
        ["tor", "10.0.0.1", "(global)", "65000"]
    );
    assert_eq!(
        peer(json!({ "node": "n1", "peerIP": "10.0.0.1:1790", "asNumber": 1 })),
        ["tor", "10.0.0.1:1790", "n1", "1"]
    );
    assert_eq!(
        peer(json!({ "nodeSelector": "rack == 'a'", "peerSelector": "has(rr)" })),
        ["tor", "", "rack == 'a'", "0"]
    );
}

#[test]
fn a_node_without_an_as_shows_the_default_in_parentheses() {
    let wide = headings(Kind::Node).wide;
    let own = json!({ "metadata": { "name": "a" },
        "spec": { "bgp": { "asNumber": 65001, "ipv4Address": "10.0.0.1/24" } } });
    assert_eq!(row(&own, &wide), ["a", "65001", "10.0.0.1/24", ""]);
    assert_eq!(row(&json!({ "metadata": { "name": "b" } }), &wide), ["b", "(64512)", "", ""]);
}

#[test]
fn long_lists_end_in_dots() {
    let nets: Vec<_> = (0..40).map(|i| format!("10.0.{i}.0/24")).collect();
    let object = json!({ "metadata": { "name": "s" }, "spec": { "nets": nets } });
    let cells = row(&object, &headings(Kind::GlobalNetworkSet).wide);
    assert_eq!(cells.get(1).map(|cell| cell.len()), Some(80));
    assert!(cells.get(1).is_some_and(|cell| cell.ends_with("...")));
}

#[test]
fn a_pod_selector_reads_like_one() {
    let object = json!({ "metadata": { "name": "k" }, "spec": { "podSelector": {
        "matchLabels": { "b": "2", "a": "1" },
        "matchExpressions": [
            { "key": "tier", "operator": "In", "values": ["x", "y"] },
            { "key": "old", "operator": "DoesNotExist" },
        ] } } });
    let cells = row(&object, &headings(Kind::StagedKubernetesNetworkPolicy).wide);
    assert_eq!(cells, ["k", "a=1,b=2,tier in (x,y),!old"]);
}
