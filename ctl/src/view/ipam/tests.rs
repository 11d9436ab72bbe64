use super::*;
use crate::{cli::Format, output::Out};

fn row(total: &str, in_use: &str, block: bool) -> v1::IpamRow {
    v1::IpamRow {
        cidr: "10.0.0.0/16".into(),
        pool: Some("blue".into()),
        node: block.then(|| "n1".into()),
        state: if block { "confirmed" } else { "active" }.into(),
        total: total.into(),
        in_use: in_use.into(),
        reserved: "0".into(),
        free: "1".into(),
        cooling: "2".into(),
        block,
    }
}

fn printed(rows: &[Use], format: Format) -> String {
    let mut text = Vec::new();
    Out::to(&mut text, format, Paint(false)).all(rows).expect("a vector takes it");
    String::from_utf8(text).expect("text")
}

#[test]
fn counts_have_five_digits_and_whole_percents() {
    assert_eq!(short(65_536), "65536");
    assert_eq!(short(4_194_304), "4.1943e+06");
    assert_eq!(short(100_000), "1e+05");
    assert_eq!(short(999_999), "1e+06");
    assert_eq!(short(1 << 74), "1.8889e+22");
    assert_eq!(
        (percent(5, 65_536), percent(1, 2), percent(2, 3)),
        ("0%".into(), "50%".into(), "67%".into())
    );
    assert_eq!((percent(1, 0), percent(u128::MAX, u128::MAX)), ("0%".into(), "100%".into()));
}

#[test]
fn a_pool_and_its_blocks_have_calicos_columns_and_the_contracts_fields() {
    let rows = [row("65536", "5", false), row("64", "5", true)].map(Use::from);
    let table = printed(&rows, Format::Table);
    let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert!(table.starts_with("GROUPING"), "{table}");
    assert_eq!(lines[1][..6], ["IP", "Pool", "10.0.0.0/16", "65536", "5", "(0%)"]);
    assert_eq!(lines[2][..5], ["Block", "10.0.0.0/16", "64", "5", "(8%)"]);
    let json: serde_json::Value =
        serde_json::from_str(&printed(&rows, Format::Json)).expect("JSON");
    let wanted = serde_json::json!({
        "cidr": "10.0.0.0/16", "pool": "blue", "node": "n1", "state": "confirmed",
        "total": 64, "in_use": 5, "reserved": 0, "free": 1,
    });
    assert_eq!(json[1], wanted);
    assert_eq!(json[0]["node"], serde_json::Value::Null);
}

#[test]
fn a_check_is_clean_when_everything_found_is_fixed() {
    let problem = |fixed| v1::IpamProblem {
        kind: "block-of-gone-node".into(),
        block: Some("10.0.0.0/26".into()),
        detail: "owned by node n9, which is gone".into(),
        fixed,
        ..v1::IpamProblem::default()
    };
    let check = |problems| {
        Check::of(
            v1::CheckIpamResponse { problems, ..v1::CheckIpamResponse::default() },
            Shown::None,
        )
    };
    assert!(check(vec![]).is_clean() && check(vec![problem(true)]).is_clean());
    let check = check(vec![problem(true), problem(false)]);
    assert!(!check.is_clean());
    let mut text = Vec::new();
    check.text(false, Paint(false), &mut text).expect("a vector takes it");
    let text = String::from_utf8(text).expect("text");
    let wanted = "fixed: block-of-gone-node 10.0.0.0/26: owned by node n9, which is gone\n\
                  block-of-gone-node 10.0.0.0/26: owned by node n9, which is gone\n\
                  Fixed 1.\nCheck complete; found 1 problems.\n";
    assert_eq!(text, wanted);
}

#[test]
fn a_problem_between_pools_is_at_no_address() {
    let problem = v1::IpamProblem {
        kind: "pools-overlap".into(),
        detail: "pool b (10.0.0.0/24) overlaps pool a (10.0.0.0/16)".into(),
        by_hand: Some("disable one of them".into()),
        ..v1::IpamProblem::default()
    };
    let answer =
        v1::CheckIpamResponse { problems: vec![problem], ..v1::CheckIpamResponse::default() };
    let mut text = Vec::new();
    Check::of(answer, Shown::None).text(false, Paint(false), &mut text).expect("a vector takes it");
    let wanted = "pools-overlap: pool b (10.0.0.0/24) overlaps pool a (10.0.0.0/16)\n  \
                  disable one of them\nCheck complete; found 1 problems.\n";
    assert_eq!(String::from_utf8(text).expect("text"), wanted);
}

#[test]
fn a_mending_that_failed_half_way_tells_both_halves() {
    let problem = |block: &str, fixed| v1::IpamProblem {
        kind: "block-of-gone-node".into(),
        block: Some(block.into()),
        detail: "owned by node n9, which is gone".into(),
        fixed,
        ..v1::IpamProblem::default()
    };
    let answer = v1::CheckIpamResponse {
        problems: vec![problem("10.0.0.0/26", true), problem("10.0.0.64/26", false)],
        failures: vec!["block 10.0.0.64/26: the datastore is away".into()],
        addresses: Vec::new(),
    };
    let check = Check::of(answer, Shown::None);
    assert!(!check.is_clean());
    let mut text = Vec::new();
    check.text(false, Paint(false), &mut text).expect("a vector takes it");
    let text = String::from_utf8(text).expect("text");
    let wanted = "fixed: block-of-gone-node 10.0.0.0/26: owned by node n9, which is gone\n\
                  block-of-gone-node 10.0.0.64/26: owned by node n9, which is gone\n\
                  Fixed 1.\n\
                  not fixed: block 10.0.0.64/26: the datastore is away\n\
                  Check complete; found 1 problems.\n";
    assert_eq!(text, wanted);
    let mut text = Vec::new();
    Out::to(&mut text, Format::Json, Paint(false)).sheet(&check).expect("a vector takes it");
    let json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(json["problems"][0]["fixed"], true);
    assert_eq!(json["failures"][0], "block 10.0.0.64/26: the datastore is away");
}
