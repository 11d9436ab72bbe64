//! What `margay ipam` prints: tables with Calico's headings, JSON as the contract has it.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use margay_proto::v1;
use serde::Serialize;

use crate::{
    commands::ipam::report,
    output::{
        Row, Sheet,
        table::{Cell, Column, Paint, Tone},
    },
};

/// An address that was assigned.
#[derive(Debug, Serialize)]
pub struct Assigned {
    address: String,
    block: String,
    pool: String,
    handle: String,
    node: String,
}

impl From<v1::AssignedAddress> for Assigned {
    fn from(one: v1::AssignedAddress) -> Self {
        let v1::AssignedAddress { address, block, pool, handle, node } = one;
        Self { address, block, pool, handle, node }
    }
}

impl Row for Assigned {
    const COLUMNS: &'static [Column] = &[
        Column::left("ADDRESS"),
        Column::left("BLOCK"),
        Column::left("POOL"),
        Column::left("NODE"),
        Column::left("HANDLE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let texts = [&self.address, &self.block, &self.pool, &self.node, &self.handle];
        texts.into_iter().map(|text| Cell::new(text.clone())).collect()
    }
}

/// How full a pool or a block is.
#[derive(Debug, Serialize)]
pub struct Use {
    cidr: String,
    pool: Option<String>,
    node: Option<String>,
    state: String,
    total: u128,
    in_use: u128,
    reserved: u128,
    free: u128,
    #[serde(skip)]
    cooling: u128,
    #[serde(skip)]
    block: bool,
}

impl From<v1::IpamRow> for Use {
    fn from(row: v1::IpamRow) -> Self {
        // A daemon that sends something else is not ours; 0 shows that nothing is known.
        let count = |text: &str| text.parse().unwrap_or_default();
        Self {
            total: count(&row.total),
            in_use: count(&row.in_use),
            reserved: count(&row.reserved),
            free: count(&row.free),
            cooling: count(&row.cooling),
            cidr: row.cidr,
            pool: row.pool,
            node: row.node,
            state: row.state,
            block: row.block,
        }
    }
}

impl Row for Use {
    const COLUMNS: &'static [Column] = &[
        Column::left("GROUPING"),
        Column::left("CIDR"),
        Column::right("IPS TOTAL"),
        Column::right("IPS IN USE"),
        Column::right("IPS RESERVED"),
        Column::right("IPS FREE"),
        Column::right("IPS COOLING").wide(),
        Column::left("POOL").wide(),
        Column::left("NODE"),
        Column::left("STATE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let part = |count| format!("{} ({})", short(count), percent(count, self.total));
        let tone = match self.state.as_str() {
            "active" | "confirmed" => Tone::Good,
            "overlapping" | "unreadable" => Tone::Bad,
            _ => Tone::Warn,
        };
        vec![
            Cell::new(if self.block { "Block" } else { "IP Pool" }),
            Cell::new(self.cidr.clone()),
            Cell::new(short(self.total)),
            Cell::new(part(self.in_use)),
            Cell::new(part(self.reserved)),
            Cell::new(part(self.free)),
            Cell::new(part(self.cooling)),
            Cell::maybe(self.pool.as_ref()),
            Cell::maybe(self.node.as_ref()),
            Cell::new(self.state.clone()).tone(tone),
        ]
    }
}

/// Five significant digits, as Calico prints them: `65536`, `4.1943e+06`.
fn short(count: u128) -> String {
    if count < 100_000 {
        return count.to_string();
    }
    let (mut digits, mut exponent) = (count, 0_u32);
    while digits >= 100_000 {
        let rounded = if digits >= 1_000_000 { digits / 10 } else { (digits + 5) / 10 };
        digits = rounded;
        exponent += 1;
    }
    let text = digits.to_string();
    let (first, rest) = text.split_at(1);
    let rest = rest.trim_end_matches('0');
    let point = if rest.is_empty() { "" } else { "." };
    format!("{first}{point}{rest}e+{:02}", exponent + 4)
}

/// Whole percents.
fn percent(count: u128, total: u128) -> String {
    let whole = match total {
        0 => 0,
        _ if total > u128::MAX / 200 => count / (total / 100),
        _ => (count * 200 + total) / (total * 2),
    };
    format!("{whole}%")
}

/// An address used on another node than that of its block.
#[derive(Debug, Serialize)]
pub struct Borrowed {
    address: String,
    node: String,
    block: String,
    owner: Option<String>,
    r#type: String,
    allocated_to: String,
}

