//! Limits of a pod's traffic, as its annotations ask for them.

use std::collections::BTreeMap;

use margay_model::kinds::QosControls;
use serde::{Deserialize, Serialize};

/// What is limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Qos {
    /// Towards the pod.
    #[serde(skip_serializing_if = "is_none")]
    pub ingress: Limits,
    /// From the pod.
    #[serde(skip_serializing_if = "is_none")]
    pub egress: Limits,
    /// The code point of its packets, in words or as a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dscp: Option<String>,
}

/// Limits in a direction. Those that say nothing without another are there only with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// bit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<i64>,
    /// Bits at once; with a bandwidth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<i64>,
    /// bit/s of a burst, more than the bandwidth; with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peakrate: Option<i64>,
    /// Octets at once at the peak rate; with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minburst: Option<i64>,
    /// packets/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_rate: Option<i64>,
    /// Packets at once; with a packet rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_burst: Option<i64>,
    /// Connections at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
}

/// An annotation that is not heeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its name.
    pub annotation: String,
    /// Why.
    pub why: String,
}

impl Qos {
    /// What the annotations ask for; none of them is an error, what cannot be read is left out and
    /// named.
    pub fn of(annotations: &BTreeMap<String, String>) -> (Self, Vec<Ignored>) {
        let mut reader = Reader { annotations, ignored: Vec::new() };
        let (ingress, egress) = (reader.direction("ingress"), reader.direction("egress"));
        let dscp = format!("{PREFIX}dscp");
        let dscp =
            annotations.get(&dscp).and_then(|text| match text.parse::<margay_model::Dscp>() {
                Ok(_) => Some(text.clone()),
                Err(error) => {
                    reader.ignore(dscp, error.to_string());
                    None
                }
            });
        (Self { ingress, egress, dscp }, reader.ignored)
    }

    /// Whether it says nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// As a WorkloadEndpoint says it; `None` where there is nothing to say.
    pub fn controls(&self) -> Option<QosControls> {
        let (ingress, egress) = (&self.ingress, &self.egress);
        (!self.is_none()).then(|| QosControls {
            ingress_bandwidth: ingress.bandwidth,
            egress_bandwidth: egress.bandwidth,
            ingress_burst: ingress.burst,
            egress_burst: egress.burst,
            ingress_peakrate: ingress.peakrate,
            egress_peakrate: egress.peakrate,
            ingress_minburst: ingress.minburst,
            egress_minburst: egress.minburst,
            ingress_packet_rate: ingress.packet_rate,
            egress_packet_rate: egress.packet_rate,
            ingress_packet_burst: ingress.packet_burst,
            egress_packet_burst: egress.packet_burst,
            ingress_max_connections: ingress.max_connections,
            egress_max_connections: egress.max_connections,
            dscp: self.dscp.as_deref().and_then(|text| text.parse().ok()),
        })
    }
}

/// For serde.
fn is_none(limits: &Limits) -> bool {
    *limits == Limits::default()
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    ignored: Vec<Ignored>,
}

impl Reader<'_> {
    fn direction(&mut self, direction: &str) -> Limits {
        let own = |what: &str| format!("{PREFIX}{direction}{what}");
        let bandwidth = self.number(own("Bandwidth"), RATES);
        let bandwidth =
            bandwidth.or_else(|| self.number(format!("{KUBERNETES}{direction}-bandwidth"), RATES));
        let burst = self.number(own("Burst"), BURSTS);
        let burst = self.only_with(bandwidth, "Bandwidth", own("Burst"), burst);
        let peakrate = self.number(own("Peakrate"), PEAKS);
        let mut peakrate = self.only_with(bandwidth, "Bandwidth", own("Peakrate"), peakrate);
        // In octets, as the kernel counts.
        if peakrate.is_some_and(|peak| bandwidth.is_some_and(|rate| peak / 8 <= rate / 8)) {
            self.ignore(own("Peakrate"), "it is not more than the bandwidth".to_owned());
            peakrate = None;
        }
        let minburst = self.number(own("Minburst"), MINBURSTS);
        let minburst = self.only_with(peakrate, "Peakrate", own("Minburst"), minburst);
        let packet_rate = self.number(own("PacketRate"), PACKETS);
        let packet_burst = self.number(own("PacketBurst"), PACKETS);
        let packet_burst =
            self.only_with(packet_rate, "PacketRate", own("PacketBurst"), packet_burst);
        Limits {
            bandwidth,
            burst: burst.or(bandwidth.map(|_| BURST)),
            peakrate,
            minburst,
            packet_rate,
            packet_burst: packet_burst.or(packet_rate.map(|_| PACKET_BURST)),
            max_connections: self.number(own("MaxConnections"), CONNECTIONS),
        }
    }

    /// What says nothing without another.
    fn only_with(
        &mut self,
        other: Option<i64>,
        name: &str,
        annotation: String,
        value: Option<i64>,
    ) -> Option<i64> {
        if value.is_some() && other.is_none() {
            self.ignore(annotation, format!("there is no {name} in this direction"));
            return None;
        }
        value
    }

    fn number(&mut self, annotation: String, (least, most): (i64, i64)) -> Option<i64> {
        let text = self.annotations.get(&annotation)?;
        let value = quantity(text).filter(|value| (least..=most).contains(value));
        if value.is_none() {
            let why = format!("{text:?} is no quantity from {least} to {most}");
            self.ignore(annotation, why);
        }
        value
    }

    fn ignore(&mut self, annotation: String, why: String) {
        self.ignored.push(Ignored { annotation, why });
    }
}

/// A quantity as Kubernetes writes it, `10M`, `1.5Gi`, `2e6`, rounded up to a whole number.
fn quantity(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') || number.len() > LONGEST {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (above, below) = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    };
    let places = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let value = digits.checked_mul(above)?.div_ceil(places.checked_mul(below)?);
    i64::try_from(value).ok()
}

/// With what Calico's annotations begin.
const PREFIX: &str = "qos.projectcalico.org/";
/// With what those of Kubernetes begin, which count where Calico's are not.
const KUBERNETES: &str = "kubernetes.io/";
/// What is allowed, from least to most: bit/s.
const RATES: (i64, i64) = (1_000, 1_000_000_000_000_000);
/// Bits.
const BURSTS: (i64, i64) = (1_000, 34_359_738_360);
/// bit/s.
const PEAKS: (i64, i64) = (1_010, 1_010_000_000_000_000);
/// Octets.
const MINBURSTS: (i64, i64) = (1_000, 100_000_000);
/// packets/s and packets.
const PACKETS: (i64, i64) = (1, 10_000);
const CONNECTIONS: (i64, i64) = (1, 4_294_967_295);
/// Bits at once where nobody says.
const BURST: i64 = 4 << 30;
/// Packets at once where nobody says.
const PACKET_BURST: i64 = 5;
/// Characters of a number.
const LONGEST: usize = 30;

#[cfg(test)]
mod tests;
