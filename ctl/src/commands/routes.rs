//! `margay routes`.

use margay_proto::v1;

use super::connect;
use crate::{
    cli::{Destination, Global, RoutesArgs, RoutesCommand},
    error::Failure,
    output::Out,
    view::{Done, Explanation, Route},
};

/// Lists routes, adds or withdraws one of ours, or explains one.
pub async fn run(args: RoutesArgs, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    match args.command {
        None => list(args, options, out).await,
        Some(RoutesCommand::Add { prefix, next_hop, communities }) => {
            let mut routing = connect(options).await?.routing();
            let prefix = prefix.0.to_string();
            let next_hop = next_hop.map(|address| address.to_string());
            let request = v1::AddRouteRequest { prefix: prefix.clone(), next_hop, communities };
            routing.add_route(request).await?;
            Ok(out.sheet(&Done::prefix(prefix, "added"))?)
        }
        Some(RoutesCommand::Withdraw { prefix }) => {
            let mut routing = connect(options).await?.routing();
            let prefix = prefix.0.to_string();
            routing.withdraw_route(v1::WithdrawRouteRequest { prefix: prefix.clone() }).await?;
            Ok(out.sheet(&Done::prefix(prefix, "withdrawn"))?)
        }
        Some(RoutesCommand::Explain { destination, to }) => {
            use v1::explain_route_request::Destination as Asked;
            let mut routing = connect(options).await?.routing();
            let destination = Some(match destination {
                Destination::Prefix(prefix) => Asked::Prefix(prefix.to_string()),
                Destination::Address(address) => Asked::Address(address.to_string()),
            });
            let request = v1::ExplainRouteRequest { destination, to };
            let answer = routing.explain_route(request).await?.into_inner();
            Ok(out.sheet(&Explanation::from(answer))?)
        }
    }
}

async fn list(args: RoutesArgs, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    use v1::list_routes_request::Destination as Asked;
    if args.longer && matches!(args.destination, Some(Destination::Address(_))) {
        return Err(Failure::usage("--longer needs a prefix, not an address")
            .with_help("an address finds the longest prefix that covers it"));
    }
    let destination = args.destination.map(|destination| match destination {
        Destination::Prefix(prefix) => Asked::Prefix(prefix.to_string()),
        Destination::Address(address) => Asked::Address(address.to_string()),
    });
    let request = v1::ListRoutesRequest {
        destination,
        longer: args.longer,
        family: args.family.map_or(v1::Family::Unspecified, v1::Family::from).into(),
        received_from: args.received_from,
        pre_policy: args.pre_policy,
        advertised_to: args.advertised_to,
        best: args.best,
        limit: args.limit.unwrap_or(0),
    };
    let mut routing = connect(options).await?.routing();
    let mut stream = routing.list_routes(request).await?.into_inner();
    // An unknown peer is told before the array is opened.
    let mut batch = stream.message().await?;
    let mut rows = out.rows::<Route>();
    while let Some(routes) = batch {
        for route in routes.routes {
            rows.push(&Route::from(route))?;
        }
        batch = stream.message().await?;
    }
    Ok(rows.finish()?)
}