impl From<v1::BorrowedAddress> for Borrowed {
    fn from(one: v1::BorrowedAddress) -> Self {
        let v1::BorrowedAddress { address, node, block, owner, r#type, allocated_to } = one;
        Self { address, node, block, owner, r#type, allocated_to }
    }
}

impl Row for Borrowed {
    const COLUMNS: &'static [Column] = &[
        Column::left("IP"),
        Column::left("BORROWING-NODE"),
        Column::left("BLOCK"),
        Column::left("BLOCK OWNER"),
        Column::left("TYPE"),
        Column::left("ALLOCATED-TO"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.address.clone()),
            Cell::new(self.node.clone()),
            Cell::new(self.block.clone()),
            Cell::maybe(self.owner.as_ref()),
            Cell::new(self.r#type.clone()),
            Cell::new(self.allocated_to.clone()),
        ]
    }
}

/// Settings of IPAM.
#[derive(Debug, Serialize)]
pub struct Settings {
    strict_affinity: bool,
    auto_allocate_blocks: bool,
    max_blocks_per_host: u32,
    ip_cooldown_seconds: u32,
}

impl From<v1::IpamSettings> for Settings {
    fn from(settings: v1::IpamSettings) -> Self {
        Self {
            strict_affinity: settings.strict_affinity,
            auto_allocate_blocks: settings.auto_allocate_blocks,
            max_blocks_per_host: settings.max_blocks_per_host,
            ip_cooldown_seconds: settings.ip_cooldown_seconds,
        }
    }
}

impl Settings {
    /// A line of the table for each, as Calico names them.
    pub fn rows(&self) -> Vec<Setting> {
        let row = |property, value: String| Setting { property, value };
        vec![
            row("StrictAffinity", self.strict_affinity.to_string()),
            row("AutoAllocateBlocks", self.auto_allocate_blocks.to_string()),
            row("MaxBlocksPerHost", self.max_blocks_per_host.to_string()),
            row("IPCooldownSeconds", self.ip_cooldown_seconds.to_string()),
        ]
    }
}

impl Sheet for Settings {
    fn text(&self, _wide: bool, _paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        self.rows().iter().try_for_each(|row| writeln!(to, "{}: {}", row.property, row.value))
    }
}

/// A line of the table of settings.
#[derive(Debug, Serialize)]
pub struct Setting {
    property: &'static str,
    value: String,
}

impl Row for Setting {
    const COLUMNS: &'static [Column] = &[Column::left("PROPERTY"), Column::left("VALUE")];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::new(self.property), Cell::new(self.value.clone())]
    }
}

/// What an address is doing.
#[derive(Debug, Serialize)]
pub struct Address {
    address: String,
    state: String,
    block: Option<String>,
    pool: Option<String>,
    node: Option<String>,
    handle: Option<String>,
    attributes: BTreeMap<String, String>,
    since: Option<u64>,
}

impl From<v1::ShowAddressResponse> for Address {
    fn from(one: v1::ShowAddressResponse) -> Self {
        let v1::ShowAddressResponse { address, state, block, pool, node, .. } = one;
        let (handle, since) = (one.handle, one.since);
        let attributes = one.attributes.into_iter().collect();
        Self { address, state, block, pool, node, handle, attributes, since }
    }
}

impl Sheet for Address {
    fn text(&self, _wide: bool, _paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let address = &self.address;
        match (self.state.as_str(), &self.block) {
            ("in-use", _) => writeln!(to, "IP {address} is in use")?,
            ("cooling", _) => writeln!(to, "{address} is not assigned; it was released and waits")?,
            ("unreadable", Some(block)) => writeln!(to, "block {block} of {address} is damaged")?,
            _ if self.pool.is_none() => writeln!(to, "{address} is not assigned and in no pool")?,
            _ => writeln!(to, "{address} is not assigned")?,
        }
        let lines = [
            ("Handle ID", &self.handle),
            ("Node", &self.node),
            ("Block", &self.block),
            ("Pool", &self.pool),
        ];
        for (name, value) in lines {
            if let Some(value) = value {
                writeln!(to, "{name}: {value}")?;
            }
        }
        if !self.attributes.is_empty() {
            writeln!(to, "Active Owner Attributes:")?;
        }
        self.attributes.iter().try_for_each(|(name, value)| writeln!(to, "  {name}: {value}"))
    }
}

/// What a check found.
#[derive(Debug, Serialize)]
pub struct Check {
    problems: Vec<Problem>,
    /// What was in the way of mending.
    failures: Vec<String>,
    /// Where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<Held>>,
}

/// Which addresses a check shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// None of them.
    None,
    /// Those that look leaked.
    Leaked,
    /// Every one that is held.
    All,
}

