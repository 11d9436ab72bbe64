//! How selectors of policies and rules combine with namespaces and service accounts.
//!
//! Endpoints carry the labels of their namespace as `pcns.KEY` and those of their service account
//! as `pcsa.KEY`, so a selector over either is one over prefixed labels.

use crate::{
    kinds::{EntityRule, GlobalNetworkPolicySpec, NetworkPolicySpec},
    kubernetes::{NAMESPACE_LABEL_PREFIX, SERVICE_ACCOUNT_LABEL_PREFIX},
    meta::{NAMESPACE_LABEL, SERVICE_ACCOUNT_LABEL},
};

use super::{Expression, Selector};

/// A selector over labels of a namespace, as one over labels of its endpoints.
pub fn of_namespace(selector: &Expression) -> Expression {
    selector.clone().rename(&|label| format!("{NAMESPACE_LABEL_PREFIX}{label}"))
}

/// A selector over labels of a service account, as one over labels of its endpoints.
pub fn of_service_account(selector: &Expression) -> Expression {
    selector.clone().rename(&|label| format!("{SERVICE_ACCOUNT_LABEL_PREFIX}{label}"))
}

/// The endpoints a `NetworkPolicy` of this namespace applies to.
pub fn network_policy(namespace: &str, spec: &NetworkPolicySpec) -> Expression {
    policy(Some(namespace), spec.selector.as_ref(), None, spec.service_account_selector.as_ref())
}

/// The endpoints a `GlobalNetworkPolicy` applies to.
pub fn global_network_policy(spec: &GlobalNetworkPolicySpec) -> Expression {
    policy(
        None,
        spec.selector.as_ref(),
        spec.namespace_selector.as_ref(),
        spec.service_account_selector.as_ref(),
    )
}

/// The endpoints a policy applies to. A namespace selector makes every `all()` beside it mean
/// "in a namespace", a service account selector "with a service account".
pub fn policy(
    namespace: Option<&str>,
    selector: Option<&Selector>,
    namespace_selector: Option<&Selector>,
    service_account_selector: Option<&Selector>,
) -> Expression {
    let mut result = selector.map(|selector| selector.expression().clone());
    if let Some(namespace) = namespace {
        result = Some(both(result, in_namespace(namespace)));
    }
    if let Some(selector) = namespace_selector {
        let scope = both(result, of_namespace(selector.expression()));
        result = Some(instead_of_all(scope, NAMESPACE_LABEL));
    }
    if let Some(selector) = service_account_selector {
        let scope = both(result, of_service_account(selector.expression()));
        result = Some(instead_of_all(scope, SERVICE_ACCOUNT_LABEL));
    }
    result.unwrap_or(Expression::All)
}

/// The endpoints and network sets one side of a rule is about, in a policy of this namespace or,
/// if `None`, a global one. `None` if it is about any address.
///
/// [`EntityRule::not_selector`] is no part of it: it is matched on its own, as written.
pub fn entity(namespace: Option<&str>, rule: &EntityRule) -> Option<Expression> {
    let mut wanted = Vec::new();
    wanted.extend(rule.selector.as_ref().map(|selector| selector.expression().clone()));
    if let Some(accounts) = &rule.service_accounts {
        if !accounts.names.is_empty() {
            let names = accounts.names.iter().cloned().collect();
            wanted.push(Expression::In(SERVICE_ACCOUNT_LABEL.into(), names));
        }
        let selector = accounts.selector.as_ref();
        wanted.extend(selector.map(|selector| of_service_account(selector.expression())));
    }
    let scope = match (&rule.namespace_selector, namespace) {
        (Some(selector), _) => Some(of_namespace(selector.expression()).map(&|leaf| match leaf {
            Expression::All => Expression::Has(NAMESPACE_LABEL.into()),
            Expression::Global => Expression::Has(NAMESPACE_LABEL.into()).negated(),
            other => other,
        })),
        (None, Some(namespace)) if !wanted.is_empty() || rule.not_selector.is_some() => {
            Some(in_namespace(namespace))
        }
        (None, _) => None,
    };
    if scope.is_none() && wanted.is_empty() {
        return None;
    }
    Some(Expression::and(scope.into_iter().chain(wanted)))
}

fn in_namespace(namespace: &str) -> Expression {
    Expression::Equal(NAMESPACE_LABEL.into(), namespace.into())
}

fn both(first: Option<Expression>, second: Expression) -> Expression {
    Expression::and(first.into_iter().chain([second]))
}

fn instead_of_all(expression: Expression, label: &str) -> Expression {
    expression.map(&|leaf| match leaf {
        Expression::All => Expression::Has(label.into()),
        other => other,
    })
}

#[cfg(test)]
mod tests;
