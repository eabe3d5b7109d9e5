//! When nodes are the same (6.1): equal, equivalent, member of a list, distinct.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value as Json;

use super::Fault;
use super::evaluate::Env;
use super::moment::Unit;
use super::parser::Span;
use super::value::{Atom, Item, Node, Nodes, QuantityUnit};
use crate::fhir::decimal::Decimal;

pub(super) fn all_equal<'r>(
    left: &Nodes<'r>,
    right: &Nodes<'r>,
    span: &Span,
    env: &Env<'_, 'r>,
) -> Result<Option<bool>, Fault> {
    if left.is_empty() || right.is_empty() {
        return Ok(None);
    }
    if left.len() != right.len() {
        return Ok(Some(false));
    }
    let mut result = Some(true);
    for (left, right) in left.iter().zip(right) {
        match equal(left, right, span, env)? {
            Some(true) => {}
            Some(false) => return Ok(Some(false)),
            None => result = None,
        }
    }
    Ok(result)
}

/// `=` of two nodes. `None`: it depends on what is not known.
pub(super) fn equal<'r>(
    left: &Node<'r>,
    right: &Node<'r>,
    span: &Span,
    env: &Env<'_, 'r>,
) -> Result<Option<bool>, Fault> {
    env.spend(1, span)?;
    if let (Item::Data(left), Item::Data(right)) = (&left.0, &right.0)
        && left.atom().is_none()
        && right.atom().is_none()
    {
        return Ok(match (left.value, right.value) {
            (Some(left), Some(right)) => Some(same_json(left, right, span, env)?),
            (None, None) => Some(left.sibling == right.sibling),
            _ => Some(false),
        });
    }
    let (Some(left), Some(right)) = (left.atom(), right.atom()) else {
        // A primitive with extensions alone, or a value that its type does not allow, says nothing.
        let is_unread = |node: &Node<'r>| node.atom().is_none() && !node.json().is_some_and(Json::is_object);
        return Ok(if is_unread(left) || is_unread(right) { None } else { Some(false) });
    };
    Ok(equal_atoms(&left, &right))
}

fn equal_atoms(left: &Atom<'_>, right: &Atom<'_>) -> Option<bool> {
    match (left, right) {
        (Atom::Boolean(left), Atom::Boolean(right)) => Some(left == right),
        (Atom::String(left), Atom::String(right)) => Some(left == right),
        (Atom::Date(left) | Atom::DateTime(left), Atom::Date(right) | Atom::DateTime(right))
        | (Atom::Time(left), Atom::Time(right)) => left.compare(*right).map(Ordering::is_eq),
        (Atom::Quantity(..), _) | (_, Atom::Quantity(..)) => match (quantity(left), quantity(right)) {
            (Some(left), Some(right)) => quantities(&left, &right).map(Ordering::is_eq),
            _ => Some(false),
        },
        _ => match (left.decimal(), right.decimal()) {
            (Some(left), Some(right)) => Some(left == right),
            _ => Some(false),
        },
    }
}

pub(super) type Amount<'a> = (Decimal, Cow<'a, QuantityUnit<'a>>);

/// A number is a quantity of unit 1.
pub(super) fn quantity<'a>(atom: &'a Atom<'a>) -> Option<Amount<'a>> {
    match atom {
        Atom::Quantity(number, unit) => Some((*number, Cow::Borrowed(unit))),
        atom => Some((atom.decimal()?, Cow::Owned(QuantityUnit::Code(Cow::Borrowed("1"))))),
    }
}

/// `None` where units differ: they are not converted, but for the calendar's own.
pub(super) fn quantities(left: &Amount<'_>, right: &Amount<'_>) -> Option<Ordering> {
    let (factor, other) = (unit_factor(&left.1), unit_factor(&right.1));
    match (factor, other) {
        (Some((left_unit, left_factor)), Some((right_unit, right_factor))) if left_unit == right_unit => {
            left.0.multiply(left_factor)?.partial_cmp(&right.0.multiply(right_factor)?)
        }
        _ if unit_text(&left.1) == unit_text(&right.1) => left.0.partial_cmp(&right.0),
        _ => None,
    }
}

/// Units of time that are exact multiples of each other: months of years, the rest of milliseconds. UCUM's year and month are
/// lengths of their own and compare with themselves only.
fn unit_factor(unit: &QuantityUnit<'_>) -> Option<(&'static str, Decimal)> {
    let unit = match unit {
        QuantityUnit::Calendar(unit) => *unit,
        QuantityUnit::Code(code) => Unit::named(code).filter(|unit| !matches!(unit, Unit::Year | Unit::Month))?,
    };
    let (base, factor) = match unit {
        Unit::Year => ("month", 12),
        Unit::Month => ("month", 1),
        Unit::Week => ("ms", 604_800_000),
        Unit::Day => ("ms", 86_400_000),
        Unit::Hour => ("ms", 3_600_000),
        Unit::Minute => ("ms", 60_000),
        Unit::Second => ("ms", 1_000),
        Unit::Millisecond => ("ms", 1),
    };
    Some((base, Decimal::from_integer(factor)))
}

