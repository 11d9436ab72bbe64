//! Why a link could not be made, found or removed.

use std::io;
use std::path::PathBuf;

use crate::attach::observed::Difference;
use crate::attach::spec::SpecError;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Looking whether it is there already.
    Look,
    /// Making both ends.
    Create,
    /// The host end.
    Host,
    /// The container end.
    Container,
    /// Removing it.
    Remove,
}

impl Stage {
    /// In plain words, also a label for figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Create => "create",
            Self::Host => "host",
            Self::Container => "container",
            Self::Remove => "remove",
        }
    }
}

/// Why a link could not be made, found or removed. Whatever it says, nothing of the attempt is left.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Cannot be wished for.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// There is no such namespace, or it cannot be opened.
    #[error("network namespace {path}: {err}", path = path.display())]
    NamespaceMissing {
        /// As given.
        path: PathBuf,
        /// What the kernel said.
        err: io::Error,
    },
    /// The file is there but is no network namespace.
    #[error("{path} is no network namespace", path = path.display())]
    NotANamespace {
        /// As given.
        path: PathBuf,
    },
    /// The path leads to this process's own namespace.
    #[error("{path} is the host's own network namespace", path = path.display())]
    HostNamespace {
        /// As given.
        path: PathBuf,
    },
    /// The path led to a namespace and no longer does, or to another: the container went meanwhile.
    #[error("network namespace {path} went away meanwhile", path = path.display())]
    NamespaceGone {
        /// As given.
        path: PathBuf,
    },
    /// A link of the host has this name and is no workload's.
    #[error("interface {name} is there and is not a veth pair of a workload")]
    NameTaken {
        /// Host end.
        name: String,
    },
    /// The container has another link of this name.
    #[error("the container has an interface {name} already")]
    ContainerNameTaken {
        /// Container end.
        name: String,
    },
    /// A link of this name is there, but is another: the first of what differs.
    #[error("interface {name} is there already, but {first}")]
    Differs {
        /// Host end.
        name: String,
        /// What differs.
        first: Difference,
    },
    /// The kernel refused.
    #[error("{asked}: {err}{}", said.as_ref().map(|s| format!(" ({s})")).unwrap_or_default())]
    Kernel {
        /// When.
        stage: Stage,
        /// What was asked of it, in plain words.
        asked: String,
        /// Its answer.
        err: io::Error,
        /// Its answer in words, where it gave any.
        said: Option<String>,
    },
    /// A kernel setting could not be written.
    #[error("cannot set {key} = {value}: {err}")]
    Sysctl {
        /// Below `/proc/sys/net`.
        key: String,
        /// The value.
        value: String,
        /// Why.
        err: io::Error,
    },
    /// No socket, no thread, no answer: nothing to do with this link.
    #[error("{what}: {err}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        err: io::Error,
    },
}

impl AttachError {
    /// Whether the same call may succeed later without anybody changing anything: memory or
    /// descriptors are short, or the kernel is busy.
    pub fn is_transient(&self) -> bool {
        let (Self::Kernel { err, .. }
        | Self::Sysctl { err, .. }
        | Self::System { err, .. }
        | Self::NamespaceMissing { err, .. }) = self
        else {
            return false;
        };
        matches!(
            err.raw_os_error(),
            Some(
                libc::EAGAIN
                    | libc::EBUSY
                    | libc::EINTR
                    | libc::ENOMEM
                    | libc::ENOBUFS
                    | libc::EMFILE
                    | libc::ENFILE
                    | libc::ETIMEDOUT
            )
        )
    }
}
