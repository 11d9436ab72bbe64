use super::*;

#[test]
fn a_living_owner_is_named_and_a_dead_ones_file_replaced() {
    let dir = std::env::temp_dir().join(format!("margay-socket-{}", std::process::id()));
    let path = dir.join("bgpd.sock");
    let (socket, listener) = ApiSocket::bind(&path).expect("a new file");
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, MODE);
    let error = ApiSocket::bind(&path).expect_err("it is taken").to_string();
    assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    // The process is gone, its file is not.
    drop(listener);
    std::mem::forget(socket);
    let (socket, listener) = ApiSocket::bind(&path).expect("nobody answers");
    drop((socket, listener));
    assert!(!path.exists());
    fs::remove_dir_all(&dir).expect("our own directory");
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let path = std::env::temp_dir().join(format!("margay-file-{}", std::process::id()));
    fs::write(&path, "mine").expect("a temporary file");
    let error = ApiSocket::bind(&path).expect_err("no socket").to_string();
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "mine");
    fs::remove_file(&path).expect("our own file");
}
