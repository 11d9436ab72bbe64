//! bgpd/desired
