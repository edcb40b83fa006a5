//! The condition operators: how a value of the request is compared with one of the policy.
//!
//! ```text
//!   ForAnyValue : String NotLike IfExists
//!   └ quantifier    │     │ └ what a missing key means
//!                   │     └ negated
//!                   └ the comparison
//! ```

use std::net::IpAddr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::PolicyError;
use super::facts::Facts;
use super::pattern::{Allows, Pattern, same, same_but_for_case};

/// An operator, read from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) quantifier: Quantifier,
    pub(super) comparison: Comparison,
    pub(super) negated: bool,
    pub(super) if_exists: bool,
}

/// Over which of a key's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    /// The one that it has.
    One,
    /// `ForAllValues`: each, and so also none.
    All,
    /// `ForAnyValue`: at least one.
    Any,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    String {
        wildcards: bool,
        case: bool,
    },
    Arn,
    Numeric(Order),
    Date(Order),
    Bool,
    Ip,
    /// Whether the key is there at all.
    Null,
}

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value of a policy, read for its operator.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Pattern(Pattern),
    Number(f64),
    /// Seconds since the epoch.
    Time(f64),
    Bool(bool),
    Network {
        address: IpAddr,
        prefix: u8,
    },
}

impl Operator {
    pub(super) fn parse(name: &str, place: &str) -> Result<Self, PolicyError> {
        let unknown = || PolicyError::value(place, format!("there is no condition operator {name:?}"));
        let (quantifier, rest) = match name.split_once(':') {
            None => (Quantifier::One, name),
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(_) => return Err(unknown()),
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        let string = |wildcards, case| Comparison::String { wildcards, case };
        let (comparison, negated) = match base {
            "StringEquals" => (string(false, true), false),
            "StringNotEquals" => (string(false, true), true),
            "StringEqualsIgnoreCase" => (string(false, false), false),
            "StringNotEqualsIgnoreCase" => (string(false, false), true),
            "StringLike" => (string(true, true), false),
            "StringNotLike" => (string(true, true), true),
            // ArnEquals and ArnLike are the same
            "ArnEquals" | "ArnLike" => (Comparison::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Comparison::Arn, true),
            "NumericEquals" => (Comparison::Numeric(Order::Equal), false),
            "NumericNotEquals" => (Comparison::Numeric(Order::Equal), true),
            "NumericLessThan" => (Comparison::Numeric(Order::Less), false),
            "NumericLessThanEquals" => (Comparison::Numeric(Order::LessOrEqual), false),
            "NumericGreaterThan" => (Comparison::Numeric(Order::Greater), false),
            "NumericGreaterThanEquals" => (Comparison::Numeric(Order::GreaterOrEqual), false),
            "DateEquals" => (Comparison::Date(Order::Equal), false),
            "DateNotEquals" => (Comparison::Date(Order::Equal), true),
            "DateLessThan" => (Comparison::Date(Order::Less), false),
            "DateLessThanEquals" => (Comparison::Date(Order::LessOrEqual), false),
            "DateGreaterThan" => (Comparison::Date(Order::Greater), false),
            "DateGreaterThanEquals" => (Comparison::Date(Order::GreaterOrEqual), false),
            "Bool" => (Comparison::Bool, false),
            "IpAddress" => (Comparison::Ip, false),
            "NotIpAddress" => (Comparison::Ip, true),
            // it is about whether the key exists: neither of the two may stand beside it
            "Null" if !if_exists && quantifier == Quantifier::One => (Comparison::Null, false),
            _ => return Err(unknown()),
        };
        Ok(Self { quantifier, comparison, negated, if_exists })
    }
}

impl Comparison {
    /// Reads a value of the policy.
    pub(super) fn value(self, text: &str, variables: bool, place: &str) -> Result<Value, PolicyError> {
        let wrong = |what: &str| PolicyError::value(place, format!("{text:?} is no {what}"));
        match self {
            Self::String { wildcards, .. } => {
                Pattern::parse(text, Allows { wildcards, variables }, place).map(Value::Pattern)
            }
            Self::Arn => Pattern::parse(text, Allows { wildcards: true, variables }, place).map(Value::Pattern),
            Self::Numeric(_) => number(text).map(Value::Number).ok_or_else(|| wrong("number")),
            Self::Date(_) => date(text).map(Value::Time).ok_or_else(|| wrong("time")),
            Self::Bool | Self::Null => truth(text).map(Value::Bool).ok_or_else(|| wrong("true or false")),
            Self::Ip => network(text).ok_or_else(|| wrong("IP address or range")),
        }
    }

