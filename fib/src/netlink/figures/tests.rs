use std::time::{Duration, Instant};

use super::*;

#[test]
fn messages_and_time_add_up_over_batches() {
    let mut figures = Figures::default();
    figures.delivered(512, Duration::from_millis(2));
    figures.delivered(3, Duration::from_millis(1));
    let status = figures.fill(FibStatus::default());
    assert_eq!((status.batches, status.messages), (2, 515));
    assert_eq!(status.apply_time, Duration::from_millis(3));
}

#[test]
fn refusals_are_counted_by_code() {
    let mut figures = Figures::default();
    figures.refused(libc::EEXIST);
    figures.refused(libc::EINVAL);
    figures.refused(libc::EEXIST);
    figures.unanswered(&io::Error::from_raw_os_error(libc::ENOBUFS));
    let mut expected = vec![(libc::EEXIST, 2), (libc::EINVAL, 1), (libc::ENOBUFS, 1)];
    expected.sort_unstable();
    assert_eq!(figures.fill(FibStatus::default()).refusals, expected);
}

#[test]
fn refusals_go_by_name_where_they_have_one() {
    let refusals = vec![(libc::EEXIST, 2), (4095, 1)];
    let named: Vec<_> = FibStatus { refusals, ..FibStatus::default() }.refusals_by_name().collect();
    assert_eq!(named, [("EEXIST".to_owned(), 2), ("4095".to_owned(), 1)]);
}

#[test]
fn the_table_waits_since_it_was_last_empty() {
    let (mut figures, start) = (Figures::default(), Instant::now());
    let later = start + Duration::from_secs(1);
    figures.table_waits(true, start);
    figures.table_waits(true, later);
    assert_eq!(figures.table_since(), Some(start));
    figures.table_waits(false, later);
    figures.table_waits(true, later);
    assert_eq!(figures.table_since(), Some(later));
}

#[test]
fn the_lag_is_that_of_the_oldest_wish() {
    let now = Instant::now();
    let since = |ms| now.checked_sub(Duration::from_millis(ms));
    assert_eq!(earliest([since(10), None, since(30), since(20)]), since(30));
    let status = FibStatus { oldest_wish: since(30), ..FibStatus::default() };
    assert_eq!(status.lag(now), Duration::from_millis(30));
    assert_eq!(FibStatus::default().lag(now), Duration::ZERO);
}
