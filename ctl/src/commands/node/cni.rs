//! `margay node install-cni` and `uninstall-cni`.
//!
//! The plugin is one file, `margay-cni`; the names that configurations know are links to it, which
//! is how a later run knows what is ours.

mod files;

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use margay_proto::v1;
use serde_json::{Value, json};

use self::files::{Change, Folder};
use super::super::connect;
use crate::{
    cli::{
        Global, SOCKET,
        workload::{CniPlaces, Family, InstallCni},
    },
    error::Failure,
    output::Out,
    view::workload::{Installed, Removed},
};

/// The file with the program.
const PROGRAM: &str = "margay-cni";
/// What configurations of ours name.
const NAMES: [&str; 2] = ["margay", "margay-ipam"];
/// What configurations written for Calico name.
const CALICOS: [&str; 2] = ["calico", "calico-ipam"];
/// How long to wait before the daemon is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Places the plugin, waits for the daemon, places the configuration.
pub async fn install(
    args: &InstallCni,
    options: &Global,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let places = &args.places;
    let program = program(args)?;
    not_among_our_own(&places.bin_dir)?;
    let bin = Folder::make(&places.bin_dir)?;
    let conflist = conflist(args, options, &places.bin_dir)?;
    let mut report = Installed::default();
    let mut note = |path: PathBuf, change: Change| match change {
        Change::Made => report.installed.push(path),
        Change::None => report.unchanged.push(path),
    };
    note(bin.path(PROGRAM), bin.place(PROGRAM, &program, 0o755)?);
    let calicos: &[&str] = if args.as_calico { &CALICOS } else { &[] };
    for name in NAMES.iter().chain(calicos) {
        note(bin.path(name), bin.link(name, PROGRAM)?);
    }
    // Its presence tells Kubernetes that the node can take pods.
    wait_until_ready(args, options).await.map_err(|failure| {
        let not_yet =
            format!("the plugin is installed, its configuration is not: {}", failure.message());
        Failure::failed(not_yet).with_help("see `margay status`; then run this again")
    })?;
    let conf = Folder::make(&places.conf_dir)?;
    note(conf.path(&places.conf_name), conf.place(&places.conf_name, conflist.as_bytes(), 0o644)?);
    report.shadowed_by = shadows(&places.conf_dir, &places.conf_name)?;
    Ok(out.sheet(&report)?)
}

/// Removes what [`install`] made: first the configuration, so that nothing names what is gone.
pub fn uninstall(places: &CniPlaces, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut report = Removed::default();
    let conflist = places.conf_dir.join(&places.conf_name);
    match fs::read_to_string(&conflist) {
        Ok(text) if plugins(&text).iter().any(|plugin| is_ours(plugin)) => {
            Folder::at(&places.conf_dir).remove(&places.conf_name)?;
            report.removed.push(conflist);
        }
        Ok(_) => report.left.push(conflist),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::reading(&conflist, &error)),
    }
    let bin = Folder::at(&places.bin_dir);
    for name in NAMES.iter().chain(&CALICOS) {
        let path = bin.path(name);
        match fs::read_link(&path) {
            Ok(target) if target == Path::new(PROGRAM) => {
                bin.remove(name)?;
                report.removed.push(path);
            }
            // Calico's own, or copied there by hand.
            _ if NAMES.contains(name) && path.exists() => report.left.push(path),
            _ => {}
        }
    }
    if bin.path(PROGRAM).exists() {
        bin.remove(PROGRAM)?;
        report.removed.push(bin.path(PROGRAM));
    }
    Ok(out.sheet(&report)?)
}

/// The octets of the plugin.
fn program(args: &InstallCni) -> Result<Vec<u8>, Failure> {
    let path = match &args.plugin {
        Some(path) => path.clone(),
        None => {
            let me = env::current_exe();
            let beside = me.as_ref().ok().and_then(|me| Some(me.parent()?.join(PROGRAM)));
            beside.filter(|path| path.exists()).ok_or_else(|| {
                Failure::failed(format!("there is no {PROGRAM} beside this program"))
                    .with_help("name it: --plugin FILE")
            })?
        }
    };
    fs::read(&path).map_err(|error| Failure::reading(&path, &error))
}

