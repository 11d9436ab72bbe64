//! One policy dataplane for each network namespace.
//!
//! The lock is a name in the abstract socket namespace: that belongs to the network namespace, as
//! our table does, and the kernel takes it back with the process, however that ends.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use anyhow::{Context, Result, bail};

const NAME: &str = "margay-policy-dp";

/// Held for as long as the daemon runs.
#[derive(Debug)]
pub(crate) struct NamespaceLock {
    _socket: UnixDatagram,
}

impl NamespaceLock {
    /// Takes the network namespace of the calling thread.
    ///
    /// # Errors
    /// Another process has it.
    pub(crate) fn take() -> Result<Self> {
        Self::named(NAME)
    }

    fn named(name: &str) -> Result<Self> {
        let address = SocketAddr::from_abstract_name(name)
            .with_context(|| format!("cannot make the socket name {name:?}"))?;
        match UnixDatagram::bind_addr(&address) {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
                "another margay-policy-dp runs in this network namespace (the socket name \
                 @{name} is taken)"
            ),
            Err(error) => {
                Err(error).with_context(|| format!("cannot take the socket name {name:?}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_does_not_get_it_until_the_first_is_gone() {
        let name = format!("margay-policy-dp-test-{}", std::process::id());
        let first = NamespaceLock::named(&name).expect("free");
        let error = NamespaceLock::named(&name).expect_err("taken").to_string();
        assert!(error.contains("another margay-policy-dp"), "{error}");
        drop(first);
        NamespaceLock::named(&name).expect("free again");
    }
}
