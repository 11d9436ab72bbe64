//! `Tier`: a group of policies that is evaluated as a whole.

use crate::{fault::Step, object::Object, scalar::Order, wire::At};

use super::Conditions;

choice! {
    /// What becomes of a packet that policies of a tier applied to and did not decide.
    pub enum TierAction {
        /// It is dropped.
        Deny = "Deny",
        /// It goes on to the next tier.
        Pass = "Pass",
    }
}

record! {
    /// The spec of a `Tier`.
    #[derive(Default)]
    pub struct TierSpec {
        /// Its place among the tiers, lower first; last if absent.
        order: Option<Order> = "order",
        /// What is done in the end; `Deny` if absent.
        default_action: Option<TierAction> = "defaultAction",
    }
}

spec!(TierSpec, Tier, status Conditions, defaults defaults, check check_built_in);

/// A `Tier`.
pub type Tier = Object<TierSpec>;

/// The tiers that always exist: name, order, default action.
pub const BUILT_IN_TIERS: &[(&str, i32, TierAction)] = &[
    ("kube-admin", 1_000, TierAction::Pass),
    ("default", 1_000_000, TierAction::Deny),
    ("kube-baseline", 10_000_000, TierAction::Pass),
];

/// The tiers that always exist, as objects.
pub(super) fn built_in() -> impl Iterator<Item = Tier> {
    let tier = |(name, order, action): &(&str, i32, TierAction)| {
        let spec = TierSpec { order: Some((*order).into()), default_action: Some(*action) };
        Object::new(*name, spec)
    };
    BUILT_IN_TIERS.iter().map(tier)
}

fn defaults(tier: &mut Tier) {
    let built_in = BUILT_IN_TIERS.iter().find(|(name, ..)| *name == tier.name());
    let (order, action) =
        built_in.map_or((1_000_000, TierAction::Deny), |(_, order, action)| (*order, *action));
    tier.spec.order.get_or_insert(order.into());
    tier.spec.default_action.get_or_insert(action);
}

fn check_built_in(tier: &Tier, at: &mut At<'_, '_>) {
    let Some((name, order, action)) = BUILT_IN_TIERS.iter().find(|(name, ..)| *name == tier.name())
    else {
        return;
    };
    if tier.spec.order.is_some_and(|found| found != Order::from(*order)) {
        let steps = [Step::Key("spec".into()), Step::Key("order".into())];
        at.refuse_at(&steps, format!("{order}, the order of the tier {name}"));
    }
    if tier.spec.default_action.is_some_and(|found| found != *action) {
        let steps = [Step::Key("spec".into()), Step::Key("defaultAction".into())];
        at.refuse_at(&steps, format!("{action}, the action of the tier {name}"));
    }
}