pub(super) fn unit_text<'u>(unit: &'u QuantityUnit<'_>) -> &'u str {
    match unit {
        QuantityUnit::Calendar(unit) => unit.name(),
        QuantityUnit::Code(code) => code,
    }
}

/// Deep equality, where numbers are equal by value.
fn same_json(left: &Json, right: &Json, span: &Span, env: &Env<'_, '_>) -> Result<bool, Fault> {
    env.spend(1, span)?;
    match (left, right) {
        (Json::Object(left), Json::Object(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (name, value) in left {
                match right.get(name) {
                    Some(other) if same_json(value, other, span, env)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (Json::Array(left), Json::Array(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right) {
                if !same_json(left, right, span, env)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Json::Number(left), Json::Number(right)) => {
            let same = Decimal::parse(left.as_str()).zip(Decimal::parse(right.as_str()));
            Ok(same.map_or(left == right, |(left, right)| left == right))
        }
        (left, right) => Ok(left == right),
    }
}

/// In any order, each with its own counterpart.
pub(super) fn all_equivalent<'r>(
    left: &Nodes<'r>,
    right: &Nodes<'r>,
    span: &Span,
    env: &Env<'_, 'r>,
) -> Result<bool, Fault> {
    if left.len() != right.len() {
        return Ok(false);
    }
    let mut open: Vec<&Node<'r>> = right.iter().collect();
    for node in left {
        let mut place = None;
        for (index, other) in open.iter().enumerate() {
            if equivalent(node, other, span, env)? {
                place = Some(index);
                break;
            }
        }
        match place {
            Some(index) => open.swap_remove(index),
            None => return Ok(false),
        };
    }
    Ok(true)
}

fn equivalent<'r>(left: &Node<'r>, right: &Node<'r>, span: &Span, env: &Env<'_, 'r>) -> Result<bool, Fault> {
    env.spend(1, span)?;
    let (Some(left), Some(right)) = (left.atom(), right.atom()) else {
        return match (left.json(), right.json()) {
            (Some(left), Some(right)) => equivalent_json(left, right, span, env),
            (left, right) => Ok(left.is_none() && right.is_none()),
        };
    };
    Ok(match (&left, &right) {
        (Atom::String(left), Atom::String(right)) => equivalent_texts(left, right),
        (Atom::Date(left) | Atom::DateTime(left), Atom::Date(right) | Atom::DateTime(right))
        | (Atom::Time(left), Atom::Time(right)) => left.is_same(*right),
        (Atom::Quantity(..), _) | (_, Atom::Quantity(..)) => equal_atoms(&left, &right) == Some(true),
        _ => match (left.decimal(), right.decimal()) {
            (Some(left), Some(right)) => equivalent_numbers(left, right),
            _ => equal_atoms(&left, &right) == Some(true),
        },
    })
}

/// Without regard to case and to how blanks are written.
fn equivalent_texts(left: &str, right: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    plain(left) == plain(right)
}

/// To the digits of the one that has fewer.
fn equivalent_numbers(left: Decimal, right: Decimal) -> bool {
    let scale = left.precision().min(right.precision());
    left.round(scale).zip(right.round(scale)).is_some_and(|(left, right)| left == right)
}

fn equivalent_json(left: &Json, right: &Json, span: &Span, env: &Env<'_, '_>) -> Result<bool, Fault> {
    env.spend(1, span)?;
    match (left, right) {
        (Json::String(left), Json::String(right)) => Ok(equivalent_texts(left, right)),
        (Json::Number(left), Json::Number(right)) => {
            let both = Decimal::parse(left.as_str()).zip(Decimal::parse(right.as_str()));
            Ok(both.map_or(left == right, |(left, right)| equivalent_numbers(left, right)))
        }
        (Json::Object(left), Json::Object(right)) => {
            // The id of an element is of no account.
            let count = |object: &serde_json::Map<String, Json>| object.keys().filter(|name| *name != "id").count();
            if count(left) != count(right) {
                return Ok(false);
            }
            for (name, value) in left.iter().filter(|(name, _)| *name != "id") {
                match right.get(name) {
                    Some(other) if equivalent_json(value, other, span, env)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (Json::Array(left), Json::Array(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            let mut open: Vec<&Json> = right.iter().collect();
            for item in left {
                let mut place = None;
                for (index, other) in open.iter().enumerate() {
                    if equivalent_json(item, other, span, env)? {
                        place = Some(index);
                        break;
                    }
                }
                match place {
                    Some(index) => open.swap_remove(index),
                    None => return Ok(false),
                };
            }
            Ok(true)
        }
        (left, right) => Ok(left == right),
    }
}

pub(super) fn is_in<'r>(one: &Node<'r>, all: &Nodes<'r>, span: &Span, env: &Env<'_, 'r>) -> Result<bool, Fault> {
    for node in all {
        if equal(one, node, span, env)? == Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Without those that equal an earlier one.
pub(super) fn distinct<'r>(nodes: Nodes<'r>, span: &Span, env: &Env<'_, 'r>) -> Result<Nodes<'r>, Fault> {
    let mut kept = Nodes::None;
    for node in nodes {
        if !is_in(&node, &kept, span, env)? {
            kept.push(node);
        }
    }
    Ok(kept)
}
