//! A row of `margay fib`.

use std::fmt::Write as _;

use margay_proto::v1;
use serde::Serialize;

use crate::{
    output::{
        Row,
        table::{Cell, Column, Tone},
    },
    values,
};

/// A route in the kernel, or one that should be there.
#[derive(Debug, Serialize)]
pub struct FibRoute {
    prefix: String,
    r#type: Option<&'static str>,
    next_hops: Vec<NextHop>,
    metric: u32,
    table: u32,
    protocol: u32,
    in_kernel: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct NextHop {
    address: Option<String>,
    interface: Option<String>,
    weight: u32,
}

impl From<v1::FibRoute> for FibRoute {
    fn from(route: v1::FibRoute) -> Self {
        let next_hops = route.next_hops.iter().map(|hop| NextHop {
            address: hop.address.clone(),
            interface: hop.interface.clone(),
            weight: hop.weight,
        });
        Self {
            r#type: values::named(route.r#type().name()),
            next_hops: next_hops.collect(),
            prefix: route.prefix,
            metric: route.metric,
            table: route.table,
            protocol: route.protocol,
            in_kernel: route.in_kernel,
            error: route.error,
        }
    }
}

impl NextHop {
    /// `10.0.0.2 dev eth0`, with the weight where there are several.
    fn text(&self, weighted: bool) -> String {
        let mut text = match &self.address {
            Some(address) => address.clone(),
            None => "on link".to_owned(),
        };
        // Writing to a string does not fail.
        if let Some(interface) = &self.interface {
            let _ = write!(text, " dev {interface}");
        }
        if weighted {
            let _ = write!(text, " weight {}", self.weight);
        }
        text
    }
}

impl FibRoute {
    /// `10.0.0.2 dev eth0, 10.0.0.6 dev eth1`.
    pub(super) fn via(&self) -> String {
        let weighted = self.next_hops.len() > 1;
        let hops: Vec<_> = self.next_hops.iter().map(|hop| hop.text(weighted)).collect();
        values::list(&hops, ", ")
    }

    /// As one line of an explanation.
    pub(super) fn summary(&self) -> String {
        let via =
            if self.next_hops.is_empty() { String::new() } else { format!(" via {}", self.via()) };
        let Self { metric, table, protocol, .. } = self;
        let kind = self.r#type.unwrap_or("?");
        let state = match (self.in_kernel, &self.error) {
            (true, _) => "in the kernel".to_owned(),
            (false, Some(error)) => format!("NOT in the kernel: {}", super::tame(error)),
            (false, None) => "NOT in the kernel".to_owned(),
        };
        format!("{kind}{via}, metric {metric}, table {table}, protocol {protocol}: {state}")
    }
}

impl Row for FibRoute {
    const COLUMNS: &'static [Column] = &[
        Column::left("PREFIX"),
        Column::left("TYPE"),
        Column::left("KERNEL"),
        Column::right("METRIC"),
        Column::right("TABLE"),
        Column::right("PROTOCOL"),
        Column::left("ERROR").wide(),
        Column::left("NEXT-HOPS"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let (in_kernel, tone) =
            if self.in_kernel { ("yes", Tone::Good) } else { ("no", Tone::Bad) };
        vec![
            Cell::new(self.prefix.clone()),
            Cell::maybe(self.r#type),
            Cell::new(in_kernel).tone(tone),
            Cell::new(self.metric.to_string()),
            Cell::new(self.table.to_string()),
            Cell::new(self.protocol.to_string()),
            Cell::maybe(self.error.as_ref()),
            Cell::new(self.via()),
        ]
    }
}
