//! What the log says of prefixes that somebody else holds: each once, and only so many.

use std::collections::BTreeSet;

use ipnet::IpNet;

/// Prefixes that the log names; the figures have all.
const NAMED: usize = 32;

/// The prefixes named so far.
#[derive(Debug, Default)]
pub struct Conflicts {
    named: BTreeSet<IpNet>,
    full: bool,
}

/// What is to be said.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    One(IpNet, u8),
    /// There are more, which are not named.
    More,
}

impl Conflicts {
    /// Logs what is new.
    pub fn log(&mut self, found: Vec<(IpNet, u8)>) {
        for (prefix, protocol) in found {
            match self.line(prefix, protocol) {
                Some(Line::One(prefix, protocol)) => {
                    tracing::warn!(%prefix, protocol, "a route of another protocol with our metric is in the kernel; ours is not installed");
                }
                Some(Line::More) => {
                    tracing::warn!(
                        named = NAMED,
                        "more prefixes are held by other protocols; see `margay fib`"
                    );
                }
                None => {}
            }
        }
    }

    fn line(&mut self, prefix: IpNet, protocol: u8) -> Option<Line> {
        if self.named.contains(&prefix) || self.full {
            return None;
        }
        if self.named.len() == NAMED {
            self.full = true;
            return Some(Line::More);
        }
        self.named.insert(prefix);
        Some(Line::One(prefix, protocol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prefix_is_named_once_and_only_so_many() {
        let mut conflicts = Conflicts::default();
        let prefix = |n: u8| IpNet::new([10, n, 0, 0].into(), 16).expect("a prefix");
        let lines: Vec<_> = (0..40).chain(0..40).map(|n| conflicts.line(prefix(n), 4)).collect();
        assert_eq!(lines[0], Some(Line::One(prefix(0), 4)));
        assert_eq!(lines[NAMED], Some(Line::More));
        assert_eq!(lines.iter().flatten().count(), NAMED + 1);
    }
}
