//! `NetworkSet` and `GlobalNetworkSet`: addresses outside the cluster that labels are given to.

use crate::{object::Object, scalar::Cidr, wire::rules};

record! {
    /// The spec of a `NetworkSet`. Its object behaves as if it carried the label of its namespace.
    #[derive(Default)]
    pub struct NetworkSetSpec {
        /// The addresses; host bits do not count.
        nets: Vec<Cidr> = "nets" => rules::unique,
    }
}

record! {
    /// The spec of a `GlobalNetworkSet`. Its object is in no namespace.
    #[derive(Default)]
    pub struct GlobalNetworkSetSpec {
        /// The addresses; host bits do not count.
        nets: Vec<Cidr> = "nets" => rules::unique,
    }
}

spec!(NetworkSetSpec, NetworkSet);
spec!(GlobalNetworkSetSpec, GlobalNetworkSet);

/// A `NetworkSet`.
pub type NetworkSet = Object<NetworkSetSpec>;
/// A `GlobalNetworkSet`.
pub type GlobalNetworkSet = Object<GlobalNetworkSetSpec>;
