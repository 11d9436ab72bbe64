//! A workload's namespace: a thread that lives in one of its own, and runs what it is told there.

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use crate::net::until;

type Job = Box<dyn FnOnce() + Send>;

/// The namespace is gone when this is.
pub struct Container {
    path: PathBuf,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Container {
    /// With `lo` up. The test has entered a namespace already, so it may do this, too.
    pub fn new() -> Self {
        let (jobs, received) = channel::<Job>();
        let (tell, told) = channel();
        let thread = thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a namespace");
            tell.send(nix::unistd::gettid()).expect("the test waits");
            while let Ok(job) = received.recv() {
                job();
            }
        });
        let tid = told.recv().expect("the thread says its number");
        let path = PathBuf::from(format!("/proc/self/task/{tid}/ns/net"));
        let container = Self { path, jobs: Some(jobs), thread: Some(thread) };
        container.run("ip link set lo up");
        container
    }

    /// The number of its thread, by which `ip` finds the namespace.
    pub fn pid(&self) -> &str {
        let path = self.path.to_str().expect("made of text");
        path.split('/').nth(4).expect("made so")
    }

    /// By which the daemon finds it.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Does something inside.
    pub fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        let jobs = self.jobs.as_ref().expect("only dropping takes it");
        let job = Box::new(move || drop(tell.send(work())));
        assert!(jobs.send(job).is_ok(), "the thread lives");
        told.recv().expect("an answer")
    }

    /// Runs a command inside: whether it succeeded, and what it said.
    pub fn try_run(&self, line: &str) -> (bool, String) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        self.within(move || {
            let (program, arguments) = words.split_first().expect("a program");
            let out = Command::new(program).args(arguments).output().expect("it runs");
            let text = [out.stdout, out.stderr].concat();
            (out.status.success(), String::from_utf8_lossy(&text).into_owned())
        })
    }

    /// Runs a command inside, which must succeed.
    pub fn run(&self, line: &str) -> String {
        let (ok, out) = self.try_run(line);
        assert!(ok, "{line}: {out}");
        out
    }

    /// Waits until an address answers. The kernel hears an IPv6 address of its own only a moment after
    /// it was added.
    pub fn reaches(&self, address: &str) {
        until(&format!("{address} answers"), || {
            self.try_run(&format!("ping -c 1 -W 1 {address}")).0
        });
    }

    /// Reads a kernel setting inside.
    pub fn sysctl(&self, key: &str) -> String {
        self.run(&format!("cat /proc/sys/net/{key}")).trim().to_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
