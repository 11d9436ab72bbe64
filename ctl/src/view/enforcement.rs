//! How network policy stands on a node, as `margay status` says it.

use std::io::{self, Write};

use margay_proto::v1;
use serde::Serialize;

use super::{Labels, tame};
use crate::output::table::{Paint, Tone};

/// Of the policy dataplane of the node.
#[derive(Debug, Default, Serialize)]
pub struct Enforcement {
    /// It answers.
    connected: bool,
    /// Why not.
    cause: Option<String>,
    /// Everything was heard, and the kernel had it once.
    enforcing: bool,
    /// Why it does not hear the node's daemon.
    unheard: Option<String>,
    /// Why the kernel has not what it should.
    trouble: Option<String>,
    guarded: bool,
    endpoints: u64,
    in_force: u64,
    /// Endpoints that are not.
    waiting: Faults,
    refused: Faults,
    rules: Faults,
    broken: Faults,
    ignored: Faults,
}

#[derive(Debug, Default, Serialize)]
struct Faults {
    total: u64,
    first: Vec<String>,
}

impl From<Option<v1::PolicyFaults>> for Faults {
    fn from(faults: Option<v1::PolicyFaults>) -> Self {
        let v1::PolicyFaults { total, first } = faults.unwrap_or_default();
        let text = |v1::PolicyFault { subject, text }| match subject.as_str() {
            "" => text,
            subject => format!("{subject}: {text}"),
        };
        Self { total, first: first.into_iter().map(text).collect() }
    }
}

impl From<v1::PolicyStatusResponse> for Enforcement {
    fn from(status: v1::PolicyStatusResponse) -> Self {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            connected: true,
            cause: None,
            enforcing: status.enforcing,
            unheard: given(status.unheard),
            trouble: given(status.trouble),
            guarded: status.guarded,
            endpoints: status.endpoints,
            in_force: status.in_force,
            waiting: status.waiting.into(),
            refused: status.refused.into(),
            rules: status.rules.into(),
            broken: status.broken.into(),
            ignored: status.ignored.into(),
        }
    }
}

impl Enforcement {
    /// Nobody answers.
    pub fn away(cause: String) -> Self {
        Self { cause: Some(cause), ..Self::default() }
    }

    pub(super) fn text(&self, labels: Labels, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        if let Some(cause) = &self.cause {
            return labels.line(to, "Policy", paint.tone(Tone::Bad, tame(cause)));
        }
        let stands = format!("{} of {} endpoints in force", self.in_force, self.endpoints);
        let (tone, stands) = match self.enforcing {
            false => (Tone::Bad, "not everything has been heard and enforced yet".to_owned()),
            true if self.in_force < self.endpoints => (Tone::Warn, stands),
            true => (Tone::Good, stands),
        };
        labels.line(to, "Policy", paint.tone(tone, stands))?;
        let whole = [
            ("margay-bgpd is not heard", &self.unheard),
            ("the kernel does not take what it should have", &self.trouble),
        ];
        for (what, cause) in whole {
            if let Some(cause) = cause {
                labels.line(to, "", paint.tone(Tone::Bad, tame(&format!("{what}: {cause}"))))?;
            }
        }
        for (what, tone, faults) in [
            ("refused by the kernel, closed meanwhile", Tone::Bad, &self.refused),
            ("not in force", Tone::Warn, &self.waiting),
            ("cannot be read", Tone::Warn, &self.broken),
            ("rule", Tone::Warn, &self.rules),
            ("not followed", Tone::Warn, &self.ignored),
        ] {
            for text in faults.first.iter().take(MOST) {
                labels.line(to, "", paint.tone(tone, tame(&format!("{what}: {text}"))))?;
            }
            let shown = u64::try_from(faults.first.len().min(MOST)).unwrap_or(u64::MAX);
            let more = faults.total.saturating_sub(shown);
            if more > 0 {
                labels.line(to, "", paint.tone(tone, format!("{what}: {more} more")))?;
            }
        }
        Ok(())
    }
}

/// Lines of each kind; `-o json` has some more.
const MOST: usize = 10;
