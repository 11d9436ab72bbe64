use super::*;

const NEVER: Duration = Duration::from_secs(1 << 20);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The next that is asked, and when, if nothing happens before.
fn next(choice: &Choice, now: Duration) -> (usize, Duration) {
    match choice.turn(now) {
        Turn::Ask(at) => (at, now),
        Turn::Wait(until) => {
            assert!(until > now && until < NEVER, "{until:?}");
            match choice.turn(until) {
                Turn::Ask(at) => (at, until),
                // It waited for its turn, and then for its own time.
                Turn::Wait(_) => next(choice, until),
            }
        }
    }
}

#[test]
fn the_first_of_the_list_is_asked_first_and_kept_while_it_answers() {
    let mut choice = Choice::new(3, 7);
    assert_eq!(choice.turn(ms(0)), Turn::Ask(0));
    choice.settled(0);
    assert_eq!(choice.turn(ms(60_000)), Turn::Ask(0));
}

#[test]
fn one_that_fails_is_followed_by_the_next_within_a_quarter_of_a_second() {
    for seed in 0..100 {
        let mut choice = Choice::new(3, seed);
        choice.failed(0, ms(0));
        let (at, first) = next(&choice, ms(0));
        assert_eq!(at, 1, "the first waits longer than the next");
        assert!(first <= SPREAD, "{first:?}");
        choice.failed(1, first);
        let (at, second) = next(&choice, first);
        assert!(at == 2 && second <= first + SPREAD, "{at} {second:?}");
    }
}

#[test]
fn after_the_last_of_the_list_comes_the_first() {
    let mut choice = Choice::new(3, 7);
    choice.failed(0, ms(0));
    choice.failed(1, ms(1000));
    choice.settled(2);
    choice.failed(2, ms(60_000));
    assert_eq!(next(&choice, ms(60_000)).0, 0);
}

#[test]
fn the_only_one_is_asked_again_after_pauses_that_double_up_to_a_bound() {
    let mut choice = Choice::new(1, 99);
    let mut now = ms(0);
    let mut doubled = PAUSE;
    for _ in 0..100 {
        choice.failed(0, now);
        let (at, when) = next(&choice, now);
        assert_eq!(at, 0);
        let pause = when - now;
        assert!(pause >= doubled / 2 && pause <= doubled, "{pause:?} of {doubled:?}");
        doubled = (doubled * 2).min(LONGEST);
        now = when;
    }
    choice.settled(0);
    choice.failed(0, now);
    assert!(next(&choice, now).1 <= now + PAUSE, "it begins anew");
}

#[test]
fn an_upstream_that_is_away_costs_the_one_that_answers_nothing() {
    let mut choice = Choice::new(2, 1);
    let mut now = ms(0);
    // The first is away, the second is lost now and then.
    for _ in 0..50 {
        choice.failed(0, now);
        let (at, when) = next(&choice, now);
        assert_eq!(at, 1);
        assert!(when <= now + SPREAD);
        choice.settled(1);
        now = when + ms(100);
        choice.failed(1, now);
        let (_, when) = next(&choice, now);
        assert!(when <= now + LONGEST, "somebody is asked");
        now = when.max(now + LONGEST);
    }
}

#[test]
fn the_followers_of_one_upstream_do_not_come_to_the_next_at_once() {
    let when = |seed| {
        let mut choice = Choice::new(2, seed);
        choice.failed(0, ms(0));
        next(&choice, ms(0)).1
    };
    let mut times: Vec<_> = (0..100).map(when).collect();
    times.sort();
    times.dedup();
    assert!(times.len() > 90, "{}", times.len());
    assert!(times[0] < SPREAD / 4 && times[times.len() - 1] > SPREAD * 3 / 4);
}
