//! Keeps the table as it shall be: plans against what is known of it, carries the plan out, and
//! reads the table again when what is known cannot be trusted.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use margay_netlink::Wait;
use policy_calc::Direction;

use crate::{
    decode::Count,
    layout::{Counted, Place},
    name::Name,
    netlink::{ApplyError, Heard, Session, Watch},
    plan::{Actual, Op, Presence, Touched, plan, plan_touched, stages},
    table::Table,
};

/// A session, an ear for what others do, and what is known of the table.
#[derive(Debug)]
pub struct Keeper {
    session: Session,
    watch: Watch,
    actual: Option<Actual>,
    /// No other table stands in for ours, nor one that a process left which ended.
    alone: bool,
}

/// What was counted, by direction and what decided.
pub type Counts = BTreeMap<(Direction, Place), Count>;

/// What it took to get the table right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Synced {
    /// Steps that were carried out; 0 when everything was right.
    pub steps: usize,
    /// How often the table was read.
    pub readings: u32,
}

/// The ear, to wait on: readable when there is something to [`hear`](Keeper::hear).
impl AsFd for Keeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

impl Keeper {
    /// Opens one for the table of this name (of family `inet`) in the calling thread's network
    /// namespace. Changes nothing yet.
    ///
    /// # Errors
    /// When there is no socket to be had, or no right to nf_tables.
    pub fn open(table: Name) -> io::Result<Self> {
        Self::of(Session::open(table)?)
    }

    /// The same for a table that everybody may change ([`Session::open_free`]): what others do to it is
    /// heard, and undone with the next sync.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_free(table: Name) -> io::Result<Self> {
        Self::of(Session::open_free(table)?)
    }

    fn of(session: Session) -> io::Result<Self> {
        let watch = Watch::open(&session)?;
        Ok(Self { session, watch, actual: None, alone: false })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What a link's packets were counted by, of the chains that count them
    /// ([`Layout::counted`](crate::layout::Layout::counted)); nothing where the kernel has other rules.
    ///
    /// # Errors
    /// When the socket fails, or others change the ruleset without a pause.
    pub fn counts(&mut self, chains: &[Counted]) -> io::Result<Counts> {
        let mut counts = Counts::new();
        for Counted { chain, direction, rules } in chains {
            let found = self.session.counts(chain)?;
            let same = found.len() == rules.len()
                && found.iter().zip(rules).all(|((is, _), (wanted, _))| *is == Some(*wanted));
            if !same {
                return Ok(Counts::new());
            }
            for ((_, count), (_, place)) in found.into_iter().zip(rules) {
                let (Some(count), Some(place)) = (count, place) else { continue };
                // A rule exists for each family and each way to match.
                let sum: &mut Count = counts.entry((*direction, place.clone())).or_default();
                sum.packets += count.packets;
                sum.octets += count.octets;
            }
        }
        Ok(counts)
    }

    /// What is known of the table; `None` if it has to be read before it is known.
    pub fn actual(&self) -> Option<&Actual> {
        self.actual.as_ref()
    }

    /// While it is not known what the table shall be: takes over one that is there and leaves it as it
    /// is. Where there is none, or somebody took rules away that `closed` has, it becomes `closed`;
    /// true then. One that is not of our make stays as it is.
    ///
    /// # Errors
    /// Those of [`sync`](Self::sync).
    pub fn guard(&mut self, closed: &Table) -> Result<bool, ApplyError> {
        let closes = Cell::new(false);
        let guarded = |actual: &Actual| {
            closes.set(match actual.presence {
                Presence::Absent => true,
                Presence::Held => actual.has_gaps_beside(closed),
                Presence::Orphan | Presence::Foreign => false,
            });
            match actual.presence {
                Presence::Orphan => vec![Op::HoldTable],
                _ if closes.get() => plan(closed, actual),
                _ => Vec::new(),
            }
        };
        self.carry_out(closed, guarded, guarded)?;
        Ok(closes.get())
    }

    /// Makes the table what it shall be.
    ///
    /// # Errors
    /// When the kernel refuses something (then nothing was done, and all that was refused is
    /// named), or when others change the ruleset without a pause.
    pub fn sync(&mut self, desired: &Table) -> Result<Synced, ApplyError> {
        self.carry_out(desired, |actual| plan(desired, actual), |actual| plan(desired, actual))
    }

    /// The same where only what is named differs from the last time; costs as much as that part.
    ///
    /// # Errors
    /// Those of [`sync`](Self::sync).
    pub fn sync_touched(
        &mut self,
        desired: &Table,
        touched: &Touched,
    ) -> Result<Synced, ApplyError> {
        self.carry_out(
            desired,
            |actual| plan_touched(desired, actual, touched),
            |actual| plan(desired, actual),
        )
    }

    /// Takes in what others did, without waiting. After a change to our table, or if something was
    /// lost, nothing is known of the table, and the next sync reads it.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn hear(&mut self) -> io::Result<Vec<Heard>> {
        let mut all = Vec::new();
        loop {
            let heard = self.watch.next(Wait::Poll)?;
            if heard.is_empty() {
                return Ok(all);
            }
            for one in &heard {
                let trusted = match one {
                    Heard::Change { generation, ours: false, .. } => {
                        self.session.accept(*generation)
                    }
                    Heard::Change { generation, ours: true, .. } => {
                        // What is known is younger than that.
                        self.session.includes(*generation)
                    }
                    Heard::Lost => false,
                };
                if !trusted {
                    self.actual = None;
                }
            }
            all.extend(heard);
        }
    }

    /// Plans with `known` against what is known, and with `whole` against what was just read; what leads to
    /// `desired`.
    fn carry_out(
        &mut self,
        desired: &Table,
        known: impl Fn(&Actual) -> Vec<Op>,
        whole: impl Fn(&Actual) -> Vec<Op>,
    ) -> Result<Synced, ApplyError> {
        let mut synced = Synced::default();
        for _ in 0..TRIES {
            let ops = match &self.actual {
                Some(actual) if synced == Synced::default() => known(actual),
                Some(actual) => whole(actual),
                None => {
                    synced.readings += 1;
                    whole(self.actual.insert(self.session.read()?))
                }
            };
            let nobodys =
                self.actual.as_ref().is_some_and(|actual| actual.presence == Presence::Orphan);
            match self.apply(ops, desired, &mut synced.steps) {
                // It is held now; what it lacks comes next.
                Ok(()) if nobodys => {}
                Ok(()) => {
                    self.stand_down()?;
                    return Ok(synced);
                }
                Err(ApplyError::Conflict) => {
                    let expected = self.session.generation();
                    self.hear()?;
                    // Nothing that was heard explains it.
                    if self.session.generation() == expected {
                        self.actual = None;
                    }
                }
                Err(ApplyError::Uncertain) => self.actual = None,
                Err(other) => {
                    // A table that is not ours may be free by the next time.
                    self.actual.take_if(|actual| actual.presence != Presence::Held);
                    return Err(other);
                }
            }
        }
        Err(ApplyError::Conflict)
    }
}

