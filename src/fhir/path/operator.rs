//! Operators: order, arithmetic, logic and types, as FHIRPath 6 has them. Equality is beside this.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value as Json;

use super::equality::{all_equal, all_equivalent, distinct, is_in, quantities, quantity, unit_text};
use super::evaluate::{Env, fault, single, truth};
use super::moment::{Moment, Unit};
use super::parser::{Operator, Span};
use super::value::{Atom, Node, Nodes, QuantityUnit};
use super::{Fault, limits};
use crate::fhir::decimal::Decimal;
use crate::fhir::dictionary::{Dictionary, Shape, TypeId};

pub(super) fn binary<'r>(
    operator: Operator,
    left: Nodes<'r>,
    right: Nodes<'r>,
    span: &Span,
    env: &Env<'_, 'r>,
) -> Result<Nodes<'r>, Fault> {
    use Operator::*;
    let not = |truth: Option<bool>| truth.map(|truth| !truth);
    Ok(match operator {
        And | Or | Xor | Implies => Nodes::boolean(logic(operator, truth(&left, span)?, truth(&right, span)?)),
        Equal => Nodes::boolean(all_equal(&left, &right, span, env)?),
        NotEqual => Nodes::boolean(not(all_equal(&left, &right, span, env)?)),
        Equivalent => Nodes::boolean(Some(all_equivalent(&left, &right, span, env)?)),
        NotEquivalent => Nodes::boolean(Some(!all_equivalent(&left, &right, span, env)?)),
        Less | LessOrEqual | Greater | GreaterOrEqual => {
            let order = order(&left, &right, span)?;
            Nodes::boolean(order.map(|order| match operator {
                Less => order.is_lt(),
                LessOrEqual => order.is_le(),
                Greater => order.is_gt(),
                _ => order.is_ge(),
            }))
        }
        In => membership(&left, &right, span, env)?,
        Contains => membership(&right, &left, span, env)?,
        Union => {
            let mut all = left;
            all.append(right);
            distinct(all, span, env)?
        }
        Concatenate => {
            let text = |nodes: &Nodes<'r>| -> Result<String, Fault> {
                let Some(node) = single(nodes, span)? else { return Ok(String::new()) };
                node.text()
                    .map(Cow::into_owned)
                    .map_or_else(|| fault(span, "& joins texts, and this is something else"), Ok)
            };
            let joined = text(&left)? + &text(&right)?;
            if joined.len() > limits::TEXT_BYTES {
                return fault(span, "a computed text is longer than a FHIR string may be");
            }
            env.spend(joined.len() / limits::BYTES_A_STEP, span)?;
            Nodes::atom(Atom::String(Cow::Owned(joined)))
        }
        Plus | Minus | Times | Divide | Div | Mod => {
            let (Some(left), Some(right)) = (single(&left, span)?, single(&right, span)?) else {
                return Ok(Nodes::None);
            };
            let (Some(left), Some(right)) = (left.atom(), right.atom()) else { return unread(left, right, span) };
            let result = arithmetic(operator, left, right, span)?.map_or(Nodes::None, Nodes::atom);
            env.spend(result.first().map_or(0, Node::weight), span)?;
            result
        }
    })
}

/// What has no value (or none that its type allows) yields nothing; what has elements is no operand.
fn unread<'r>(left: &Node<'r>, right: &Node<'r>, span: &Span) -> Result<Nodes<'r>, Fault> {
    let is_complex =
        |node: &Node<'r>| node.atom().is_none() && node.json().is_some_and(Json::is_object) && !is_quantity(node);
    if is_complex(left) || is_complex(right) {
        return fault(span, "this operator takes single values, and this has elements");
    }
    Ok(Nodes::None)
}

fn is_quantity(node: &Node<'_>) -> bool {
    let dictionary = Dictionary::standard();
    node.kind().zip(dictionary.named("Quantity")).is_some_and(|(kind, quantity)| dictionary.is_a(kind, quantity))
}

/// Three-valued logic, 6.5. What is unknown decides nothing unless the other side decides alone.
fn logic(operator: Operator, left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match operator {
        Operator::And => match (left, right) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        Operator::Or => match (left, right) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Operator::Xor => left.zip(right).map(|(left, right)| left != right),
        _ => match (left, right) {
            (Some(false), _) | (_, Some(true)) => Some(true),
            (Some(true), right) => right,
            (None, _) => None,
        },
    }
}

