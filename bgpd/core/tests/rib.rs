//! The RIB shard seen from outside: events in, octets out, each receiver's table kept by decoding
//! what it was sent.

mod common;
mod rib {
    pub mod rig;

    mod clients;
    mod explain;
    mod interfaces;
    mod kernel;
    mod lag;
    mod limits;
    mod midway;
    mod model;
    mod own_next_hop;
    mod queries;
    mod reconfigure;
    mod refresh;
    mod restart;
}
