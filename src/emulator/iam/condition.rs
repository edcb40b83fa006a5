//! A condition: an operator, a key, and the values that it is compared with.

use super::facts::Facts;
use super::operator::{Comparison, Operator, Quantifier, Value};

/// One key under one operator.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) operator: Operator,
    pub(super) key: String,
    /// One of them is enough; under a negated operator none may match.
    pub(super) values: Vec<Value>,
}

impl Condition {
    pub(super) fn holds(&self, facts: &Facts) -> bool {
        let Operator { quantifier, comparison, negated, if_exists } = self.operator;
        let found = facts.get(&self.key);
        if comparison == Comparison::Null {
            return self.values.contains(&Value::Bool(found.is_empty()));
        }
        if found.is_empty() {
            return match quantifier {
                Quantifier::All => true,
                Quantifier::Any => if_exists,
                Quantifier::One => if_exists || negated,
            };
        }
        let matches = |value: &String| self.values.iter().any(|wanted| comparison.holds(value, wanted, facts));
        match quantifier {
            Quantifier::One => found.iter().any(matches) != negated,
            Quantifier::All => found.iter().all(|value| matches(value) != negated),
            Quantifier::Any => found.iter().any(|value| matches(value) != negated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(operator: &str, found: &[&str], wanted: &[&str]) -> bool {
        let operator = Operator::parse(operator, "").unwrap();
        let values = wanted.iter().map(|value| operator.comparison.value(value, true, "").unwrap()).collect();
        let facts = Facts::default().with_all("aws:TagKeys", found.iter().map(|value| (*value).to_owned()));
        Condition { operator, key: "AWS:tagkeys".into(), values }.holds(&facts)
    }

    #[test]
    fn several_values_on_either_side() {
        let (ab, a, none) = (&["a", "b"][..], &["a"][..], &[][..]);
        for (operator, found, wanted, yes) in [
            ("StringEquals", a, ab, true),
            ("StringNotEquals", a, ab, false),
            ("ForAllValues:StringEquals", ab, ab, true),
            ("ForAllValues:StringEquals", ab, a, false),
            ("ForAnyValue:StringEquals", ab, a, true),
            ("ForAnyValue:StringNotEquals", ab, a, true),
            ("ForAllValues:StringNotEquals", ab, a, false),
            // a key that is not there
            ("StringEquals", none, a, false),
            ("StringNotEquals", none, a, true),
            ("StringEqualsIfExists", none, a, true),
            ("ForAllValues:StringEquals", none, a, true),
            ("ForAnyValue:StringEquals", none, a, false),
            ("ForAnyValue:StringNotEquals", none, a, false),
        ] {
            assert_eq!(holds(operator, found, wanted), yes, "{operator} {found:?} {wanted:?}");
        }
        assert!(holds("Null", none, &["true"]) && !holds("Null", a, &["true"]));
        assert!(holds("Null", a, &["false"]) && holds("Null", a, &["true", "false"]));
    }
}
