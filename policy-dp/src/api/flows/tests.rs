use std::net::IpAddr;

use policy_calc::{Header, Packet};
use policy_nft::seen::Seen;
use tokio::sync::mpsc::channel;

use super::*;
use crate::flows::{KEPT, WINDOW};

fn seen(port: usize) -> Seen {
    let packet = Packet {
        source: IpAddr::from([10, 0, 0, 1]),
        destination: IpAddr::from([10, 0, 0, 2]),
        protocol: 6,
        header: Header::Ports { source: 1, destination: u16::try_from(port).expect("a port") },
    };
    let by = "a rule".to_owned();
    Seen { direction: Direction::Ingress, fate: Fate::Denied, by, packet }
}

#[tokio::test]
async fn records_that_went_before_they_could_be_told_are_counted() {
    let (witness, flows, told) = Witness::by_hand();
    let gather = |count: usize| {
        let mut flows = flows.lock().expect("nobody panicked");
        (0..count).for_each(|port| flows.see(0, seen(port)));
        let ended = flows.close(WINDOW, &[].into());
        flows.keep(ended)
    };
    // Nobody had asked for these.
    gather(KEPT);
    gather(5);
    let (sender, mut receiver) = channel(KEPT);
    let task = tokio::spawn(tell(witness, true, false, sender));
    tokio::task::yield_now().await;
    gather(KEPT);
    told.send_replace(gather(7));
    let (mut records, mut missed) = (0, 0);
    while records < 2 * KEPT {
        let some = receiver.recv().await.expect("it goes on").expect("no error");
        records += some.flows.len();
        missed = some.missed;
    }
    assert_eq!((records, missed), (2 * KEPT, 7));
    drop(receiver);
    task.await.expect("it ended");
}
