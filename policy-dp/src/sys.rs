//! What the standard library and the runtime do not offer safely, and a word to the allocator.

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Waits for a descriptor to be readable.
///
/// # Errors
/// The runtime cannot wait for it.
pub(crate) fn watch_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is open, and it is owned by what is returned, so it stays open and is
    // the same for as long as it is registered.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(Into::into)
}

/// Gives pages that the allocator holds free back to the system. Takes milliseconds for each 100 MB,
/// in which other threads that allocate may wait.
pub(crate) fn return_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointers; glibc locks each arena while it looks at it.
    unsafe {
        libc::malloc_trim(0);
    }
}
