use std::{
    env,
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
    process::Command,
    sync::mpsc,
    thread,
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};

use super::*;
use crate::{Guard, Rule, folder::Folder};

/// A process of one thread in a namespace, with this open.
fn process(proc: &Path, number: u32, net: u64, open: &[&str]) {
    let task = proc.join(format!("{number}/task/{number}"));
    for folder in ["ns", "fd"] {
        fs::create_dir_all(task.join(folder)).expect("a folder");
    }
    symlink(format!("net:[{net}]"), task.join("ns/net")).expect("a link");
    symlink("mnt:[7]", task.join("ns/mnt")).expect("a link");
    for (number, to) in open.iter().enumerate() {
        symlink(to, task.join(format!("fd/{number}"))).expect("a link");
    }
    let mounts = "25 1 0:4 net:[40] /run/netns/a rw shared:1 - nsfs nsfs rw\n26 1 0:4 / /proc rw - proc proc rw\n";
    fs::write(task.join("mountinfo"), mounts).expect("written");
}

#[test]
fn only_what_nobody_has_is_taken_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let (guards, proc) = (dir.path().join("guards"), dir.path().join("proc"));
    assert_eq!(sweep_in(&guards, &proc).expect("nothing there"), 0);
    // Of a thread, open, mounted, nobody's; and no namespace.
    for name in ["10", "20", "40", "50", "other"] {
        fs::create_dir_all(guards.join(name).join("hash")).expect("a folder");
    }
    process(&proc, 1, 10, &[]);
    process(&proc, 22, 11, &["/dev/null", "net:[20]", "socket:[50]"]);
    fs::create_dir_all(proc.join("sys")).expect("a folder");
    // One that ended while it was looked at.
    fs::create_dir_all(proc.join("33/task/33")).expect("a folder");
    assert_eq!(sweep_in(&guards, &proc).expect("swept"), 1);
    let mut left: Vec<_> = fs::read_dir(&guards)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    left.sort();
    assert_eq!(left, ["10", "20", "40", "other"]);
}

#[test]
fn nothing_is_taken_away_where_somebody_cannot_be_looked_at() {
    let dir = tempfile::tempdir().expect("a directory");
    let (guards, proc) = (dir.path().join("guards"), dir.path().join("proc"));
    fs::create_dir_all(guards.join("50")).expect("a folder");
    process(&proc, 1, 10, &[]);
    // Reading that fails, as it does without the right to.
    let task = proc.join("2/task/2/ns");
    fs::create_dir_all(&task).expect("a folder");
    fs::write(task.join("net"), "no link").expect("written");
    assert!(sweep_in(&guards, &proc).is_err());
    assert!(guards.join("50").exists());
}

/// Where all processes are our own: some may not be looked at elsewhere.
#[test]
fn a_guard_goes_with_the_last_who_has_its_namespace() {
    const INSIDE: &str = "MARGAY_TEST_INSIDE";
    if !geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    let mut again = Command::new("unshare");
    again.args(["--pid", "--fork", "--mount-proc"]).arg(env::current_exe().expect("a path"));
    again.args([
        "--exact",
        "--nocapture",
        "stale::tests::a_guard_goes_with_the_last_who_has_its_namespace",
    ]);
    let output = again.env(INSIDE, "1").output().expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn inside() {
    // A guard is always among the others; this one is beside them, as those of others are not ours.
    let own = Folder::own().expect("a folder");
    let all = own.path().parent().expect("a folder");
    let guards = all.with_file_name(format!(
        "margay-test-{}",
        fs::metadata("/proc/self/ns/mnt").expect("a namespace").ino()
    ));
    let (made, inode) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let holder = thread::spawn({
        let guards = guards.clone();
        move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            let net = fs::metadata("/proc/thread-self/ns/net").expect("a namespace").ino();
            let folder = Folder::at(guards.join(net.to_string()));
            let mut guard = Guard::open(folder).expect("a guard");
            guard.hold(Rule::new(&["cali"], 4)).expect("attached");
            let open = File::open("/proc/thread-self/ns/net").expect("a namespace");
            made.send((net, open)).expect("somebody waits");
            gone.recv().expect("somebody tells");
        }
    });
    let (net, open) = inode.recv().expect("a guard");
    let (proc, guard) = (Path::new("/proc"), guards.join(net.to_string()));
    let swept = || sweep_in(&guards, proc).expect("swept");
    assert_eq!((swept(), guard.exists()), (0, true), "a thread is in it");
    go.send(()).expect("somebody waits");
    holder.join().expect("it ends");
    assert_eq!((swept(), guard.exists()), (0, true), "it is open");
    drop(open);
    assert_eq!((swept(), guard.exists()), (1, false));
    fs::remove_dir(&guards).expect("nothing is left");
}
