//! `Profile`: labels and last rules for the endpoints that name it.

use std::collections::BTreeMap;

use crate::{
    fault::Step,
    object::Object,
    scalar::names,
    wire::{At, rules},
};

use super::{Action, Rule};

/// The profile that always exists, allows everything, and cannot be written.
pub const DEFAULT_ALLOW_PROFILE: &str = "projectcalico-default-allow";

record! {
    /// The spec of a `Profile`.
    #[derive(Default)]
    pub struct ProfileSpec {
        /// Rules for what comes to an endpoint, after all policies.
        ingress: Vec<Rule> = "ingress" => rules::items::<Rule>(1024),
        /// Rules for what leaves it.
        egress: Vec<Rule> = "egress" => rules::items::<Rule>(1024),
        /// Labels endpoints inherit; their own win.
        labels_to_apply: BTreeMap<String, String> = "labelsToApply",
    }
    check Self::check
}

spec!(ProfileSpec, Profile, check check_name);

/// A `Profile`.
pub type Profile = Object<ProfileSpec>;

/// The profile that always exists, as an object.
pub(super) fn built_in() -> Profile {
    let allow = || vec![Rule::new(Action::Allow)];
    let spec = ProfileSpec { ingress: allow(), egress: allow(), ..ProfileSpec::default() };
    Object::new(DEFAULT_ALLOW_PROFILE, spec)
}

impl ProfileSpec {
    fn check(&self, at: &mut At<'_, '_>) {
        for (key, value) in &self.labels_to_apply {
            let steps = [Step::Key("labelsToApply".into()), Step::Key(key.clone())];
            if !names::is_label_key(key) {
                at.refuse_key(&steps, "a label key");
            }
            if !names::is_label_value(value) {
                at.refuse_at(&steps, "a label value: at most 63 letters, digits, -, _ and .");
            }
        }
        super::rule::check_directions(at, &self.ingress, &self.egress);
    }
}

fn check_name(profile: &Profile, at: &mut At<'_, '_>) {
    if profile.name() == DEFAULT_ALLOW_PROFILE {
        let steps = [Step::Key("metadata".into()), Step::Key("name".into())];
        at.refuse_at(&steps, "another name: this profile is built in");
    }
}
