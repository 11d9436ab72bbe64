use super::*;

#[test]
fn a_kernel_that_counts_no_connections_and_knows_nobody_to_ask_for_them_has_none() {
    assert!(untracked(libc::EINVAL, false));
    assert!(!untracked(libc::EINVAL, true), "there are some, which nobody can end");
    for errno in [libc::EPROTONOSUPPORT, libc::ENOSYS, libc::ENOPROTOOPT] {
        assert!(untracked(errno, false) && untracked(errno, true));
    }
    for errno in [libc::EPERM, libc::EBUSY, libc::ENOBUFS, libc::ETIMEDOUT] {
        assert!(!untracked(errno, false) && !untracked(errno, true));
    }
}
