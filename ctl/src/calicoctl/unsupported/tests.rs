use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn what_is_not_supported_is_named() {
    for (refused, name) in [
        (node(&words("run --ip=autodetect")), "operation node run is not supported: "),
        (cluster(&words("diags --since=1h")), "operation cluster diags is not supported: "),
        (datastore(&words("migrate")), "operation datastore migrate is not supported: "),
        (
            datastore(&words("migrate-policy-names")),
            "operation datastore migrate-policy-names is not supported: ",
        ),
    ] {
        let text = refused.into_text();
        assert!(text.starts_with(name), "{text}");
    }
}
