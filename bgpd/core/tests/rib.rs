//! The RIB shard seen from outside: events in, octets out, each receiver's table kept by decoding
//! what it was sent.

mod common;
mod rib {
    pub mod rig;

    mod midway;
    mod model;
}
