//! Decides, without touching anything: what is wished and what is there go in, operations come out.

pub mod addresses;
pub mod change;
pub mod fact;
pub mod facts;
pub mod foreign;
pub mod gateways;
pub mod groups;
mod hosts;
pub mod intern;
pub mod key;
pub mod links;
pub mod locals;
pub mod objects;
pub mod readings;
pub mod resolve;
pub mod routes;
pub mod rows;
pub mod state;
pub mod track;
mod uplinks;
pub mod weights;
pub mod wishes;
pub mod work;
