//! The thread that hears of packets and gathers them into flows, and who asks for those.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use policy_calc::Header;
use policy_nft::{
    netlink::{Sight, Wait},
    seen::{Fate, Seen},
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};
use tracing::{debug, info, warn};

use crate::{
    api::{Look, Question},
    flows::{Counts, Flows, Names, Record},
};

/// While flows gather, the thread looks at the clock this often, in seconds.
const LOOK: u8 = 1;
/// Between two tries to become the one who is told.
const AGAIN: Duration = Duration::from_secs(5);

/// Flows, for who asks.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    flows: Arc<Mutex<Flows>>,
    /// How many records there were until now.
    records: watch::Receiver<u64>,
}

impl Witness {
    /// Starts the thread in the network namespace of the calling one; it runs as long as the process.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(
        names: watch::Receiver<Names>,
        looks: mpsc::Sender<Question>,
    ) -> Result<Self> {
        let flows = Arc::new(Mutex::new(Flows::default()));
        let (told, records) = watch::channel(0);
        let gatherer = Gatherer { flows: Arc::clone(&flows), names, told, looks };
        thread::Builder::new()
            .name("witness".into())
            .spawn(move || gatherer.run())
            .context("cannot start a thread")?;
        Ok(Self { flows, records })
    }

    /// One that is told of flows by hand.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (Self, Arc<Mutex<Flows>>, watch::Sender<u64>) {
        let flows = Arc::<Mutex<Flows>>::default();
        let (told, records) = watch::channel(0);
        (Self { flows: Arc::clone(&flows), records }, flows, told)
    }

    /// The records behind the first `after`, how many there were until now, and the counts.
    pub(crate) fn records(&self, after: u64) -> (Vec<Arc<Record>>, u64, Counts) {
        let flows = lock(&self.flows);
        let (records, until) = flows.records(after);
        (records, until, flows.counts())
    }

    /// Of packets, since the start.
    pub(crate) fn counts(&self) -> Counts {
        lock(&self.flows).counts()
    }

    /// Waits until there are more than the first `after`. False: there will be no more.
    pub(crate) async fn wait(&mut self, after: u64) -> bool {
        self.records.wait_for(|until| *until > after).await.is_ok()
    }
}

#[derive(Debug)]
struct Gatherer {
    flows: Arc<Mutex<Flows>>,
    names: watch::Receiver<Names>,
    told: watch::Sender<u64>,
    /// To the thread that has the state.
    looks: mpsc::Sender<Question>,
}

impl Gatherer {
    fn run(self) {
        let mut complained = false;
        loop {
            match Sight::open() {
                Ok(mut sight) => {
                    if std::mem::take(&mut complained) {
                        info!("packets are told of again");
                    }
                    let Err(err) = self.listen(&mut sight);
                    warn!(%err, "nothing is heard of packets any more; trying again");
                    complained = true;
                }
                Err(err) => {
                    if !std::mem::replace(&mut complained, true) {
                        warn!(
                            %err,
                            "nothing is told of packets: no flow records, and nothing of rules that log \
                             (another program may have their groups of NFLOG, 1 and 2); trying again"
                        );
                    }
                }
            }
            thread::sleep(AGAIN);
        }
    }

    fn listen(&self, sight: &mut Sight) -> io::Result<std::convert::Infallible> {
        loop {
            let gathers = lock(&self.flows).gathers();
            sight.give_up_after(if gathers { LOOK } else { 0 })?;
            let sighted = sight.next(Wait::Block)?;
            let now = now();
            let mut flows = lock(&self.flows);
            flows.lose(sighted.lost);
            let names = self.names.borrow().clone();
            for mut seen in sighted.seen {
                let prefix = names.describe(&mut seen);
                if seen.fate == Fate::Logged {
                    log(&seen, prefix);
                }
                flows.see(now, seen);
            }
            let ended = flows.close(now, &names.ends);
            drop(flows);
            if !ended.is_empty() {
                self.end(ended);
            }
        }
    }

    /// Keeps records, once the thread that has the state has played them; without that if it has too much to
    /// do, or is gone.
    fn end(&self, mut records: Vec<Record>) {
        let (flows, told) = (Arc::clone(&self.flows), self.told.clone());
        let look: Look = Box::new(move |enforcer| {
            if let Some(enforcer) = enforcer {
                records.iter_mut().for_each(|record| record.play(enforcer.state()));
            }
            let until = lock(&flows).keep(records);
            debug!(until, "flows ended");
            told.send_replace(until);
        });
        if let Err(TrySendError::Full(question) | TrySendError::Closed(question)) =
            self.looks.try_send(Question::Look(look))
            && let Question::Look(look) = question
        {
            look(None);
        }
    }
}

/// What a rule with the action `Log` has to say.
fn log(seen: &Seen, prefix: Option<String>) {
    let packet = &seen.packet;
    let (source_port, port) = packet.ports().unzip();
    let icmp = match packet.header {
        Header::Icmp { kind, code } => Some(format!("{kind}/{code}")),
        Header::Ports { .. } | Header::Other => None,
    };
    info!(
        prefix,
        rule = seen.by,
        direction = ?seen.direction,
        source = %packet.source,
        source_port,
        destination = %packet.destination,
        port,
        protocol = packet.protocol,
        icmp,
        "a packet matched a rule that logs"
    );
}

fn lock(flows: &Mutex<Flows>) -> MutexGuard<'_, Flows> {
    flows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970; 0 for a clock that is before.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
