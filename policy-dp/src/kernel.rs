//! The thread that keeps the kernel's table: what was heard goes into the [`Enforcer`], what that
//! wants into the kernel, and what others do to the table is undone. Where there is no table when it
//! starts, as after a boot, there is one at once in which workloads' links carry nothing.

mod counting;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
    time::Instant,
};

use anyhow::{Context, Result};
use bgp_desired::dataplane::Dataplane;
use margay_fib::Interfaces;
use margay_proto::v1::{self, SyncEvent, sync_event::Event};
use policy_calc::State;
use policy_nft::{
    Keeper,
    layout::{self, Settings},
    netlink::{ApplyError, Heard},
};
use tokio::{
    io::unix::AsyncFd,
    runtime::Builder,
    sync::{mpsc, oneshot, watch},
    task, time,
};
use tracing::{debug, error, info, warn};

use counting::Counting;

use crate::{
    again::Again,
    api::{self, CountQuestion, Question},
    enforcer::{Enforcer, Own, Refusal, Remark, Revisions, Wanted},
    flows::Names,
    guard::Guarding,
    status::Status,
    sys::{return_memory, watch_readable},
};

/// The name of our table.
const TABLE: &str = "margay";
/// Messages worked off together.
const TOGETHER: usize = 256;
/// Steps that leave much memory free behind them, as those of a start in a large cluster.
const LARGE: usize = 10_000;

/// What the stream told.
#[derive(Debug)]
pub(crate) enum Told {
    /// A stream began, for the node of this name; with `anew` everything will be told.
    Begun {
        /// The node.
        node: String,
        /// Whether it does not go on where it was.
        anew: bool,
    },
    /// Events, in order.
    Events(Vec<SyncEvent>),
}

/// The ways out of the thread.
#[derive(Debug)]
pub(crate) struct Outlets {
    /// What is in force.
    pub(crate) in_force: watch::Sender<Revisions>,
    /// How it stands.
    pub(crate) status: watch::Sender<Status>,
    /// Whose which address is.
    pub(crate) names: watch::Sender<Names>,
}

/// What the configuration says about the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choices {
    /// It tells of each decision.
    flows: bool,
    /// Others are kept from changing it, where the kernel can do that.
    hold: bool,
    /// A guard stands behind it.
    guard: bool,
}

impl Choices {
    /// Those of a configuration.
    pub(crate) fn of(config: &Dataplane) -> Self {
        Self { flows: config.flow_logs, hold: config.hold_table, guard: config.guard }
    }
}

#[derive(Debug)]
struct Kernel {
    keeper: Keeper,
    ear: AsyncFd<OwnedFd>,
    interfaces: Interfaces,
    interfaces_ear: AsyncFd<OwnedFd>,
    enforcer: Option<Enforcer>,
    outlets: Outlets,
    choices: Choices,
    guarding: Guarding,
    /// Others may have changed the ruleset unheard: the ear failed.
    deaf: bool,
    again: Again,
    counting: Counting,
}

/// Starts the thread in the network namespace of the calling one. Who tells it runs on it, too: a change
/// waits for no other thread to wake. It runs until nobody can tell it anything; `None` comes then, or why
/// it cannot go on.
///
/// # Errors
/// The kernel does not let us keep a table.
pub(crate) fn start(
    telling: impl Future<Output = ()> + Send + 'static,
    told: mpsc::Receiver<Told>,
    looks: mpsc::Receiver<Question>,
    outlets: Outlets,
    choices: Choices,
) -> Result<oneshot::Receiver<Option<anyhow::Error>>> {
    let keeper = open(choices).context("cannot use nf_tables (this needs CAP_NET_ADMIN)")?;
    let interfaces = Interfaces::open().context("cannot read the links of this host")?;
    let guarding = Guarding::open(choices.guard);
    let (ended, end) = oneshot::channel();
    let run = move || {
        let result = (|| {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start the runtime of the kernel's thread")?;
            runtime.block_on(async move {
                let kernel = Kernel {
                    ear: ear(&keeper)?,
                    keeper,
                    interfaces_ear: ear(&interfaces)?,
                    interfaces,
                    enforcer: None,
                    outlets,
                    choices,
                    guarding,
                    deaf: false,
                    again: Again::default(),
                    counting: Counting::default(),
                };
                tokio::spawn(telling);
                kernel.run(told, looks).await
            })
        })();
        // Who started us may be gone.
        let _ = ended.send(result.err());
    };
    thread::Builder::new().name("kernel".into()).spawn(run).context("cannot start a thread")?;
    Ok(end)
}

fn open(choices: Choices) -> io::Result<Keeper> {
    match choices.hold {
        true => Keeper::open(TABLE.into()),
        false => Keeper::open_free(TABLE.into()),
    }
}

fn ear(of: &impl AsFd) -> io::Result<AsyncFd<OwnedFd>> {
    watch_readable(of.as_fd().try_clone_to_owned()?)
}

