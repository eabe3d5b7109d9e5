//! Conversions between FHIRPath's own types (5.5). What cannot be converted is nothing.

use std::borrow::Cow;

use super::call::decimal;
use super::function::Function;
use super::moment::{Moment, Unit};
use super::value::{Atom, Node, Nodes, QuantityUnit};
use crate::fhir::decimal::Decimal;

pub(super) fn convert<'r>(function: Function, node: &Node<'r>, unit: &Nodes<'r>) -> Option<Atom<'r>> {
    use Function::*;
    let atom = node.atom()?;
    match function {
        ToBoolean | ConvertsToBoolean => to_boolean(&atom).map(Atom::Boolean),
        ToInteger | ConvertsToInteger => to_integer(&atom).map(Atom::Integer),
        ToDecimal | ConvertsToDecimal => to_decimal(&atom).map(Atom::Decimal),
        ToString | ConvertsToString => match node.text() {
            // As the resource writes it.
            Some(text) => Some(Atom::String(Cow::Owned(text.into_owned()))),
            None => Some(Atom::String(Cow::Owned(atom.text()))),
        },
        ToDate | ConvertsToDate => match &atom {
            Atom::Date(moment) | Atom::DateTime(moment) => Some(Atom::Date(moment.to_date())),
            Atom::String(text) => Moment::date_time(text).map(|moment| Atom::Date(moment.to_date())),
            _ => None,
        },
        ToDateTime | ConvertsToDateTime => match &atom {
            Atom::Date(moment) | Atom::DateTime(moment) => Some(Atom::DateTime(*moment)),
            Atom::String(text) => Moment::date_time(text).map(Atom::DateTime),
            _ => None,
        },
        ToTime | ConvertsToTime => match &atom {
            Atom::Time(moment) => Some(Atom::Time(*moment)),
            Atom::String(text) => Moment::time(text.strip_prefix('T').unwrap_or(text)).map(Atom::Time),
            _ => None,
        },
        _ => to_quantity(&atom).filter(|quantity| has_unit(quantity, unit)),
    }
}

fn to_boolean(atom: &Atom<'_>) -> Option<bool> {
    match atom {
        Atom::Boolean(truth) => Some(*truth),
        Atom::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" | "1.0" => Some(true),
            "false" | "f" | "no" | "n" | "0" | "0.0" => Some(false),
            _ => None,
        },
        atom => match atom.decimal()?.to_integer() {
            Some(1) => Some(true),
            Some(0) => Some(false),
            _ => None,
        },
    }
}

fn to_integer(atom: &Atom<'_>) -> Option<i64> {
    match atom {
        Atom::Integer(number) => Some(*number),
        Atom::Boolean(truth) => Some(i64::from(*truth)),
        Atom::String(text) if !text.contains('.') => decimal(text)?.to_integer(),
        _ => None,
    }
}

fn to_decimal(atom: &Atom<'_>) -> Option<Decimal> {
    match atom {
        Atom::Boolean(truth) => Some(Decimal::from_integer(i64::from(*truth))),
        Atom::String(text) => decimal(text),
        atom => atom.decimal(),
    }
}

fn to_quantity<'r>(atom: &Atom<'r>) -> Option<Atom<'r>> {
    let one = || QuantityUnit::Code(Cow::Borrowed("1"));
    match atom {
        Atom::Quantity(number, unit) => Some(Atom::Quantity(*number, unit.clone())),
        Atom::Boolean(truth) => Some(Atom::Quantity(Decimal::from_integer(i64::from(*truth)), one())),
        Atom::String(text) => {
            // 4 days, 4 'mg', 4
            let (number, unit) = match text.trim().find(char::is_whitespace) {
                Some(at) => text.trim().split_at(at),
                None => (text.trim(), ""),
            };
            let (number, unit) = (decimal(number)?, unit.trim_start());
            let quoted =
                unit.strip_prefix('\'').and_then(|unit| unit.strip_suffix('\'')).filter(|unit| !unit.is_empty());
            let unit = match (unit, quoted) {
                ("", _) => one(),
                (_, Some(code)) => QuantityUnit::Code(Cow::Owned(code.to_owned())),
                (name, None) => QuantityUnit::Calendar(Unit::named(name).filter(|_| name.len() > 2)?),
            };
            Some(Atom::Quantity(number, unit))
        }
        atom => Some(Atom::Quantity(atom.decimal()?, one())),
    }
}

/// Whether the quantity has the unit that is asked for. Units are not converted.
fn has_unit(quantity: &Atom<'_>, unit: &Nodes<'_>) -> bool {
    let Some(wanted) = unit.first().and_then(Node::text) else { return true };
    match quantity {
        Atom::Quantity(_, QuantityUnit::Code(code)) => *code == wanted,
        Atom::Quantity(_, QuantityUnit::Calendar(unit)) => Unit::named(&wanted) == Some(*unit),
        _ => false,
    }
}
