//! `margay ipam check --fix`: carries out what a check wants written.

use std::collections::BTreeSet;

use ipnet::IpNet;
use margay_datastore::{Outcome, Store};
use margay_ipam::{check::Problem, plan::Step};
use margay_model::Actor;
use tracing::warn;

/// What came of it. A failure takes nothing back of what was mended before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mended {
    /// The blocks that were written.
    blocks: BTreeSet<IpNet>,
    /// What was in the way, in words.
    pub(super) failures: Vec<String>,
}

impl Mended {
    /// Whether a problem of the check is one no more.
    pub(super) fn covers(&self, problem: &Problem) -> bool {
        problem.by_hand.is_none() && problem.block.is_some_and(|block| self.blocks.contains(&block))
    }
}

/// Commits one block after the other. Another writer costs his block alone; a datastore that fails
/// is asked for no more.
pub(super) async fn mend(store: &dyn Store, steps: &[Step], actor: &Actor) -> Mended {
    let mut mended = Mended::default();
    for (at, step) in steps.iter().enumerate() {
        let failure = match store.commit(step.txn(), actor).await {
            Ok(Outcome::Committed(_)) => {
                mended.blocks.insert(step.cidr);
                continue;
            }
            Ok(Outcome::Conflict(_)) => {
                warn!(block = %step.cidr, "not mended: it was changed");
                let text = format!("block {} was changed meanwhile: check again", step.cidr);
                mended.failures.push(text);
                continue;
            }
            Err(error) => error,
        };
        warn!(block = %step.cidr, err = %failure, "not mended");
        mended.failures.push(format!("block {}: {failure}", step.cidr));
        match steps.len() - at - 1 {
            0 => {}
            1 => mended.failures.push("1 more block was not tried".to_owned()),
            more => mended.failures.push(format!("{more} more blocks were not tried")),
        }
        break;
    }
    mended
}

#[cfg(test)]
mod tests;