fn order(left: &Nodes<'_>, right: &Nodes<'_>, span: &Span) -> Result<Option<Ordering>, Fault> {
    let (Some(left), Some(right)) = (single(left, span)?, single(right, span)?) else { return Ok(None) };
    let (Some(left), Some(right)) = (left.atom(), right.atom()) else { return unread(left, right, span).map(|_| None) };
    let other = |text: &str| fault(span, format!("{text}; these two have no order"));
    match (&left, &right) {
        (Atom::String(left), Atom::String(right)) => Ok(Some(left.cmp(right))),
        (Atom::Date(left) | Atom::DateTime(left), Atom::Date(right) | Atom::DateTime(right))
        | (Atom::Time(left), Atom::Time(right)) => Ok(left.compare(*right)),
        // What FHIR leaves untyped, as an extension's value in an unknown resource, is what the other side is.
        (Atom::String(text), Atom::Date(moment) | Atom::DateTime(moment)) => {
            Ok(Moment::date_time(text).and_then(|text| text.compare(*moment)))
        }
        (Atom::Date(moment) | Atom::DateTime(moment), Atom::String(text)) => {
            Ok(Moment::date_time(text).and_then(|text| moment.compare(text)))
        }
        (Atom::Quantity(..), _) | (_, Atom::Quantity(..)) => match (quantity(&left), quantity(&right)) {
            (Some(left), Some(right)) => Ok(quantities(&left, &right)),
            _ => other("a quantity is compared with numbers and quantities"),
        },
        _ => match (left.decimal(), right.decimal()) {
            (Some(left), Some(right)) => Ok(left.partial_cmp(&right)),
            _ => other("numbers are compared with numbers, texts with texts, dates with dates"),
        },
    }
}

fn membership<'r>(one: &Nodes<'r>, all: &Nodes<'r>, span: &Span, env: &Env<'_, 'r>) -> Result<Nodes<'r>, Fault> {
    let Some(one) = single(one, span)? else { return Ok(Nodes::None) };
    Ok(Nodes::boolean(Some(is_in(one, all, span, env)?)))
}

pub(super) fn sign<'r>(negative: bool, nodes: Nodes<'r>, span: &Span) -> Result<Nodes<'r>, Fault> {
    let Some(node) = single(&nodes, span)? else { return Ok(Nodes::None) };
    let atom = match node.atom() {
        Some(atom) if !negative && (atom.decimal().is_some() || matches!(atom, Atom::Quantity(..))) => Some(atom),
        Some(Atom::Integer(number)) => number.checked_neg().map(Atom::Integer),
        Some(Atom::Decimal(number)) => Some(Atom::Decimal(number.negated())),
        Some(Atom::Quantity(number, unit)) => Some(Atom::Quantity(number.negated(), unit)),
        None if node.json().is_none() => None,
        _ => return fault(span, "a sign stands before a number, and this is none"),
    };
    Ok(atom.map_or(Nodes::None, Nodes::atom))
}

/// `None`: nothing, as of a division by zero or what is too large.
fn arithmetic<'r>(operator: Operator, left: Atom<'r>, right: Atom<'r>, span: &Span) -> Result<Option<Atom<'r>>, Fault> {
    use Operator::*;
    if let (Atom::Integer(left), Atom::Integer(right)) = (&left, &right) {
        let result = match operator {
            Plus => left.checked_add(*right),
            Minus => left.checked_sub(*right),
            Times => left.checked_mul(*right),
            Div => left.checked_div(*right),
            Mod => left.checked_rem(*right),
            _ => {
                let quotient = Decimal::from_integer(*left).divide(Decimal::from_integer(*right));
                return Ok(quotient.map(Atom::Decimal));
            }
        };
        return Ok(result.map(Atom::Integer));
    }
    if let (Some(left), Some(right)) = (left.decimal(), right.decimal()) {
        return Ok(match operator {
            Plus => left.add(right).map(Atom::Decimal),
            Minus => left.subtract(right).map(Atom::Decimal),
            Times => left.multiply(right).map(Atom::Decimal),
            Divide => left.divide(right).map(Atom::Decimal),
            Div if right.is_zero() => None,
            Div => left.whole_quotient(right).map(Atom::Integer),
            _ => left.remainder(right).map(Atom::Decimal),
        });
    }
    match (operator, left, right) {
        (Plus, Atom::String(left), Atom::String(right)) => {
            let joined = left.into_owned() + &right;
            if joined.len() > limits::TEXT_BYTES {
                return fault(span, "a computed text is longer than a FHIR string may be");
            }
            Ok(Some(Atom::String(Cow::Owned(joined))))
        }
        (Plus | Minus, Atom::Date(moment), Atom::Quantity(number, unit)) => {
            moved(moment, operator, number, &unit, span).map(|moment| moment.map(Atom::Date))
        }
        (Plus | Minus, Atom::DateTime(moment), Atom::Quantity(number, unit)) => {
            moved(moment, operator, number, &unit, span).map(|moment| moment.map(Atom::DateTime))
        }
        (Plus | Minus, Atom::Time(moment), Atom::Quantity(number, unit)) => {
            moved(moment, operator, number, &unit, span).map(|moment| moment.map(Atom::Time))
        }
        (Plus | Minus, Atom::Quantity(left, unit), Atom::Quantity(right, other)) => {
            let result = if operator == Plus { left.add(right) } else { left.subtract(right) };
            Ok(result.filter(|_| unit_text(&unit) == unit_text(&other)).map(|number| Atom::Quantity(number, unit)))
        }
        (Times, Atom::Quantity(left, unit), right) if right.decimal().is_some() => {
            Ok(right.decimal().and_then(|right| left.multiply(right)).map(|number| Atom::Quantity(number, unit)))
        }
        (Times, left, Atom::Quantity(right, unit)) if left.decimal().is_some() => {
            Ok(left.decimal().and_then(|left| left.multiply(right)).map(|number| Atom::Quantity(number, unit)))
        }
        (Divide, Atom::Quantity(left, unit), right) if right.decimal().is_some() => {
            Ok(right.decimal().and_then(|right| left.divide(right)).map(|number| Atom::Quantity(number, unit)))
        }
        (Divide, Atom::Quantity(left, unit), Atom::Quantity(right, other)) if unit_text(&unit) == unit_text(&other) => {
            Ok(left.divide(right).map(|number| Atom::Quantity(number, QuantityUnit::Code(Cow::Borrowed("1")))))
        }
        (Times | Divide, Atom::Quantity(..), Atom::Quantity(..)) => {
            fault(span, "units are not multiplied or divided; take the value of each quantity")
        }
        _ => fault(span, "these two cannot be computed with this operator"),
    }
}

