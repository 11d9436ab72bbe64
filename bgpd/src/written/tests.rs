use super::*;

fn config(protocol: u8) -> FibConfig {
    FibConfig { protocol, ..FibConfig::default() }
}

#[test]
fn numbers_are_known_until_nothing_is_left_under_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let written = || Written::new(dir.path());
    assert!(written().others(&config(186)).is_empty(), "the first run");
    written().also(&config(186));
    written().only(&config(186), []);
    assert!(written().others(&config(186)).is_empty());
    // The next run has other numbers, and dies before it has swept.
    assert_eq!(written().others(&config(187)), [(254, 186)].into());
    written().also(&config(187));
    assert_eq!(written().others(&config(188)), [(254, 186), (254, 187)].into());
    written().only(&config(188), [(254, 187)]);
    assert_eq!(written().others(&config(188)), [(254, 187)].into());
    // Who writes nothing has none.
    let off = FibConfig { enabled: false, ..config(188) };
    assert_eq!(written().others(&off), [(254, 187), (254, 188)].into());
    written().only(&off, []);
    assert!(written().others(&config(1)).is_empty());
}

#[test]
fn what_cannot_be_read_of_the_file_is_left_aside() {
    let dir = tempfile::tempdir().expect("a folder");
    let written = Written::since(Some("one\n".into()), dir.path());
    let text = "boot one\n254 186\nnonsense\n254 999\n";
    fs::write(dir.path().join(FILE), text).expect("written");
    assert_eq!(written.others(&config(1)), [(254, 186)].into());
}

#[test]
fn what_bears_former_numbers_after_a_boot_or_a_whole_stop_is_somebody_elses() {
    let dir = tempfile::tempdir().expect("a folder");
    let since = |boot: &str| Written::since(Some(format!("{boot}\n")), dir.path());
    since("one").also(&config(186));
    assert_eq!(since("one").others(&config(187)), [(254, 186)].into(), "it crashed");
    assert!(since("two").others(&config(187)).is_empty(), "the kernel began anew");
    assert!(Written::since(None, dir.path()).others(&config(187)).is_empty(), "nobody knows");
    since("two").also(&config(188));
    assert_eq!(since("two").others(&config(187)), [(254, 188)].into(), "of this boot only");
    since("two").nothing();
    assert!(since("two").others(&config(187)).is_empty(), "it has taken all out");
    // As it was written before boots were told apart.
    fs::write(dir.path().join(FILE), "254 186\n").expect("written");
    assert!(since("two").others(&config(187)).is_empty());
}
