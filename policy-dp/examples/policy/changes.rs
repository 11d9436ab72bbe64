//! What a change costs in a large cluster, and the start.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use margay_model::{Resource, kinds::PolicyType};
use nix::sched::{CloneFlags, unshare};
use policy_calc::EndpointId;

use crate::{
    linear,
    rig::{self, Rig},
    world::{World, endpoint, policy},
};

/// How often each change is made.
const TIMES: u32 = 30;

/// Makes all of them, and prints what they took.
pub fn measure(policies: u32, endpoints: u32, local: u32) -> Result<()> {
    let world = World { policies, endpoints, local };
    unshare(CloneFlags::CLONE_NEWNET)
        .context("cannot make a network namespace (this needs root)")?;
    let begun = Instant::now();
    let mut rig = rig::start()?;
    let (told, at) = rig.all(world.resources().collect(), usize::try_from(local)?)?;
    let since = |at: Instant| at.duration_since(begun).as_secs_f64();
    println!("start until all is in force: s={:.3} told_s={:.3}", since(at), since(told));
    memory("memory after the start", &rig)?;
    changes(&mut rig, &world)?;
    memory("memory in the end", &rig)?;
    drop(rig);
    beside(&world)
}

fn memory(what: &str, rig: &Rig) -> Result<()> {
    let (now, most) = rig.memory()?;
    println!("{what}: mb={} most_mb={}", now / 1024, most / 1024);
    Ok(())
}

fn changes(rig: &mut Rig, world: &World) -> Result<()> {
    let Chosen { namespace, in_use, remote } = Chosen::of(world)?;
    several("a remote endpoint gets an address more", |time| {
        let index = remote.get(usize::try_from(time)?).context("enough of them")?;
        let mut resource = endpoint(*index, "there");
        if let Resource::WorkloadEndpoint(object) = &mut resource {
            object.spec.ip_networks.push(format!("10.200.{time}.1/32").parse()?);
        }
        rig.in_kernel(&resource)
    })?;
    several("a policy of a namespace is edited", |time| {
        rig.in_kernel(&edited(namespace + world.namespaces(), world, time))
    })?;
    several("a policy of all is edited", |time| rig.in_kernel(&edited(0, world, time)))?;
    several("a policy comes, of another order", |time| {
        let mut resource = policy(namespace + world.namespaces(), world.namespaces());
        if let Resource::NetworkPolicy(object) = &mut resource {
            object.metadata.name = Some(format!("new{time}"));
            object.spec.types = vec![PolicyType::Ingress];
        }
        rig.in_kernel(&resource)
    })?;
    several("a pod comes, until it is reported", |time| {
        rig.in_force(&endpoint(world.endpoints + 1 + time, "here"))
    })?;
    several("a pod with policies comes, until it is reported", |time| {
        let mut resource = endpoint(in_use, "here");
        if let Resource::WorkloadEndpoint(object) = &mut resource {
            object.metadata.name = Some(format!("here-k8s-more{time}-eth0"));
            object.spec.pod = Some(format!("more{time}"));
            object.spec.interface_name = Some(format!("calimore{time}"));
            object.spec.ip_networks = vec![format!("10.201.{time}.1/32").parse()?];
        }
        rig.in_force(&resource)
    })
}

/// The same by `nft -f`, with rules in the shape of iptables chains.
fn beside(world: &World) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    let Chosen { namespace, in_use, remote } = Chosen::of(world)?;
    let mut all: Vec<Resource> = world.resources().collect();
    let state = linear::state(all.clone());
    let took = linear::load(&linear::script(&state)?)?;
    println!("linear chains, all by nft -f: s={:.3}", took.as_secs_f64());
    several("linear chains, a remote endpoint gets an address more", |time| {
        let index = remote.get(usize::try_from(time)?).context("enough of them")?;
        let address = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + index));
        linear::load(&linear::join(&state, address, &format!("10.200.{time}.1"))?)
    })?;
    let index = namespace + world.namespaces();
    let [short, long] = [0, 1].map(|time| {
        all.push(edited(index, world, time));
        linear::state(all.clone())
    });
    let name = format!("p{index}");
    several("linear chains, a policy of a namespace is edited", |time| {
        linear::load(&linear::edit(if time % 2 == 0 { &short } else { &long }, &name)?)
    })?;
    let like = EndpointId::Workload {
        namespace: format!("ns{namespace}"),
        name: format!("here-k8s-pod{in_use}-eth0"),
    };
    several("linear chains, a pod with policies comes", |time| {
        linear::load(&linear::pod(&state, &like, &format!("calimore{time}"))?)
    })
}

/// A policy that has another number of rules each time.
fn edited(index: u32, world: &World, time: u32) -> Resource {
    let mut resource = policy(index, world.namespaces());
    let rules = match &mut resource {
        Resource::NetworkPolicy(object) => &mut object.spec.ingress,
        Resource::GlobalNetworkPolicy(object) => &mut object.spec.ingress,
        _ => return resource,
    };
    rules.truncate(if time.is_multiple_of(2) { 3 } else { 4 });
    resource
}

/// Whom the changes are about.
struct Chosen {
    /// One with an endpoint here that its policies select.
    namespace: u32,
    /// That endpoint.
    in_use: u32,
    /// Endpoints elsewhere that policies of all let in.
    remote: Vec<u32>,
}

impl Chosen {
    fn of(world: &World) -> Result<Self> {
        let in_use = (0..world.endpoints).find(|index| {
            let namespace = index / 100;
            world.is_here(*index) && index % 10 == namespace % 10 && namespace > 0
        });
        let in_use = in_use.context("no local endpoint has policies")?;
        let let_in = |index: &u32| index % 10 < 5 && index % 3 == index % 10 % 3;
        let remote = (0..world.endpoints).filter(|index| !world.is_here(*index)).filter(let_in);
        let remote: Vec<u32> = remote.collect();
        ensure!(remote.len() > usize::try_from(TIMES)?, "few endpoints are remote");
        Ok(Self { namespace: in_use / 100, in_use, remote })
    }
}

/// Makes a change several times; the median and the longest.
fn several(what: &str, mut once: impl FnMut(u32) -> Result<Duration>) -> Result<()> {
    let mut all = (0..TIMES).map(&mut once).collect::<Result<Vec<_>>>()?;
    all.sort();
    let ms = |took: Option<&Duration>| took.map_or(0.0, |took| took.as_secs_f64() * 1000.0);
    println!("{what}: p50_ms={:.3} most_ms={:.3}", ms(all.get(all.len() / 2)), ms(all.last()));
    Ok(())
}
