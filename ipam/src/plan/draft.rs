//! The blocks a plan changes, as copies.
//!
//! A copy is made when a block is first changed and dropped when the wish that changed it fails: no
//! half-met wish is ever written.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use ipnet::IpNet;
use margay_model::Revision;

use super::{Step, World};
use crate::{
    block::{Block, BlockState, Handle, Held, Ordinal},
    net,
};

/// A block as changed by this plan.
#[derive(Clone)]
struct Touched {
    /// The revision it was read at; `None`: it does not exist yet.
    base: Option<Revision>,
    /// `None`: it is to be deleted.
    block: Option<Arc<Block>>,
}

/// Copies of the blocks a plan changes, over the view it is made from.
pub(crate) struct Draft<'w> {
    pub(crate) world: World<'w>,
    touched: BTreeMap<IpNet, Touched>,
    /// Blocks the present wish changed or relies on.
    needs: BTreeSet<IpNet>,
    /// What the present wish found, to go back to; `None` if it cannot fail half-way.
    undo: Option<BTreeMap<IpNet, Option<Touched>>>,
}

impl<'w> Draft<'w> {
    pub(crate) fn new(world: World<'w>) -> Self {
        Self { world, touched: BTreeMap::new(), needs: BTreeSet::new(), undo: None }
    }

    /// Begins a wish. With `may_fail` its changes can be taken back.
    pub(super) fn begin(&mut self, may_fail: bool) {
        self.needs.clear();
        self.undo = may_fail.then(BTreeMap::new);
    }

    /// Ends a wish: what it needs committed, or nothing after taking its changes back.
    pub(super) fn end(&mut self, met: bool) -> BTreeSet<IpNet> {
        let undo = self.undo.take();
        let needs = mem::take(&mut self.needs);
        if met {
            return needs;
        }
        for (cidr, before) in undo.into_iter().flatten() {
            match before {
                Some(before) => self.touched.insert(cidr, before),
                None => self.touched.remove(&cidr),
            };
        }
        BTreeSet::new()
    }

    /// The block as it stands in this plan.
    pub(super) fn block(&self, cidr: IpNet) -> Option<&Block> {
        match self.touched.get(&cidr) {
            Some(touched) => touched.block.as_deref(),
            None => self.world.view.block(cidr).map(|(_, block)| block.as_ref()),
        }
    }

    /// The present wish relies on what another one of this plan does to a block.
    pub(super) fn rely_on(&mut self, cidr: IpNet) {
        if self.touched.contains_key(&cidr) {
            self.needs.insert(cidr);
        }
    }

    /// The copy of a block, to change it.
    pub(super) fn edit(&mut self, cidr: IpNet) -> Option<&mut Block> {
        self.remember(cidr);
        if !self.touched.contains_key(&cidr) {
            let (revision, block) = self.world.view.block(cidr)?;
            let mut block = block.as_ref().clone();
            block.begin(self.world.now, self.world.settings.cooldown);
            let touched = Touched { base: Some(revision), block: Some(Arc::new(block)) };
            self.touched.insert(cidr, touched);
        }
        self.needs.insert(cidr);
        self.touched.get_mut(&cidr)?.block.as_mut().map(Arc::make_mut)
    }

    /// Adds a block that must not exist yet.
    pub(super) fn create(&mut self, block: Block) -> &mut Block {
        let cidr = block.cidr();
        self.remember(cidr);
        self.needs.insert(cidr);
        self.touched.insert(cidr, Touched { base: None, block: Some(Arc::new(block)) });
        let touched = self.touched.get_mut(&cidr).and_then(|touched| touched.block.as_mut());
        Arc::make_mut(touched.expect("it was inserted a line above"))
    }

    /// Deletes a block.
    pub(super) fn delete(&mut self, cidr: IpNet) {
        if self.edit(cidr).is_some()
            && let Some(touched) = self.touched.get_mut(&cidr)
        {
            touched.block = None;
        }
    }

    fn remember(&mut self, cidr: IpNet) {
        if let Some(undo) = &mut self.undo {
            undo.entry(cidr).or_insert_with(|| self.touched.get(&cidr).cloned());
        }
    }

    /// Whether this plan itself has put a block where `net` is.
    pub(super) fn takes(&self, net: IpNet) -> bool {
        self.touched.iter().any(|(cidr, touched)| {
            touched.base.is_none() && touched.block.is_some() && net::overlap(*cidr, net)
        })
    }

    /// Blocks of this node as they stand in this plan, in order.
    pub(super) fn own(&self) -> Vec<IpNet> {
        let host = self.world.host;
        let mut own: BTreeSet<IpNet> = self.world.view.owned(host).map(|b| b.cidr()).collect();
        for (cidr, touched) in &self.touched {
            match &touched.block {
                Some(block) if block.is_owned_by(host) => own.insert(*cidr),
                _ => own.remove(cidr),
            };
        }
        own.into_iter().collect()
    }

    /// What a handle holds as it stands in this plan.
    pub(super) fn held_by(&self, handle: &Handle) -> Vec<(IpNet, Ordinal, Arc<Held>)> {
        let known = self.world.view.of_handle(handle);
        let mut held: Vec<_> = known
            .into_iter()
            .filter(|place| !self.touched.contains_key(&place.cidr))
            .map(|place| (place.cidr, place.ordinal, place.held))
            .collect();
        for (cidr, touched) in &self.touched {
            for (ordinal, entry) in touched.block.iter().flat_map(|block| block.held()) {
                if entry.handle == *handle {
                    held.push((*cidr, ordinal, entry.clone()));
                }
            }
        }
        held.sort_by_key(|(cidr, ordinal, _)| (*cidr, *ordinal));
        held
    }

    /// One commit for each changed block. A block that nobody owns, or that is being emptied, goes
    /// with its last address; one made and emptied in the same plan was never there.
    pub(super) fn steps(self) -> Vec<Step> {
        let World { now, settings, .. } = self.world;
        self.touched
            .into_iter()
            .filter_map(|(cidr, Touched { base, block })| {
                let after = block.filter(|block| {
                    let ending = block.owner().is_none() || block.state() == BlockState::Draining;
                    !(ending && block.is_empty(now, settings.cooldown))
                });
                (base.is_some() || after.is_some()).then_some(Step { cidr, base, after })
            })
            .collect()
    }
}
