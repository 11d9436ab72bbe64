//! What the benchmarks share of `docs/performance.md`: the machine, the time, and the section that
//! one writes and the other leaves alone.

use std::{fs, process::Command};

const HEADING: &str = "## IPAM and datastore";
const BEGIN: &str = "<!-- by cargo xtask bench ipam: begin -->";
const END: &str = "<!-- by cargo xtask bench ipam: end -->";

/// Processor, memory and kernel, a line each.
pub fn machine() -> Vec<String> {
    let field = |file: &str, key: &str| -> Option<String> {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".into());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        format!("processor: {model}, {cores} cores"),
        format!("memory: {memory}"),
        format!("kernel: Linux {}", kernel.trim()),
    ]
}

/// The time, in UTC.
pub fn now() -> String {
    let output = Command::new("date").args(["-u", "+%FT%TZ"]).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// The section about addresses and the datastore, from its heading on: the last one of the
/// document. Empty where there is none.
pub fn ipam_section(document: &str) -> &str {
    document.find(HEADING).and_then(|at| document.get(at..)).unwrap_or_default()
}

/// The document with another table in that section; what is written around it by hand is kept.
pub fn with_ipam_table(document: &str, table: &str) -> String {
    let parts = document.split_once(BEGIN);
    let parts = parts.and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    match parts {
        Some((before, after)) => format!("{before}{BEGIN}\n{table}{END}{after}"),
        None => format!("{}\n\n{HEADING}\n\n{BEGIN}\n{table}{END}\n", document.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_replaced_and_what_stands_around_it_is_kept() {
        let first = with_ipam_table("# Performance\n\ntext\n", "| one |\n");
        assert!(first.starts_with("# Performance\n\ntext\n\n## IPAM and datastore\n"), "{first}");
        let first = format!("{first}\nby hand\n");
        let second = with_ipam_table(&first, "| two |\n");
        assert_eq!(second, first.replace("| one |", "| two |"));
        assert!(ipam_section(&second).ends_with("\nby hand\n"));
        assert_eq!(ipam_section("# Performance\n"), "");
    }
}