impl Kernel {
    async fn run(
        mut self,
        mut told: mpsc::Receiver<Told>,
        mut looks: mpsc::Receiver<Question>,
    ) -> Result<()> {
        let mut messages = Vec::new();
        self.close();
        loop {
            let (again, uncount) = (self.again.at(), self.counting.due());
            tokio::select! {
                count = told.recv_many(&mut messages, TOGETHER) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for message in messages.drain(..) {
                        self.hear(message);
                    }
                    self.apply();
                }
                Some(question) = looks.recv() => match question {
                    Question::Look(look) => look(self.enforcer.as_ref()),
                    Question::Count(count) => {
                        let said = self.count(&count);
                        // Who asked may be gone.
                        let _ = count.answer.send(said);
                    }
                },
                ready = self.ear.readable() => {
                    ready.context("cannot wait for the kernel")?.clear_ready();
                    self.listen();
                }
                ready = self.interfaces_ear.readable() => {
                    ready.context("cannot wait for the links of this host")?.clear_ready();
                    self.look_around();
                }
                () = time::sleep_until(again.unwrap_or_else(time::Instant::now)), if again.is_some() => {
                    self.try_again();
                }
                () = time::sleep_until(uncount.unwrap_or_else(time::Instant::now)), if uncount.is_some() => {
                    self.uncount();
                }
            }
            // Who waits for what is in force is not to wait for names.
            task::yield_now().await;
            self.tell_names();
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Begun { node, anew } => {
                let same = self.enforcer.as_ref().is_some_and(|known| known.node() == node);
                if !same {
                    info!(node, "policy is enforced for this node");
                    let interfaces = self.interfaces.addresses();
                    let own = Own { flows: self.choices.flows, guard: self.guarding.wants_marks() };
                    self.enforcer = Some(Enforcer::new(&node, interfaces, own));
                }
                if let Some(enforcer) = self.enforcer.as_mut().filter(|_| anew) {
                    enforcer.begin_anew();
                    self.outlets.status.send_modify(|status| status.snapshots += 1);
                }
            }
            Told::Events(events) => {
                let Some(enforcer) = &mut self.enforcer else { return };
                let before = enforcer.in_sync();
                let told = events.iter().filter(|event| {
                    matches!(event.event, Some(Event::Object(_) | Event::Deleted(_)))
                });
                let told = u64::try_from(told.count()).unwrap_or(u64::MAX);
                self.outlets.status.send_modify(|status| status.events += told);
                for remark in enforcer.hear(events) {
                    match remark {
                        Remark::Broken(err) => {
                            warn!(err, "an object cannot be read");
                        }
                        Remark::Ignored(err) => warn!(err, "not followed"),
                    }
                }
                if enforcer.in_sync() && !before {
                    info!("everything that there is has been heard");
                }
            }
        }
    }

    /// Takes in what became of the links of this host.
    fn look_around(&mut self) {
        match self.interfaces.hear() {
            Ok(false) => {}
            Ok(true) => {
                let addresses = self.interfaces.addresses();
                let enforcer = self.enforcer.as_mut();
                if enforcer.is_some_and(|enforcer| enforcer.interfaces(addresses)) {
                    self.apply();
                }
            }
            Err(err) => {
                warn!(%err, "cannot hear of the links of this host");
                self.deaf = true;
                self.put_off(err.to_string());
            }
        }
    }

    /// Takes in what others did to the ruleset.
    fn listen(&mut self) {
        let heard = match self.keeper.hear() {
            Ok(heard) => heard,
            Err(err) => {
                warn!(%err, "cannot hear what others do to the ruleset");
                self.deaf = true;
                self.put_off(err.to_string());
                return;
            }
        };
        let (mut changed, mut lost) = (false, false);
        for one in heard {
            match one {
                Heard::Change { ours: true, process, .. } => {
                    warn!(process, "our table was changed by another program; it is put right");
                    changed = true;
                }
                Heard::Lost => lost = true,
                Heard::Change { .. } => {}
            }
        }
        if changed || lost {
            self.apply();
        }
        if changed {
            self.outlets.status.send_modify(|status| status.repairs += 1);
        }
    }

    fn try_again(&mut self) {
        self.again.trying();
        // Whatever was wrong with the sockets is not wrong with new ones.
        let troubled = self.outlets.status.borrow().trouble.is_some();
        if troubled && let Err(err) = self.reopen() {
            return self.put_off(format!("{err:#}"));
        }
        if let Some(enforcer) = &mut self.enforcer {
            enforcer.forgive();
        }
        self.apply();
    }

    fn reopen(&mut self) -> Result<()> {
        let (keeper, interfaces) = (open(self.choices)?, Interfaces::open()?);
        (self.ear, self.interfaces_ear) = (ear(&keeper)?, ear(&interfaces)?);
        (self.keeper, self.interfaces, self.deaf) = (keeper, interfaces, false);
        if let Some(enforcer) = &mut self.enforcer {
            enforcer.interfaces(self.interfaces.addresses());
        }
        Ok(())
    }

    /// While nothing is wanted yet: a table that is there stays as it is, as what a former process
    /// left goes on, and nobody else may change it; where there is none, or one without its rules, it
    /// lets nothing pass workloads' links.
    fn close(&mut self) {
        match self.keeper.guard(&layout::table(&State::default(), &Settings::default())) {
            Ok(false) => {}
            Ok(true) => {
                info!(
                    "there was no whole table: workloads' links are closed until policy is known"
                );
            }
            Err(err) => {
                error!(%err, "workloads' links cannot be closed");
                return self.put_off(err.to_string());
            }
        }
        self.outlets.status.send_modify(|status| status.trouble = None);
        self.again.settled();
    }

    /// Makes the kernel's table what it should be, as far as the kernel takes it.
    fn apply(&mut self) {
        let Some(enforcer) = self.enforcer.as_mut().filter(|enforcer| enforcer.in_sync()) else {
            return self.close();
        };
        let begun = Instant::now();
        self.guarding.before(enforcer.settings());
        let mut large = false;
        let failure = loop {
            let Some(Wanted { table, touched }) = enforcer.wanted() else { return };
            let synced = match touched {
                Some(touched) => self.keeper.sync_touched(table, touched),
                None => self.keeper.sync(table),
            };
            match synced {
                Ok(synced) => {
                    debug!(steps = synced.steps, readings = synced.readings, took = ?begun.elapsed(), "the kernel has what it should");
                    enforcer.done();
                    large = synced.steps > LARGE;
                    self.outlets.status.send_modify(|status| {
                        status.steps += u64::try_from(synced.steps).unwrap_or(u64::MAX);
                    });
                    break None;
                }
                Err(ApplyError::Refused(refused)) => {
                    for one in &refused {
                        error!(object = %one.object, err = %one, "the kernel refused an object");
                    }
                    if enforcer.refused(&refused) == Refusal::Whole {
                        break Some(ApplyError::Refused(refused).to_string());
                    }
                }
                Err(err) => break Some(err.to_string()),
            }
        };
        let guarded = failure.is_none() && self.guarding.after(enforcer.settings());
        let (counts, isolating) = (enforcer.counts(), enforcer.is_isolating());
        let in_force = enforcer.in_force();
        self.outlets.in_force.send_if_modified(|before| {
            let changed = !Arc::ptr_eq(before, in_force) && before != in_force;
            if changed {
                *before = Arc::clone(in_force);
            }
            changed
        });
        let (took, deaf) = (begun.elapsed().as_secs_f64(), self.deaf);
        self.outlets.status.send_modify(|status| {
            status.counts = counts;
            if failure.is_none() {
                status.enforcing = true;
                status.guarded = guarded;
                status.trouble.take_if(|_| !deaf);
                status.tables += 1;
                status.seconds += took;
            }
        });
        if large {
            return_memory();
        }
        match failure {
            None if isolating || deaf => self.again.failed(time::Instant::now()),
            None => self.again.settled(),
            Some(err) => {
                error!(err, "the kernel did not take the table; what it has stays in force");
                self.put_off(err);
            }
        }
    }

    /// Whoever tells of packets hears whose and what they are.
    fn tell_names(&mut self) {
        let Some(enforcer) = &mut self.enforcer else { return };
        let names = enforcer.names();
        self.outlets.names.send_if_modified(|before| {
            let changed = !Arc::ptr_eq(&before.ends, &names.ends)
                || !Arc::ptr_eq(&before.texts, &names.texts);
            *before = names.clone();
            changed
        });
    }

    /// Counts an endpoint's packets for a while, and tells what was counted until now.
    fn count(&mut self, question: &CountQuestion) -> Result<v1::ShowPolicyResponse, tonic::Status> {
        let enforcer = api::whole(self.enforcer.as_mut())?;
        let id = api::endpoint(enforcer, &question.endpoint)?;
        let now = time::Instant::now();
        let since = self.counting.ask(&id, now, question.time);
        let since = since.map_err(|full| tonic::Status::resource_exhausted(full.to_string()))?;
        if !enforcer.count(&id) {
            self.counting.forget(&id);
            let text = format!("{id} has no link of its own here, and so no packets");
            return Err(tonic::Status::failed_precondition(text));
        }
        self.apply();
        let enforcer = api::whole(self.enforcer.as_mut())?;
        let counts = self.keeper.counts(&enforcer.counted(&id)).map_err(|error| {
            tonic::Status::unavailable(format!("what was counted cannot be read: {error}"))
        })?;
        api::show(enforcer, &question.endpoint, Some((&counts, now.duration_since(since))))
    }

    /// Those that nobody wants to know of any more are not counted any more.
    fn uncount(&mut self) {
        let over = self.counting.end(time::Instant::now());
        if let Some(enforcer) = &mut self.enforcer {
            over.iter().for_each(|id| enforcer.uncount(id));
            self.apply();
        }
    }

    fn put_off(&mut self, trouble: String) {
        self.outlets.status.send_modify(|status| {
            status.failures += 1;
            status.trouble = Some(trouble);
        });
        self.again.failed(time::Instant::now());
    }
}
