//! bgpd

fn main() {}
