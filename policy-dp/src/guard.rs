//! The guard behind the table, kept in step with it: what is attached never asks for a mark that the
//! table does not set.

use std::time::Duration;

use policy_bpf::{Folder, Guard, Rule};
use policy_nft::layout::Settings;
use tokio::{task, time};
use tracing::{debug, error, info, warn};

/// Takes away, now and every hour, the guards of network namespaces that nobody has any more.
pub(crate) async fn sweep() {
    let mut hours = time::interval(SWEEP);
    loop {
        hours.tick().await;
        match task::spawn_blocking(policy_bpf::sweep).await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => {
                info!(count, "guards of network namespaces that are gone were removed")
            }
            Ok(Err(err)) => debug!(%err, "whose network namespace is gone cannot be told"),
            Err(err) => warn!(%err, "guards that nobody needs were not looked for"),
        }
    }
}

const SWEEP: Duration = Duration::from_secs(60 * 60);

/// The guard of this network namespace, if there is one.
#[derive(Debug)]
pub(crate) struct Guarding {
    guard: Option<Guard>,
    /// There is one, or what is left of one.
    marks: bool,
    holds: bool,
    /// That it does not was said.
    said: bool,
}

impl Guarding {
    /// Makes it ready if it is wanted, else takes away what is there.
    pub(crate) fn open(wanted: bool) -> Self {
        let folder = Folder::own();
        let open = |folder: &Folder| {
            let opened = Guard::open(folder.clone()).inspect_err(|err| {
                warn!(
                    %err,
                    "no guard: a table that somebody removes while margay-policy-dp is dead leaves \
                     workloads open"
                );
            });
            opened.ok()
        };
        let guard = folder.as_ref().ok().filter(|_| wanted).and_then(open);
        let removed = match &guard {
            Some(_) => Ok(()),
            None => folder.and_then(|folder| folder.remove()),
        };
        if let Err(err) = &removed {
            error!(%err, "a guard that may be there cannot be removed; the table marks for it");
        }
        let marks = guard.is_some() || removed.is_err();
        Self { guard, marks, holds: false, said: false }
    }

    /// Whether the table has to mark for it.
    pub(crate) fn wants_marks(&self) -> bool {
        self.marks
    }

    /// The table is about to mark so.
    pub(crate) fn before(&mut self, settings: &Settings) {
        let Some(guard) = &mut self.guard else { return };
        if let Err(err) = guard.widen(settings.marks.guarded()) {
            error!(%err, "the guard was not told that the table will mark otherwise");
        }
    }

    /// The table marks so now; whether the guard holds.
    pub(crate) fn after(&mut self, settings: &Settings) -> bool {
        let Some(guard) = &mut self.guard else { return false };
        let rule = Rule::new(&settings.prefixes, settings.marks.guarded());
        match guard.hold(rule) {
            Ok(()) if self.holds => {}
            Ok(()) => {
                info!("the guard stands behind the table");
                self.holds = true;
            }
            Err(err) if self.holds || !self.said => {
                warn!(%err, "the guard does not stand behind the table");
                (self.holds, self.said) = (false, true);
            }
            Err(_) => {}
        }
        self.holds
    }
}