    /// Whether the request's value is one that the policy's stands for. A value that can't be read is none.
    pub(super) fn holds(self, found: &str, wanted: &Value, facts: &Facts) -> bool {
        match (self, wanted) {
            (Self::String { case, .. }, Value::Pattern(pattern)) => pattern
                .resolve(facts)
                .is_some_and(|wanted| wanted.matches(found, if case { same } else { same_but_for_case })),
            (Self::Arn, Value::Pattern(pattern)) => {
                pattern.resolve(facts).is_some_and(|wanted| wanted.matches_arn(found))
            }
            (Self::Numeric(order), Value::Number(wanted)) => {
                number(found).is_some_and(|found| order.holds(found, *wanted))
            }
            (Self::Date(order), Value::Time(wanted)) => date(found).is_some_and(|found| order.holds(found, *wanted)),
            (Self::Bool, Value::Bool(wanted)) => truth(found) == Some(*wanted),
            (Self::Ip, Value::Network { address, prefix }) => {
                found.parse().is_ok_and(|found| within(found, *address, *prefix))
            }
            _ => false,
        }
    }
}

impl Order {
    fn holds(self, found: f64, wanted: f64) -> bool {
        match self {
            Self::Equal => found.total_cmp(&wanted).is_eq(),
            Self::Less => found < wanted,
            Self::LessOrEqual => found <= wanted,
            Self::Greater => found > wanted,
            Self::GreaterOrEqual => found >= wanted,
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(|number| number + 0.0)
}

/// A time by the clock, a day, or seconds since the epoch.
fn date(text: &str) -> Option<f64> {
    if let Some(seconds) = number(text) {
        return Some(seconds);
    }
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let time = OffsetDateTime::parse(&whole, &Rfc3339).ok()?;
    #[allow(clippy::cast_precision_loss, reason = "microseconds of our time are far below 2^53")]
    let micros = (time.unix_timestamp_nanos() / 1000) as f64;
    Some(micros / 1e6)
}

fn truth(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn network(text: &str) -> Option<Value> {
    let (address, prefix) = match text.split_once('/') {
        None => (text.parse::<IpAddr>().ok()?, None),
        Some((address, prefix)) => (address.parse::<IpAddr>().ok()?, Some(prefix.parse::<u8>().ok()?)),
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.unwrap_or(most);
    (prefix <= most).then_some(Value::Network { address, prefix })
}

fn within(found: IpAddr, address: IpAddr, prefix: u8) -> bool {
    let (found, address, width) = match (found, address) {
        (IpAddr::V4(found), IpAddr::V4(address)) => (u128::from(u32::from(found)), u128::from(u32::from(address)), 32),
        (IpAddr::V6(found), IpAddr::V6(address)) => (u128::from(found), u128::from(address), 128),
        _ => return false,
    };
    // a shift by the whole width would overflow: nothing is compared then
    let rest = u32::from(width - prefix);
    found.checked_shr(rest) == address.checked_shr(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(name: &str, found: &str, wanted: &str) -> bool {
        let operator = Operator::parse(name, "here").unwrap();
        let value = operator.comparison.value(wanted, true, "here").unwrap();
        operator.comparison.holds(found, &value, &Facts::default()) != operator.negated
    }

    #[test]
    fn each_comparison() {
        for (name, found, wanted, yes) in [
            ("StringEquals", "a", "a", true),
            ("StringEquals", "a*", "a*", true),
            ("StringEquals", "ab", "a*", false),
            ("StringNotEquals", "A", "a", true),
            ("StringEqualsIgnoreCase", "A", "a", true),
            ("StringLike", "ab", "a*", true),
            ("StringNotLike", "ab", "a*", false),
            ("ArnLike", "arn:aws:iam::1:role/x", "arn:aws:iam::*:role/*", true),
            ("ArnNotEquals", "arn:aws:iam::1:role/x", "arn:aws:iam::1:role/x", false),
            ("NumericLessThanEquals", "3", "3.0", true),
            ("NumericEquals", "-0", "0", true),
            ("NumericGreaterThan", "3", "3", false),
            ("NumericGreaterThan", "many", "3", false),
            ("DateLessThan", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", true),
            ("DateGreaterThanEquals", "2026-01-02T00:00:00.5Z", "2026-01-02", true),
            ("DateEquals", "1767225600", "2026-01-01T01:00:00+01:00", true),
            ("Bool", "TRUE", "true", true),
            ("Bool", "yes", "true", false),
            ("IpAddress", "10.1.2.3", "10.0.0.0/8", true),
            ("IpAddress", "10.1.2.3", "0.0.0.0/0", true),
            ("IpAddress", "::1", "0.0.0.0/0", false),
            ("IpAddress", "2001:db8::1", "::/0", true),
            ("NotIpAddress", "10.1.2.3", "10.1.2.3", false),
        ] {
            assert_eq!(holds(name, found, wanted), yes, "{name} {found} {wanted}");
        }
    }

    #[test]
    fn what_is_no_operator_or_no_value_is_refused() {
        for name in ["StringEqual", "stringequals", "NullIfExists", "ForAnyValue:Null", "ForSome:StringLike", ""] {
            assert!(Operator::parse(name, "here").is_err(), "{name}");
        }
        for (name, value) in [
            ("NumericEquals", "x"),
            ("NumericEquals", "inf"),
            ("DateEquals", "yesterday"),
            ("Bool", "1"),
            ("IpAddress", "10.0.0.0/33"),
            ("IpAddress", "10.0.0"),
        ] {
            assert!(Operator::parse(name, "").unwrap().comparison.value(value, true, "").is_err(), "{name} {value}");
        }
    }
}
