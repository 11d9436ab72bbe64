//! A configuration is read or refused, and what is accepted survives being shown and read again.

#![no_main]

use std::io;

use bgp_desired::{Severity, diff, parse, show};
use libfuzzer_sys::fuzz_target;

/// Shown instead of a key; not a key itself.
const HIDDEN: &str = "\"(secret)\"";

fuzz_target!(|text: &str| {
    let read_secret = |_: &std::path::Path| Ok::<_, io::Error>(b"key".to_vec());
    let parsed = match parse(text, "fuzz.toml", &read_secret) {
        Ok(parsed) => parsed,
        Err(faults) => {
            assert!(faults.iter().any(|fault| fault.severity == Severity::Error));
            let lines = text.split('\n').count();
            for fault in faults {
                assert!((1..=lines).contains(&fault.line), "{fault:?}");
                fault.render();
            }
            return;
        }
    };
    assert!(diff(&parsed.desired, &parsed.desired).is_empty());
    let shown = show(&parsed.desired).replace(HIDDEN, "\"key\"");
    let again = parse(&shown, "shown.toml", &read_secret)
        .unwrap_or_else(|faults| panic!("{shown}\n{faults:?}"));
    let steps = diff(&parsed.desired, &again.desired);
    assert!(steps.iter().all(|step| step.text == "password changed"), "{steps:?}");
});
