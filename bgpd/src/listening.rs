//! Addresses that are listened on and are not this host's: mistyped, or not there yet.
//!
//! Owns when to look, and what is said of it. Leaves listening itself to the speaker, which does not
//! wait for an address to come.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use bgp_desired::Desired;
use bgp_speaker::strangers;
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

/// From a change to a look: an IPv6 address can be used once its duplicates have been looked for.
const SETTLE: Duration = Duration::from_secs(3);
/// Between two looks while an address is missing.
const AGAIN: Duration = Duration::from_secs(5);
/// Between two looks otherwise.
const SELDOM: Duration = Duration::from_secs(60);

/// Those addresses of a configuration that are not this host's, as of now.
pub(crate) fn missing(desired: &Desired) -> Vec<SocketAddr> {
    desired.bgp.as_ref().map(|bgp| strangers(&bgp.listen())).unwrap_or_default()
}

/// Says what is missing, and when it has come, for as long as there is a configuration.
pub(crate) async fn watch(mut in_force: watch::Receiver<Arc<Desired>>) {
    let mut told = BTreeSet::new();
    loop {
        sleep(SETTLE).await;
        let desired = in_force.borrow_and_update().clone();
        let now: BTreeSet<SocketAddr> = missing(&desired).into_iter().collect();
        for address in now.difference(&told) {
            warn!(
                %address,
                "an address of bgp.listen is not one of this host: nobody can connect to it until it is"
            );
        }
        for address in told.difference(&now) {
            info!(%address, "an address of bgp.listen is no longer missing");
        }
        let pause = if now.is_empty() { SELDOM } else { AGAIN };
        told = now;
        tokio::select! {
            changed = in_force.changed() => if changed.is_err() { std::future::pending().await },
            () = sleep(pause) => {}
        }
    }
}