/// A date plus or minus some units of time.
fn moved(
    moment: Moment,
    operator: Operator,
    number: Decimal,
    unit: &QuantityUnit<'_>,
    span: &Span,
) -> Result<Option<Moment>, Fault> {
    let unit = match unit {
        QuantityUnit::Calendar(unit) => *unit,
        QuantityUnit::Code(code) => match Unit::named(code) {
            Some(unit) => unit,
            None => return fault(span, "a date is moved by a unit of the calendar, as 4 days"),
        },
    };
    // What is finer than a second counts; of other units only whole ones do.
    let (number, unit) = match unit {
        Unit::Second => (number.multiply(Decimal::from_integer(1_000)), Unit::Millisecond),
        unit => (Some(number), unit),
    };
    let Some(amount) = number.and_then(Decimal::truncate) else { return Ok(None) };
    let (amount, unit) = match unit {
        Unit::Millisecond if amount % 1_000 == 0 => (amount / 1_000, Unit::Second),
        unit => (amount, unit),
    };
    let amount = if operator == Operator::Minus { amount.checked_neg() } else { Some(amount) };
    Ok(amount.and_then(|amount| moment.add(amount, unit)))
}

/// Whether a node is of a type, or of one that is made from it. A fault where neither FHIR nor JSON tells.
pub(super) fn is_of(node: &Node<'_>, wanted: TypeId, span: &Span) -> Result<bool, Fault> {
    let dictionary = Dictionary::standard();
    if let Some(kind) = node.kind() {
        let is_alike = kind.is_system() && kind.name().strip_prefix("System.") == Some(wanted.name());
        return Ok(dictionary.is_a(kind, wanted) || is_alike);
    }
    let shape = dictionary.shape(wanted);
    match node.json() {
        Some(json @ Json::Object(_)) => Ok(looks_like(json, wanted)),
        Some(Json::Bool(_)) => Ok(shape == Shape::Boolean && !wanted.is_system()),
        Some(json) if !looks_like(json, wanted) => Ok(false),
        _ => fault(span, "the type of this is not known here: it is in a resource whose elements are not listed"),
    }
}

/// An element that has one type in one version of FHIR and another in the next: told by what is in it.
pub(super) fn looks_like(json: &Json, wanted: TypeId) -> bool {
    let dictionary = Dictionary::standard();
    match (json, dictionary.shape(wanted)) {
        (Json::Bool(_), shape) => shape == Shape::Boolean,
        (Json::Number(_), shape) => matches!(shape, Shape::Integer | Shape::Decimal),
        (Json::String(_), shape) => matches!(shape, Shape::String | Shape::Date | Shape::DateTime | Shape::Time),
        (Json::Object(object), _) => {
            let mut members = object.keys().filter(|name| !name.starts_with('_'));
            dictionary.is_checked(wanted) && members.all(|name| dictionary.member(wanted, name).is_some())
        }
        _ => false,
    }
}