/// In the folder of this program the name `margay` is taken: by this program.
fn not_among_our_own(bin: &Path) -> Result<(), Failure> {
    let me = env::current_exe().and_then(fs::canonicalize);
    let same = match (me, fs::canonicalize(bin)) {
        (Ok(me), Ok(bin)) => me.parent() == Some(bin.as_path()),
        _ => false,
    };
    if !same {
        return Ok(());
    }
    Err(Failure::usage(format!("--bin-dir: {} is where this program is", bin.display()))
        .with_help("the plugin is called `margay` too, so it needs a directory of its own"))
}

/// The text of the configuration.
fn conflist(args: &InstallCni, options: &Global, bin: &Path) -> Result<String, Failure> {
    let Some(path) = &args.conflist else {
        let portmap = bin.join("portmap").is_file();
        return Ok(usual(args, &options.socket, portmap));
    };
    let text = fs::read_to_string(path).map_err(|error| Failure::reading(path, &error))?;
    if plugins(&text).iter().any(|plugin| is_ours(plugin)) {
        return Ok(text);
    }
    let what = "no list of CNI plugins with one of type margay or calico";
    Err(Failure::usage(format!("{}: {what}", path.display())))
}

/// The usual configuration.
fn usual(args: &InstallCni, socket: &Path, portmap: bool) -> String {
    let has = |family| args.families.contains(&family);
    let mut margay = json!({
        "type": "margay",
        "ipam": {
            "type": "margay-ipam",
            "assign_ipv4": has(Family::Ipv4),
            "assign_ipv6": has(Family::Ipv6),
        },
        // containerd hands them on to whoever says so.
        "capabilities": { "io.kubernetes.cri.pod-annotations": true, "ips": true, "mac": true },
    });
    if socket != Path::new(SOCKET) {
        margay["socket"] = whole(socket);
    }
    if let Some(spool) = &args.spool_dir {
        margay["spool_dir"] = whole(spool);
    }
    if let Some(mtu) = args.mtu {
        margay["mtu"] = mtu.into();
    }
    let mut plugins = vec![margay];
    if portmap {
        plugins.push(json!({
            "type": "portmap",
            "snat": true,
            "capabilities": { "portMappings": true },
        }));
    }
    let list = json!({ "name": args.network, "cniVersion": args.cni_version, "plugins": plugins });
    format!("{list:#}\n")
}

/// The types of the plugins of a configuration; none if it is none.
fn plugins(text: &str) -> Vec<String> {
    let Ok(config) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let types = |plugin: &Value| Some(plugin.get("type")?.as_str()?.to_owned());
    match config.get("plugins").and_then(Value::as_array) {
        Some(plugins) => plugins.iter().filter_map(types).collect(),
        None => types(&config).into_iter().collect(),
    }
}

fn is_ours(plugin: &str) -> bool {
    plugin == NAMES[0] || plugin == CALICOS[0]
}

/// Asks as a runtime would.
async fn wait_until_ready(args: &InstallCni, options: &Global) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs(args.wait);
    loop {
        let Err(failure) = ready(args, options).await else { return Ok(()) };
        if Instant::now() + PAUSE > until {
            return Err(failure);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ready(args: &InstallCni, options: &Global) -> Result<(), Failure> {
    let assign = v1::AssignByUs {
        ipv4: args.families.contains(&Family::Ipv4),
        ipv6: args.families.contains(&Family::Ipv6),
        ..v1::AssignByUs::default()
    };
    let request = v1::WorkloadStatusRequest {
        network: args.network.clone(),
        // Somebody else's configuration may ask for something else.
        assign: args.conflist.is_none().then_some(assign),
    };
    connect(options).await?.workloads().status(request).await?;
    Ok(())
}

/// Configurations that a runtime takes before this one.
fn shadows(folder: &Path, name: &str) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: io::Error| Failure::reading(folder, &error);
    let mut before = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let other = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let looked_at = [".conflist", ".conf", ".json"].iter().any(|end| other.ends_with(end));
        if looked_at && other.as_str() < name {
            before.insert(folder.join(other));
        }
    }
    Ok(before.into_iter().collect())
}

/// A path as the plugin finds it, wherever it is called.
fn whole(path: &Path) -> Value {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.to_string_lossy().into_owned().into()
}

#[cfg(test)]
mod tests;
