use super::*;

#[test]
fn a_reload_that_nobody_takes_up_holds_no_signal_back() {
    let (sender, mut requests) = mpsc::channel(1);
    ask_to_reload(&sender);
    // Full now, and this returns all the same.
    ask_to_reload(&sender);
    assert!(matches!(requests.try_recv(), Ok(Request::Signal)));
    assert!(requests.try_recv().is_err());
}
