use super::*;

fn host(number: usize) -> EndpointId {
    EndpointId::Host(number.to_string())
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn what_is_asked_for_again_goes_on_and_ends_when_nobody_asks() {
    let (mut counting, start) = (Counting::default(), Instant::now());
    assert_eq!(counting.due(), None);
    assert_eq!(counting.ask(&host(1), start, MINUTE), Ok(start));
    assert_eq!(counting.ask(&host(1), start + MINUTE / 2, MINUTE), Ok(start));
    // Who wants less does not end it for others.
    assert_eq!(counting.ask(&host(1), start + MINUTE / 2, MINUTE / 60), Ok(start));
    let end = start + MINUTE * 3 / 2;
    assert_eq!(counting.due(), Some(end));
    assert_eq!(counting.end(end - MINUTE / 60), []);
    assert_eq!(counting.end(end), [host(1)]);
    assert_eq!((counting.due(), counting.ask(&host(1), end, MINUTE)), (None, Ok(end)));
}

#[test]
fn so_many_are_counted_and_no_more() {
    let (mut counting, now) = (Counting::default(), Instant::now());
    for number in 0..MOST {
        assert_eq!(counting.ask(&host(number), now, MINUTE), Ok(now));
    }
    assert_eq!(counting.ask(&host(MOST), now, MINUTE), Err(Full));
    assert_eq!(counting.ask(&host(0), now, MINUTE), Ok(now));
    counting.forget(&host(0));
    assert_eq!(counting.ask(&host(MOST), now, MINUTE), Ok(now));
}
