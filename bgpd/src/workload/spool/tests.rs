use super::*;

#[test]
fn finished_files_are_read_and_what_is_no_request_is_put_aside() {
    let state = tempfile::tempdir().expect("a folder");
    let folder = folder(state.path());
    make(&folder).expect("made");
    make(&folder).expect("it is there");
    let request = DeleteWorkloadRequest { spooled_at: 7, ..DeleteWorkloadRequest::default() };
    fs::write(folder.join("a.del"), request.encode_to_vec()).expect("written");
    fs::write(folder.join(".b.del"), b"half").expect("written");
    fs::write(folder.join("c.del"), [0xff; 9]).expect("written");
    fs::write(folder.join("d.txt"), b"mine").expect("written");
    assert_eq!(read(&folder), [(folder.join("a.del"), request)]);
    assert!(folder.join("c.bad").exists() && !folder.join("c.del").exists());
    assert!(folder.join(".b.del").exists() && folder.join("d.txt").exists());
}
