use super::*;

/// Something fails at each of many moments; when it was tried again, in milliseconds.
fn tried(every: Duration, until: Duration) -> Vec<u128> {
    let begin = Instant::now();
    let (mut again, mut tries) = (Again::default(), Vec::new());
    let mut passed = Duration::ZERO;
    while passed < until {
        let now = begin + passed;
        if again.at().is_some_and(|at| at <= now) {
            again.trying();
            tries.push(passed.as_millis());
        }
        again.failed(now);
        passed += every;
    }
    tries
}

#[test]
fn a_stream_of_events_puts_no_try_off() {
    let seconds = Duration::from_secs;
    let busy = tried(Duration::from_millis(10), seconds(20));
    assert_eq!(busy, [200, 600, 1400, 3000, 6200, 12600]);
    // No more often than with hardly any events, and never rarer than the longest wait.
    let long = tried(Duration::from_millis(100), seconds(600));
    let last = long.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert_eq!(last, Some(60_000));
    assert!(long.last().is_some_and(|last| *last > 540_000), "{long:?}");
}

#[test]
fn once_all_is_well_the_first_wait_is_short_again() {
    let now = Instant::now();
    let mut again = Again::default();
    for _ in 0..5 {
        again.failed(now);
        again.trying();
    }
    again.failed(now);
    assert_eq!(again.at(), Some(now + WAITS.0 * 32));
    again.settled();
    assert_eq!(again.at(), None);
    again.failed(now);
    assert_eq!(again.at(), Some(now + WAITS.0));
}
