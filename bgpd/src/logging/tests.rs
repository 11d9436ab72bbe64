use std::sync::{Arc, Mutex};

use super::*;

/// Logging at the usual level, and the filters it is given.
fn logging(fixed: bool) -> (Logging, Arc<Mutex<Vec<String>>>) {
    let given = Arc::<Mutex<Vec<String>>>::default();
    let sink = Arc::clone(&given);
    let set = move |filter: EnvFilter| {
        sink.lock().expect("unharmed").push(filter.to_string());
        Ok(())
    };
    (Logging { fixed, level: LogLevel::Info, set: Box::new(set) }, given)
}

#[test]
fn a_level_is_followed_as_it_changes_and_only_then() {
    let (mut logging, given) = logging(false);
    for level in [None, Some(LogLevel::Info), Some(LogLevel::Debug), Some(LogLevel::Debug), None] {
        logging.set(level);
    }
    let given = given.lock().expect("unharmed");
    assert_eq!(given.len(), 2, "{given:?}");
    assert!(given[0].contains("debug") && given[1].contains("info"), "{given:?}");
    assert!(given.iter().all(|filter| filter.contains("h2=warn")), "{given:?}");
}

#[test]
fn what_the_command_line_says_stays() {
    let (mut logging, given) = logging(true);
    logging.set(Some(LogLevel::Trace));
    assert!(given.lock().expect("unharmed").is_empty());
}

#[test]
fn every_level_is_one_the_command_line_knows() {
    for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace]
    {
        assert!(EnvFilter::try_new(level.as_str()).is_ok(), "{level:?}");
    }
}
