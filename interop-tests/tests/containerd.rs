//! A real container runtime: containerd starts and stops pods through the CNI plugin, as a kubelet
//! would have it.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use interop_tests::cri::{Client, Pod};
use testkit::{Containerd, Host, Lab, Margay, containerd::IMAGE, have_root, resources, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the node has of pods: links, routes, addresses taken.
fn left(margay: &Margay) -> Result<(usize, usize, u64)> {
    let lines = |text: String| text.lines().filter(|line| line.contains("cali")).count();
    let links = lines(margay.host().ip(&["-o", "link", "show"])?);
    let ours = |family| margay.host().ip(&[family, "route", "show", "proto", "186"]);
    let routes = lines(ours("-4")?) + lines(ours("-6")?);
    let held = margay.json(&["ipam", "show"])?;
    let held = held.as_array().into_iter().flatten().filter_map(|row| row["in_use"].as_u64()).sum();
    Ok((links, routes, held))
}

#[test]
fn containerd_starts_and_stops_pods_through_the_plugin() -> Result<()> {
    if !have_root("containerd_starts_and_stops_pods_through_the_plugin") {
        return Ok(());
    }
    let mut lab = Lab::new("cri")?;
    let node = lab.host("n")?;
    let outside = lab.host("outside")?;
    lab.link(
        (&node, "eth0", &["10.99.0.1/24", "fd99::1/64"]),
        (&outside, "eth0", &["10.99.0.2/24", "fd99::2/64"]),
    )?;
    outside.ip(&["route", "add", "10.10.0.0/16", "via", "10.99.0.1"])?;
    outside.ip(&["-6", "route", "add", "fd10::/48", "via", "fd99::1"])?;
    let mut margay = Margay::new(&node, "[datastore]\ntype = \"embedded\"\n");
    margay.set_node_keys("register = false\n");
    margay.start()?;
    let pools = [resources::pool("four", "10.10.0.0/16"), resources::pool("six", "fd10::/48")];
    margay.apply(&resources::all(&pools))?;
    let containerd = Containerd::start(&margay)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(&containerd).await?;
        let played = play(&client, &mut margay, &node, &outside).await;
        // Pods outlive the runtime, and so would those of a failed test.
        let removed = client.remove_all().await;
        played.and(removed)
    })
}

#[test]
fn a_runtime_that_dies_over_a_pod_it_has_only_begun_leaves_no_namespace() -> Result<()> {
    if !have_root("a_runtime_that_dies_over_a_pod_it_has_only_begun_leaves_no_namespace") {
        return Ok(());
    }
    let mut lab = Lab::new("cri-begun")?;
    let node = lab.host("n")?;
    let mut margay = Margay::new(&node, "[datastore]\ntype = \"embedded\"\n");
    margay.set_node_keys("register = false\n");
    margay.start()?;
    let containerd = Containerd::start(&margay)?;
    let dir = node.dir().join("containerd");
    let below = format!("{}/", dir.display());
    let mounts = || -> Result<Vec<String>> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        Ok(points.filter(|point| point.starts_with(&below)).map(str::to_owned).collect())
    };
    // The plugin waits for an answer; its pod has a namespace, and no bundle yet.
    margay.daemon()?.pause()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let client = runtime.block_on(Client::connect(&containerd))?;
    let begun = runtime.spawn(async move { client.run("web", IMAGE).await });
    until("a pod has its namespace", PATIENCE, || {
        Ok(mounts()?.iter().any(|point| point.contains("/netns/")))
    })?;
    drop(containerd);
    ensure!(runtime.block_on(begun)?.is_err(), "nobody attached it");
    ensure!(mounts()?.is_empty(), "{:?}", mounts()?);
    Ok(())
}

/// Pods come and go, and so does the daemon.
async fn play(client: &Client, margay: &mut Margay, node: &Host, outside: &Host) -> Result<()> {
    let first = client.run("web", IMAGE).await?;
    let second = client.run("db", IMAGE).await?;
    reach(client, node, &first, &second).await?;
    // The daemon's death disturbs no pod, and the runtime goes on when it is back.
    margay.kill()?;
    client.exec(&first, &["/bin/ping", "-c", "1", "-W", "5", &second.addresses[0]]).await?;
    margay.start()?;
    client.remove(&second).await?;
    let third = client.run("db", IMAGE).await?;
    reach(client, node, &first, &third).await?;
    for address in &third.addresses {
        ensure!(outside.pings(address), "{address} from outside the node");
    }
    client.remove(&first).await?;
    client.remove(&third).await?;
    let mut tasks = tokio::task::JoinSet::new();
    let start = Instant::now();
    for n in 0..10 {
        let client = client.clone();
        tasks.spawn(async move { client.run(&format!("many{n}"), IMAGE).await });
    }
    let mut pods = Vec::new();
    while let Some(pod) = tasks.join_next().await {
        pods.push(pod??);
    }
    println!("ten pods at once: {} ms", start.elapsed().as_millis());
    ensure!(left(margay)? == (10, 20, 20), "{:?}", left(margay)?);
    for pod in &pods {
        ensure!(node.pings(&pod.addresses[0]), "{:?} from the node", pod.addresses);
    }
    for pod in &pods {
        client.remove(pod).await?;
    }
    until("nothing is left of the pods", PATIENCE, || Ok(left(margay)? == (0, 0, 0)))
}

/// Both families, from the node to both pods and between them.
async fn reach(client: &Client, node: &Host, from: &Pod, to: &Pod) -> Result<()> {
    ensure!(to.addresses.len() == 2 && from.addresses.len() == 2, "{from:?} {to:?}");
    for address in &to.addresses {
        ensure!(node.pings(address), "{address} from the node");
        client.exec(from, &["/bin/ping", "-c", "1", "-W", "5", address]).await?;
    }
    for address in ["10.99.0.1", "fd99::2"] {
        client.exec(from, &["/bin/ping", "-c", "1", "-W", "5", address]).await?;
    }
    Ok(())
}
