//! `IPReservation`: addresses that are never given out.

use crate::{object::Object, scalar::Cidr, wire::rules};

record! {
    /// The spec of an `IPReservation`.
    #[derive(Default)]
    pub struct IpReservationSpec {
        /// What is kept back; what is in use already stays in use.
        reserved_cidrs: Vec<Cidr> = "reservedCIDRs" => rules::unique,
    }
}

spec!(IpReservationSpec, IpReservation);

/// An `IPReservation`.
pub type IpReservation = Object<IpReservationSpec>;
