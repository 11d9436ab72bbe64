//! The shell: sockets to nfnetlink. Carries out plans and reads tables; decides nothing.

mod dump;
mod keeper;
mod session;
mod sight;
mod socket;
mod watch;

pub use self::{
    keeper::{Counts, Keeper, Synced},
    session::{ApplyError, Refused, Session},
    sight::{Sight, Sighted},
    watch::{Heard, Watch},
};
pub use margay_netlink::Wait;
