//! bgpd/speaker
