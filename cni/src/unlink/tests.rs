use super::*;

#[test]
fn the_message_is_what_the_kernel_expects() {
    let message = delete_message("eth0");
    let mut expected = Vec::new();
    expected.extend(44_u32.to_ne_bytes());
    expected.extend(17_u16.to_ne_bytes());
    expected.extend(5_u16.to_ne_bytes());
    expected.extend(1_u32.to_ne_bytes());
    expected.extend([0; 4 + 16]);
    expected.extend(9_u16.to_ne_bytes());
    expected.extend(3_u16.to_ne_bytes());
    expected.extend(b"eth0\0\0\0\0");
    assert_eq!(message, expected);
}

#[test]
fn a_longest_name_fits_without_padding() {
    let message = delete_message("fifteen-letters");
    assert_eq!(message.len(), 16 + 16 + 4 + 16);
    assert_eq!(message.first().copied(), Some(52_u32.to_ne_bytes()[0]));
}

#[test]
fn an_acknowledgement_tells_the_errno() {
    let answer = |kind: u16, error: i32| {
        let mut answer = vec![0; 16];
        answer.splice(4..6, kind.to_ne_bytes());
        answer.extend(error.to_ne_bytes());
        answer
    };
    assert_eq!(acknowledged(&answer(2, 0)), Some(0));
    assert_eq!(acknowledged(&answer(2, -19)), Some(Errno::ENODEV as i32));
    assert_eq!(acknowledged(&answer(16, 0)), None);
    assert_eq!(acknowledged(&[]), None);
    assert_eq!(acknowledged(&[0; 19]), None);
}

#[test]
fn a_namespace_that_is_gone_needs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    interface(&folder.path().join("none"), "eth0").expect("nothing to do");
}

#[test]
fn our_own_namespace_is_recognised() {
    assert!(is_own_netns(Path::new("/proc/self/ns/net")));
    assert!(is_own_netns(Path::new("/proc/thread-self/ns/net")));
    assert!(!is_own_netns(Path::new("/proc/self/ns/mnt")));
    assert!(!is_own_netns(Path::new("/nowhere")));
}
