//! A selector is read or refused; the canonical form of what is accepted means the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use margay_model::Selector;

fuzz_target!(|text: &str| {
    match text.parse::<Selector>() {
        Ok(selector) => {
            let canonical = selector.canonical();
            let again: Selector = canonical.parse().unwrap_or_else(|e| panic!("{canonical}: {e}"));
            assert_eq!(again.expression(), selector.expression(), "{canonical}");
            selector.matches(&[("a", "b")]);
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}"),
    }
});
