//! What the benchmarks share of `docs/performance.md`: the machine, the time, and the sections
//! that one writes and the others leave alone.

use std::{fs, process::Command};

/// A section of the document with a table that a benchmark writes.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    heading: &'static str,
    /// What writes it.
    command: &'static str,
}

/// `cargo xtask bench ipam`
pub const IPAM: Section =
    Section { heading: "## IPAM and datastore", command: "cargo xtask bench ipam" };

/// `cargo xtask bench cni`
pub const CNI: Section = Section { heading: "## Pods", command: "cargo xtask bench cni" };

/// `cargo xtask bench policy`
pub const POLICY: Section = Section { heading: "## Policy", command: "cargo xtask bench policy" };

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

/// What other benchmarks than the first wrote: everything from the first of their headings on, which
/// are the last of the document. Empty where there is none.
pub fn later_sections(document: &str) -> &str {
    let headings = [IPAM, CNI, POLICY].map(|section| line_of(document, section.heading));
    let first = headings.into_iter().flatten().min();
    first.and_then(|at| document.get(at..)).unwrap_or_default()
}

/// Where a line begins that is this and nothing else.
fn line_of(document: &str, line: &str) -> Option<usize> {
    let mut at = 0;
    document.split_inclusive('\n').find_map(|found| {
        let begin = at;
        at += found.len();
        (found.trim_end() == line).then_some(begin)
    })
}

impl Section {
    /// The document with another table in this section; what is written around it by hand is kept.
    pub fn with_table(&self, document: &str, table: &str) -> String {
        let Self { heading, command } = self;
        let (begin, end) =
            (format!("<!-- by {command}: begin -->"), format!("<!-- by {command}: end -->"));
        let parts = document.split_once(&begin);
        let parts = parts.and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
        match parts {
            Some((before, after)) => format!("{before}{begin}\n{table}{end}{after}"),
            None => format!("{}\n\n{heading}\n\n{begin}\n{table}{end}\n", document.trim_end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_replaced_and_what_stands_around_it_is_kept() {
        let first = IPAM.with_table("# Performance\n\ntext\n", "| one |\n");
        assert!(first.starts_with("# Performance\n\ntext\n\n## IPAM and datastore\n"), "{first}");
        let first = format!("{first}\nby hand\n");
        let second = IPAM.with_table(&first, "| two |\n");
        assert_eq!(second, first.replace("| one |", "| two |"));
        assert!(later_sections(&second).ends_with("\nby hand\n"));
        let third = CNI.with_table(&second, "| three |\n");
        assert!(third.starts_with(second.trim_end()), "{third}");
        assert_eq!(IPAM.with_table(&third, "| one |\n"), third.replace("| two |", "| one |"));
        assert!(later_sections(&third).starts_with("## IPAM"), "{third}");
        assert_eq!(later_sections("# Performance\n"), "");
    }

    #[test]
    fn a_section_begins_at_a_line_that_is_its_heading_and_no_more() {
        let before = "# Performance\n\n### Pods\n\n## Pods of others\n\nsee ## Pods\n\n";
        assert_eq!(later_sections(before), "");
        for end in ["", "\n", "\r\n", "\n\ntext\n"] {
            let section = format!("## Pods{end}");
            assert_eq!(later_sections(&format!("{before}{section}")), section);
        }
    }
}
