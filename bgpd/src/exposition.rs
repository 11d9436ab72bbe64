//! The text format of Prometheus.

use std::fmt::{Display, Write};

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many were within each bound.
    Histogram,
}

/// A text being written, one metric after the other.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    out: String,
}

impl Exposition {
    /// Begins a metric; its samples follow.
    pub(crate) fn metric<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Metric<'a> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a String cannot fail; so everywhere here.
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Metric { out: &mut self.out, name }
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        self.out
    }
}

/// A metric being written.
#[derive(Debug)]
pub(crate) struct Metric<'a> {
    out: &'a mut String,
    name: &'a str,
}

impl Metric<'_> {
    /// A sample without labels.
    pub(crate) fn value(&mut self, value: impl Display) {
        self.sample(&[], value);
    }

    /// A histogram: how many were within each bound, how many there were, and their sum.
    pub(crate) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        buckets: impl IntoIterator<Item = (String, u64)>,
        count: u64,
        sum: f64,
    ) {
        let buckets = buckets.into_iter().chain([("+Inf".to_owned(), count)]);
        for (bound, within) in buckets {
            let labels = [labels, &[("le", bound.as_str())]].concat();
            self.suffixed("_bucket", &labels, within);
        }
        self.suffixed("_sum", labels, sum);
        self.suffixed("_count", labels, count);
    }

    /// A sample.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.suffixed("", labels, value);
    }

    fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.out.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.out, "{label}=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

#[cfg(test)]
mod tests;