impl Keeper {
    /// Carries out all of it, a transaction after the other.
    fn apply(
        &mut self,
        ops: Vec<Op>,
        desired: &Table,
        steps: &mut usize,
    ) -> Result<(), ApplyError> {
        if ops.contains(&Op::DropTable) {
            self.stand_in(desired)?;
        }
        for some in stages(ops, desired) {
            self.session.apply(&some)?;
            if let Some(actual) = &mut self.actual {
                actual.carry_out(&some);
            }
            *steps += some.len();
        }
        Ok(())
    }

    /// Makes a table beside ours that does the same: what passes has to pass both, until ours is as it should
    /// be.
    fn stand_in(&mut self, desired: &Table) -> Result<(), ApplyError> {
        self.alone = false;
        let mut other = self.other()?;
        let ops = plan(desired, &other.read()?);
        stages(ops, desired).into_iter().try_for_each(|some| other.apply(&some))?;
        // That was somebody else, for our own session.
        self.hear()?;
        Ok(())
    }

    /// Takes away what stands in for our table, or did when a process ended.
    fn stand_down(&mut self) -> Result<(), ApplyError> {
        if self.alone {
            return Ok(());
        }
        match self.other()?.apply(&[Op::DropTable]) {
            Err(ApplyError::Refused(refused))
                if refused.iter().all(|one| one.errno == libc::ENOENT) => {}
            result => result?,
        }
        self.alone = true;
        Ok(())
    }

    fn other(&self) -> io::Result<Session> {
        Session::open_free(Name::of(&format!("{}-meanwhile", self.session.table())))
    }
}

/// How often somebody else may be quicker before that is an error.
const TRIES: u32 = 50;
