//! Which network namespace the thread is in.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::attach::steps::{Kin, Side, advertised, hearing, uplinks};
use crate::attach::{AttachError, Sysctl};
use crate::sys;

/// The host's namespace and the container's, and where the thread is now.
#[derive(Debug)]
pub struct Places {
    host: File,
    container: File,
    /// By which the runtime names it.
    path: PathBuf,
    now: Side,
}

impl Places {
    /// The calling thread's namespace is the host's.
    pub fn open(netns: &Path) -> Result<Self, AttachError> {
        let host = File::open(OWN)
            .map_err(|err| AttachError::System { what: "cannot open our own namespace", err })?;
        // A path that leads to a pipe or a device is no reason to wait.
        let container = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(netns)
            .map_err(|err| AttachError::NamespaceMissing { path: netns.to_owned(), err })?;
        let places = Self { host, container, path: netns.to_owned(), now: Side::Host };
        let same = |err| AttachError::System { what: "cannot look at a namespace", err };
        if identity(&places.host).map_err(same)? == identity(&places.container).map_err(same)? {
            return Err(AttachError::HostNamespace { path: places.path });
        }
        Ok(places)
    }

    /// The container's namespace, to be named in messages.
    pub fn container(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }

    /// Moves the thread.
    pub fn go(&mut self, side: Side) -> Result<(), AttachError> {
        if side == self.now {
            return Ok(());
        }
        let file = match side {
            Side::Host => &self.host,
            Side::Container => &self.container,
        };
        sys::enter(file).map_err(|err| match (side, err.raw_os_error()) {
            (Side::Container, Some(libc::EINVAL)) => {
                AttachError::NotANamespace { path: self.path.clone() }
            }
            _ => AttachError::System { what: "cannot enter a network namespace", err },
        })?;
        self.now = side;
        Ok(())
    }

    /// Whether the path still leads to the namespace that was opened.
    pub fn still_there(&self) -> Result<(), AttachError> {
        let opened = identity(&self.container).ok();
        let now = fs::metadata(&self.path).map(|m| (m.dev(), m.ino())).ok();
        if opened.is_some() && opened == now {
            return Ok(());
        }
        Err(AttachError::NamespaceGone { path: self.path.clone() })
    }

    /// Writes a setting of the namespace the thread is in, unless it is so already: `/proc/sys` may
    /// be read-only and right, and writing 1 over the 1 of `ipv6/conf/all/forwarding` is no idle
    /// write: it makes every link forward, and drops what routers there have told.
    pub fn set(&self, setting: &Sysctl) -> io::Result<()> {
        let path = Path::new(SYSCTLS).join(&setting.key);
        let is = fs::read(&path)?;
        if is.trim_ascii() == setting.value.trim().as_bytes() {
            return Ok(());
        }
        fs::write(&path, &setting.value)
    }

    /// What a setting of the namespace the thread is in is instead, where it is not so.
    pub fn instead(&self, setting: &Sysctl) -> Option<String> {
        let found = fs::read_to_string(Path::new(SYSCTLS).join(&setting.key));
        match found {
            Ok(found) if found.trim() == setting.value.trim() => None,
            Ok(found) => Some(found.trim().to_owned()),
            Err(err) => Some(format!("not readable ({err})")),
        }
    }

    /// Whether the host does not forward IPv6 yet: one that does is as somebody wants it.
    pub fn is_to_begin_forwarding(&self) -> bool {
        is("ipv6/conf/all/forwarding", "0")
    }

    /// See [`Step::KeepRouters`](crate::attach::steps::Step::KeepRouters). Of all `links`.
    pub fn keep_routers(&self, links: &[Kin]) -> Result<(), AttachError> {
        let routes = fs::read_to_string(ROUTES_V6).map_err(|err| AttachError::System {
            what: "cannot see which links have routers",
            err,
        })?;
        // Without IPv4 there is no such file.
        let routes_v4 = fs::read_to_string(ROUTES_V4).unwrap_or_default();
        let known = advertised(&routes).union(&uplinks(&routes_v4)).copied().collect();
        for link in hearing(links, &known) {
            let key = format!("ipv6/conf/{link}/accept_ra");
            // One that forwards hears none now.
            if !is(&key, "1") || !is(&format!("ipv6/conf/{link}/forwarding"), "0") {
                continue;
            }
            match fs::write(Path::new(SYSCTLS).join(&key), "2") {
                Ok(()) => tracing::info!(
                    link,
                    "the host begins to forward IPv6; routers on this link are heard all the same"
                ),
                // It is gone.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(AttachError::Sysctl { key, value: "2".to_owned(), err }),
            }
        }
        Ok(())
    }
}

/// Whether a setting of the namespace the thread is in is so.
fn is(key: &str, value: &str) -> bool {
    let found = fs::read(Path::new(SYSCTLS).join(key));
    found.is_ok_and(|found| found.trim_ascii() == value.as_bytes())
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let data = file.metadata()?;
    Ok((data.dev(), data.ino()))
}

/// Of the calling thread, not of the process.
const OWN: &str = "/proc/thread-self/ns/net";
/// Likewise of the thread's namespace.
const ROUTES_V6: &str = "/proc/thread-self/net/ipv6_route";
const ROUTES_V4: &str = "/proc/thread-self/net/route";
/// What is below it depends on who looks.
const SYSCTLS: &str = "/proc/sys/net";
