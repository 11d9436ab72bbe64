//! Label selectors of Kubernetes, as expressions of ours.

use std::collections::BTreeMap;

use crate::{fault::Step, scalar::names, selector::Expression, wire::At};

choice! {
    /// How a label is compared.
    pub enum LabelSelectorOperator {
        /// It is there with one of the values.
        In = "In",
        /// It is not there with one of the values.
        NotIn = "NotIn",
        /// It is there.
        Exists = "Exists",
        /// It is not there.
        DoesNotExist = "DoesNotExist",
    }
}

record! {
    /// One comparison.
    pub struct LabelSelectorRequirement {
        /// The label.
        key: String = "key",
        /// How it is compared.
        operator: LabelSelectorOperator = "operator",
        /// With what.
        values: Vec<String> = "values",
    }
    check Self::check
}

impl LabelSelectorRequirement {
    fn check(&self, at: &mut At<'_, '_>) {
        if !names::is_label_key(&self.key) {
            at.refuse("key", "a label key");
        }
        let needs_values =
            matches!(self.operator, LabelSelectorOperator::In | LabelSelectorOperator::NotIn);
        if needs_values && self.values.is_empty() {
            at.refuse("values", "at least one value");
        }
        if !needs_values && !self.values.is_empty() {
            at.refuse("values", format!("no values beside {}", self.operator));
        }
        for (index, value) in self.values.iter().enumerate() {
            if !names::is_label_value(value) {
                at.refuse_item("values", index, "a label value");
            }
        }
    }

    fn expression(&self) -> Expression {
        let key = self.key.clone();
        let values = || self.values.iter().cloned().collect();
        match self.operator {
            LabelSelectorOperator::In => Expression::In(key, values()),
            LabelSelectorOperator::NotIn => Expression::NotIn(key, values()),
            LabelSelectorOperator::Exists => Expression::Has(key),
            LabelSelectorOperator::DoesNotExist => Expression::Has(key).negated(),
        }
    }
}

record! {
    /// A selector of labels; an empty one selects everything.
    #[derive(Default)]
    pub struct LabelSelector {
        /// Labels that must have these values.
        match_labels: BTreeMap<String, String> = "matchLabels",
        /// Comparisons that must all hold.
        match_expressions: Vec<LabelSelectorRequirement> = "matchExpressions",
    }
    check |selector, at: &mut At<'_, '_>| {
        for (key, value) in &selector.match_labels {
            let steps = [Step::Key("matchLabels".into()), Step::Key(key.clone())];
            if !names::is_label_key(key) {
                at.refuse_key(&steps, "a label key");
            }
            if !names::is_label_value(value) {
                at.refuse_at(&steps, "a label value");
            }
        }
    }
}

impl LabelSelector {
    /// Its parts: labels by key, then comparisons in order.
    pub(super) fn parts(&self) -> Vec<Expression> {
        let labels = self.match_labels.iter();
        let mut parts: Vec<_> =
            labels.map(|(key, value)| Expression::Equal(key.clone(), value.clone())).collect();
        parts.extend(self.match_expressions.iter().map(LabelSelectorRequirement::expression));
        parts
    }
}
