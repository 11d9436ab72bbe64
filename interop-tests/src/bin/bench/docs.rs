//! `docs/performance.md`: what was measured where, with the marks; the explanations in it are
//! written by hand and kept.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use interop_tests::docs as shared;

use crate::{
    daemon::Kind,
    marks, report,
    results::Results,
    scenario::{SCENARIOS, Scenario},
};

const BEGIN: &str = "<!-- written by hand, kept: begin -->";
const END: &str = "<!-- written by hand, kept: end -->";

/// Writes the document; returns where.
pub fn write(results: &Results, profile: &str) -> Result<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    let folder = file.parent().context("a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let old = fs::read_to_string(&file).unwrap_or_default();
    let mut text = text(results, profile, by_hand(&old));
    let section = shared::later_sections(&old);
    if !section.is_empty() {
        let _ = write!(text, "\n{section}");
    }
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

fn by_hand(old: &str) -> &str {
    let kept = old.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    kept.map_or("\nNothing yet.\n", |(kept, _)| kept)
}

fn text(results: &Results, profile: &str, by_hand: &str) -> String {
    let mut text = format!(
        "# Performance\n\n\
         Made by `cargo xtask bench{} --write-docs`; only the part between the two comments is \
         written by hand.\n\n## Where and what\n\n",
        if profile == "release" { String::new() } else { format!(" --profile {profile}") }
    );
    for line in shared::machine() {
        let _ = writeln!(text, "- {line}");
    }
    if let Some((first, last)) = results.span() {
        let _ =
            writeln!(text, "- measured: {first} to {last}, margay {}", env!("CARGO_PKG_VERSION"));
    }
    for kind in Kind::ALL {
        if let Some(version) = kind.version() {
            let _ = writeln!(text, "- {}: {version}", kind.name());
        }
    }
    text += HOW;
    text += "\n## Marks\n\n| scenario | mark | measured | |\n|---|---|---|---|\n";
    let present: Vec<&Scenario> = SCENARIOS.iter().filter(|s| results.has(s)).collect();
    for scenario in &present {
        for mark in marks::of(scenario, results) {
            let verdict = if mark.met { "met" } else { "**missed**" };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {verdict} |",
                scenario.name, mark.what, mark.measured
            );
        }
    }
    let _ = write!(text, "\n## Notes\n{BEGIN}{by_hand}{END}\n\n## Scenarios\n");
    for scenario in present {
        let _ = write!(text, "\n{}", report::section(scenario, results));
    }
    text
}

const HOW: &str = "
A daemon runs in one network namespace, the load generator plays its peers and monitors from
another, joined by a veth pair. No daemon is asked about itself: times are from the first octet
sent until every counting session holds exactly what an independent reference says (of the paths to
a prefix, one with the shortest AS path; nothing that its export policy rejects), CPU seconds and
memory are those of the daemon's processes in `/proc` (the sum of their VmHWM). Then the attributes
that monitors hold are compared with what the peers sent. Daemons take turns; a figure is the median
of the runs, which may have been made in several calls. Configurations are minimal: accept all,
announce all, but for what the scenario says.
`floor` copies octets without looking: what is measured against it is the generator. `raw` pushes
the same routes into the kernel, 256 to a message, by one next-hop object.

The generator shares the machine's cores with the daemon, and other programs may have been running:
`others' CPU s` is what neither the daemon nor the generator used while the figure was taken. Do not
conclude anything from less than a factor of 1.3, and see the spread of the runs. FRR's times
contain its own timers. In scenario 10 the peer dies by a TCP reset, the kernel is asked where it
would send packets to 2000 prefixes, twice a millisecond; `margay` runs with `nexthop-compat = \"off\"`,
`margay-keep` with the default. In 11 a session with a hold time of 3 s watches the keep-alives.
";
