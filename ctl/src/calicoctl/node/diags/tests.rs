use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("margay-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Only litter is left behind if it fails.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_archive_is_called_as_the_originals() {
    assert_eq!(archive_name(1_772_357_400), "diags-20260301_093000.tar.gz");
}

#[test]
fn its_folder_is_ours_alone() {
    let parent = Folder::new("diags-folder");
    let one = new_folder(&parent.0).expect("a folder");
    let other = new_folder(&parent.0).expect("another");
    assert_ne!(one, other);
    let mode = fs::metadata(&one).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let error = new_folder(&parent.0.join("none")).expect_err("there is no such folder");
    assert!(error.into_text().starts_with("Error creating temp directory to dump logs: "));
}

#[test]
fn logs_are_plain_files_only() {
    let folder = Folder::new("diags-logs");
    fs::write(folder.0.join("b.log"), "b").expect("a file");
    fs::write(folder.0.join("a.log"), "a").expect("a file");
    fs::create_dir(folder.0.join("old")).expect("a folder");
    symlink("/etc/shadow", folder.0.join("link.log")).expect("a link");
    let names: Vec<_> = logs(&folder.0).expect("it can be read");
    assert_eq!(names, [folder.0.join("a.log"), folder.0.join("b.log")]);
    assert!(logs(&folder.0.join("none")).is_err());
}