/// An address that somebody has.
#[derive(Debug, Serialize)]
struct Held {
    address: String,
    block: String,
    handle: String,
    node: String,
    leaked: Option<String>,
}

#[derive(Debug, Serialize)]
struct Problem {
    kind: String,
    address: Option<String>,
    block: Option<String>,
    detail: String,
    fixed: bool,
    by_hand: Option<String>,
}

impl Check {
    /// With these of the addresses.
    pub fn of(answer: v1::CheckIpamResponse, shown: Shown) -> Self {
        let problem = |problem| {
            let v1::IpamProblem { kind, address, block, detail, fixed, by_hand } = problem;
            Problem { kind, address, block, detail, fixed, by_hand }
        };
        let problems = answer.problems.into_iter().map(problem).collect();
        let held = |held| {
            let v1::HeldAddress { address, block, handle, node, leaked, .. } = held;
            Held { address, block, handle, node, leaked }
        };
        let wanted = |held: &v1::HeldAddress| shown == Shown::All || held.leaked.is_some();
        let addresses = (shown != Shown::None)
            .then(|| answer.addresses.into_iter().filter(wanted).map(held).collect());
        Self { problems, failures: answer.failures, addresses }
    }

    /// Whether nothing is wrong any more.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.problems.iter().all(|problem| problem.fixed)
    }
}

impl Sheet for Check {
    fn text(&self, _wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        for held in self.addresses.iter().flatten() {
            let state = match held.leaked {
                None => "in use".into(),
                Some(_) => paint.tone(Tone::Bad, "leaked".to_owned()),
            };
            writeln!(to, "{} {state}, held by {} on {}", held.address, held.handle, held.node)?;
        }
        for problem in &self.problems {
            let place = problem.address.as_ref().or(problem.block.as_ref());
            let place = place.map(|place| format!(" {place}")).unwrap_or_default();
            let (word, tone) =
                if problem.fixed { ("fixed: ", Tone::Good) } else { ("", Tone::Bad) };
            let kind = paint.tone(tone, problem.kind.clone());
            writeln!(to, "{word}{kind}{place}: {}", problem.detail)?;
            if let Some(remedy) = &problem.by_hand {
                writeln!(to, "  {remedy}")?;
            }
        }
        let fixed = self.problems.iter().filter(|problem| problem.fixed).count();
        let left = self.problems.len() - fixed;
        if fixed > 0 {
            writeln!(to, "Fixed {fixed}.")?;
        }
        for failure in &self.failures {
            writeln!(to, "{}{failure}", paint.tone(Tone::Bad, "not fixed: ".to_owned()))?;
        }
        writeln!(to, "Check complete; found {left} problems.")
    }
}

/// What a release came to.
#[derive(Debug, Serialize)]
pub struct Released {
    released: Vec<String>,
    not_assigned: Vec<String>,
}

impl From<v1::ReleaseAddressesResponse> for Released {
    fn from(answer: v1::ReleaseAddressesResponse) -> Self {
        Self { released: answer.released, not_assigned: answer.absent }
    }
}

impl Sheet for Released {
    fn text(&self, _wide: bool, _paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        for address in &self.released {
            writeln!(to, "Successfully released IP address {address}")?;
        }
        for address in &self.not_assigned {
            writeln!(to, "{address} is not assigned")?;
        }
        if self.released.is_empty() && self.not_assigned.is_empty() {
            writeln!(to, "nothing is assigned to it")?;
        }
        Ok(())
    }
}

/// What a release by reports came to.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct ByReport(pub report::Outcome);

impl Sheet for ByReport {
    fn text(&self, _wide: bool, _paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let report::Outcome { released, not_assigned, changed } = &self.0;
        for address in released {
            writeln!(to, "Successfully released IP address {address}")?;
        }
        for address in not_assigned {
            writeln!(to, "{address} is not assigned")?;
        }
        for address in changed {
            writeln!(to, "{address} was assigned anew since and stays")?;
        }
        writeln!(to, "Released {} addresses.", released.len())
    }
}

/// A pool that a split made.
#[derive(Debug, Serialize)]
pub struct Split {
    name: String,
    cidr: String,
}

impl From<v1::SplitPart> for Split {
    fn from(part: v1::SplitPart) -> Self {
        Self { name: part.name, cidr: part.cidr }
    }
}

impl Row for Split {
    const COLUMNS: &'static [Column] = &[Column::left("NAME"), Column::left("CIDR")];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::new(self.name.clone()), Cell::new(self.cidr.clone())]
    }
}

#[cfg(test)]
mod tests;
