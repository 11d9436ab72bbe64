//! Decides, without touching anything: what is wished and what is there go in, operations come out.

pub mod fact;
pub mod key;
