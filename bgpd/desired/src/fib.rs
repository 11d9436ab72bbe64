//! `[fib]`.

use crate::{
    desired::{Fib, NexthopObjects},
    policy::Policies,
    reader::Section,
};

/// Route protocols that the kernel and `ip route` use themselves: routes under them are not ours.
const KERNEL_PROTOCOLS: u8 = 4;

pub(crate) fn read(root: &mut Section<'_>, policies: &Policies<'_>) -> Fib {
    let mut fib = Fib::default();
    let Some(mut section) = root.entry("fib").and_then(|entry| entry.section()) else {
        return fib;
    };
    let mut get = |key| section.entry(key);
    if let Some(enabled) = get("enabled").and_then(|entry| entry.boolean()) {
        fib.enabled = enabled;
    }
    if let Some(table) = get("table").and_then(|entry| entry.integer(1..=u32::MAX)) {
        fib.table = table;
    }
    if let Some(metric) = get("metric").and_then(|entry| entry.integer(1..=u32::MAX)) {
        fib.metric = metric;
    }
    if let Some(protocol) =
        get("protocol").and_then(|entry| entry.integer(KERNEL_PROTOCOLS + 1..=u8::MAX))
    {
        fib.protocol = protocol;
    }
    let objects =
        [("auto", NexthopObjects::Auto), ("on", NexthopObjects::On), ("off", NexthopObjects::Off)];
    if let Some(objects) = get("nexthop-objects").and_then(|entry| entry.one_of(&objects)) {
        fib.nexthop_objects = objects;
    }
    if let Some(off) =
        get("nexthop-compat").and_then(|entry| entry.one_of(&[("keep", false), ("off", true)]))
    {
        fib.nexthop_compat_off = off;
    }
    fib.preferred_source = get("preferred-source").and_then(|entry| entry.unicast());
    fib.export = get("export").and_then(|entry| policies.reference(&entry));
    section.finish();
    fib
}
