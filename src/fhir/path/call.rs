//! What functions do with nodes. Texts are in `text`, conversions in `convert`.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::compile::{Call, Expression};
use super::equality::{distinct, equal, is_in};
use super::evaluate::{Env, add, fault, single, truth};
use super::function::Function;
use super::operator::is_of;
use super::parser::Span;
use super::value::{Atom, Data, Item, Node, Nodes};
use super::{Fault, convert, limits, text};
use crate::fhir::decimal::Decimal;
use crate::fhir::dictionary::{Dictionary, TypeId};
use crate::fhir::unit::{Resolved, Resource, Unit, resource_type};

pub(super) fn call<'r>(call: &'r Call, input: Nodes<'r>, env: Env<'_, 'r>) -> Result<Nodes<'r>, Fault> {
    use Function::*;
    let span = &call.span;
    env.spend(1 + input.len(), span)?;
    let argument = |index: usize| call.arguments.get(index);
    let value = |index: usize| argument(index).map_or(Ok(Nodes::None), |argument| argument.evaluate(env));
    Ok(match call.function {
        Empty => Nodes::boolean(Some(input.is_empty())),
        Exists => match argument(0) {
            None => Nodes::boolean(Some(!input.is_empty())),
            Some(criteria) => {
                for (index, node) in input.iter().enumerate() {
                    if truth(&criteria.evaluate(env.each(node, index))?, span)? == Some(true) {
                        return Ok(Nodes::boolean(Some(true)));
                    }
                }
                Nodes::boolean(Some(false))
            }
        },
        All => {
            for (index, node) in input.iter().enumerate() {
                if truth(&each(argument(0), node, index, env)?, span)? != Some(true) {
                    return Ok(Nodes::boolean(Some(false)));
                }
            }
            Nodes::boolean(Some(true))
        }
        AllTrue | AnyTrue | AllFalse | AnyFalse => {
            let wanted = matches!(call.function, AllTrue | AnyTrue);
            let mut are = Vec::with_capacity(input.len());
            for node in &input {
                match node.atom() {
                    Some(Atom::Boolean(truth)) => are.push(truth == wanted),
                    _ => return fault(span, "this function asks booleans, and this is something else"),
                }
            }
            let all = matches!(call.function, AllTrue | AllFalse);
            Nodes::boolean(Some(if all { are.iter().all(|is| *is) } else { are.iter().any(|is| *is) }))
        }
        SubsetOf => Nodes::boolean(Some(is_subset(&input, &value(0)?, span, &env)?)),
        SupersetOf => Nodes::boolean(Some(is_subset(&value(0)?, &input, span, &env)?)),
        Count => Nodes::atom(Atom::Integer(i64::try_from(input.len()).unwrap_or(i64::MAX))),
        Distinct => distinct(input, span, &env)?,
        IsDistinct => {
            let count = input.len();
            Nodes::boolean(Some(distinct(input, span, &env)?.len() == count))
        }
        Not => Nodes::boolean(truth(&input, span)?.map(|truth| !truth)),
        HasValue => Nodes::boolean(Some(matches!(input.as_slice(), [node] if node.has_value()))),
        GetValue => match input.as_slice() {
            [node] if node.has_value() => node.atom().map_or(Nodes::None, Nodes::atom),
            _ => Nodes::None,
        },
        Where => {
            let mut kept = Nodes::None;
            for (index, node) in input.into_iter().enumerate() {
                if truth(&each(argument(0), &node, index, env)?, span)? == Some(true) {
                    kept.push(node);
                }
            }
            kept
        }
        Select => {
            let mut found = Nodes::None;
            for (index, node) in input.iter().enumerate() {
                let projected = each(argument(0), node, index, env)?;
                env.spend(projected.len(), span)?;
                found.append(projected);
            }
            found
        }
        Repeat => repeat(argument(0), input, span, env)?,
        OfType => of_type(input, call.kind, span)?,
        As => {
            single(&input, span)?;
            of_type(input, call.kind, span)?
        }
        Is => match single(&input, span)?.zip(call.kind) {
            Some((node, kind)) => Nodes::boolean(Some(is_of(node, kind, span)?)),
            None => Nodes::None,
        },
        Single => {
            single(&input, span)?;
            input
        }
        First => input.into_iter().next().map_or(Nodes::None, Nodes::One),
        Last => input.into_iter().last().map_or(Nodes::None, Nodes::One),
        Tail => input.into_iter().skip(1).collect(),
        Skip => match count(&value(0)?, span)? {
            Some(count) => input.into_iter().skip(count).collect(),
            None => Nodes::None,
        },
        Take => match count(&value(0)?, span)? {
            Some(count) => input.into_iter().take(count).collect(),
            None => Nodes::None,
        },
        Intersect => {
            let other = value(0)?;
            let mut kept = Nodes::None;
            for node in distinct(input, span, &env)? {
                if is_in(&node, &other, span, &env)? {
                    kept.push(node);
                }
            }
            kept
        }
        Exclude => {
            let other = value(0)?;
            let mut kept = Nodes::None;
            for node in input {
                if !is_in(&node, &other, span, &env)? {
                    kept.push(node);
                }
            }
            kept
        }
        Union | Combine => {
            let mut all = input;
            all.append(value(0)?);
            env.spend(all.len(), span)?;
            if call.function == Union { distinct(all, span, &env)? } else { all }
        }
        Iif => {
            let this = single(&input, span)?;
            let env = this.map_or(env, |this| env.each(this, env.index));
            let condition = argument(0).map_or(Ok(Nodes::None), |argument| argument.evaluate(env))?;
            let branch = if truth(&condition, span)? == Some(true) { argument(1) } else { argument(2) };
            branch.map_or(Ok(Nodes::None), |branch| branch.evaluate(env))?
        }
        Children => {
            let mut found = Nodes::None;
            input.iter().for_each(|node| children(node, &mut found));
            env.spend(found.len(), span)?;
            found
        }
        Descendants => {
            let mut found: Vec<Node<'r>> = Vec::new();
            let mut next: Vec<Node<'r>> = input.into_iter().collect();
            // Level by level, as repeat(children()) finds them; a resource is no deeper than its JSON.
            while !next.is_empty() {
                let mut level = Nodes::None;
                next.iter().for_each(|node| children(node, &mut level));
                env.spend(level.len(), span)?;
                next = level.into_iter().collect();
                found.extend(next.iter().cloned());
            }
            Nodes::from_iter(found)
        }
        Aggregate => {
            let mut total = value(1)?;
            for (index, node) in input.iter().enumerate() {
                let inner = Env { total: Some(&total), ..env.each(node, index) };
                let next = argument(0).map_or(Ok(Nodes::None), |argument| argument.evaluate(inner))?;
                env.spend(next.len(), span)?;
                total = next;
            }
            total
        }
        Extension => {
            let url = value(0)?;
            let Some(url) = single(&url, span)?.and_then(Node::text) else { return Ok(Nodes::None) };
            let kind = Dictionary::standard().named("Extension");
            let mut found = Nodes::None;
            for node in &input {
                let Item::Data(data) = &node.0 else { continue };
                let extensions = node.member_json("extension").and_then(Json::as_array).into_iter().flatten();
                let wanted = extensions.filter(|extension| extension.get("url").and_then(Json::as_str) == Some(&*url));
                wanted.for_each(|extension| add(extension, None, kind, data.home, &mut found));
            }
            env.spend(found.len(), span)?;
            found
        }
        Resolve => input.iter().filter_map(|node| resolved(node, env.scope.unit())).collect(),
        GetReferenceKey => keys(&input, env.scope.unit(), call.kind),
        GetResourceKey => {
            let json = input.iter().filter_map(Node::json);
            json.filter_map(resource_key).map(|key| Node(Item::Computed(Atom::String(Cow::Owned(key))))).collect()
        }
        Abs | Ceiling | Floor | Round | Truncate => number(call.function, &input, &value(0)?, span)?,
        ToBoolean | ToInteger | ToDecimal | ToString | ToDate | ToDateTime | ToTime | ToQuantity => {
            let unit = value(0)?;
            let Some(node) = single(&input, span)? else { return Ok(Nodes::None) };
            convert::convert(call.function, node, &unit).map_or(Nodes::None, Nodes::atom)
        }
        ConvertsToBoolean | ConvertsToInteger | ConvertsToDecimal | ConvertsToString | ConvertsToDate
        | ConvertsToDateTime | ConvertsToTime | ConvertsToQuantity => {
            let unit = value(0)?;
            let Some(node) = single(&input, span)? else { return Ok(Nodes::None) };
            Nodes::boolean(Some(convert::convert(call.function, node, &unit).is_some()))
        }
        IndexOf | LastIndexOf | Substring | StartsWith | EndsWith | Contains | Upper | Lower | Replace | Matches
        | MatchesFull | ReplaceMatches | Length | ToChars | Trim | Split | Join => {
            text::call(call, input, [value(0)?, value(1)?], &env)?
        }
    })
}

fn each<'r>(
    argument: Option<&'r Expression>,
    node: &Node<'r>,
    index: usize,
    env: Env<'_, 'r>,
) -> Result<Nodes<'r>, Fault> {
    argument.map_or(Ok(Nodes::None), |argument| argument.evaluate(env.each(node, index)))
}

fn is_subset<'r>(part: &Nodes<'r>, whole: &Nodes<'r>, span: &Span, env: &Env<'_, 'r>) -> Result<bool, Fault> {
    for node in part {
        if !is_in(node, whole, span, env)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How many; below zero counts as zero. `None`: not said.
fn count(nodes: &Nodes<'_>, span: &Span) -> Result<Option<usize>, Fault> {
    match single(nodes, span)?.map(Node::atom) {
        None => Ok(None),
        Some(Some(Atom::Integer(count))) => Ok(Some(usize::try_from(count).unwrap_or(0))),
        Some(_) => fault(span, "expected a whole number"),
    }
}

/// What the projection finds, and what it finds there, each once.
fn repeat<'r>(
    projection: Option<&'r Expression>,
    input: Nodes<'r>,
    span: &Span,
    env: Env<'_, 'r>,
) -> Result<Nodes<'r>, Fault> {
    let mut found: Vec<Node<'r>> = Vec::new();
    let mut next = input;
    while !next.is_empty() {
        let mut level = Nodes::None;
        for (index, node) in next.iter().enumerate() {
            for new in each(projection, node, index, env)? {
                env.spend(1, span)?;
                if !contains(&found, &new, span, &env)? {
                    found.push(new.clone());
                    level.push(new);
                }
            }
        }
        next = level;
    }
    Ok(Nodes::from_iter(found))
}

fn contains<'r>(found: &[Node<'r>], new: &Node<'r>, span: &Span, env: &Env<'_, 'r>) -> Result<bool, Fault> {
    for node in found {
        let same_place = matches!((node.json(), new.json()), (Some(left), Some(right)) if std::ptr::eq(left, right));
        if same_place || equal(node, new, span, env)? == Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Those of a type. What FHIR leaves open becomes that type.
fn of_type<'r>(nodes: Nodes<'r>, kind: Option<TypeId>, span: &Span) -> Result<Nodes<'r>, Fault> {
    let Some(kind) = kind else { return Ok(Nodes::None) };
    let mut kept = Nodes::None;
    for mut node in nodes {
        if is_of(&node, kind, span)? {
            if let Item::Data(data) = &mut node.0 {
                data.kind = data.kind.or(Some(kind));
            }
            kept.push(node);
        }
    }
    Ok(kept)
}

fn children<'r>(node: &Node<'r>, found: &mut Nodes<'r>) {
    let Item::Data(data) = &node.0 else { return };
    let dictionary = Dictionary::standard();
    let Some(object) = data.value.and_then(Json::as_object) else {
        if let Some(value) = data.sibling.and_then(|sibling| sibling.get("extension")) {
            add(value, None, dictionary.named("Extension"), data.home, found);
        }
        return;
    };
    for (name, value) in object {
        let plain = name.strip_prefix('_');
        // What stands beside a primitive is found with it.
        if name == "resourceType" || plain.is_some_and(|plain| object.contains_key(plain)) {
            continue;
        }
        let sibling = if plain.is_some() { Some(value) } else { object.get(&format!("_{name}")) };
        let (value, name) = plain.map_or((value, name.as_str()), |plain| (&Json::Null, plain));
        add(value, sibling, child_kind(data, name), data.home, found);
    }
}

/// The type of a member by its name in JSON.
fn child_kind(data: &Data<'_>, name: &str) -> Option<TypeId> {
    let dictionary = Dictionary::standard();
    let kind = data.kind?;
    if let Some(element) = dictionary.member(kind, name) {
        return match element.types.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
    }
    let capitals = name.char_indices().filter(|(index, letter)| *index > 0 && letter.is_ascii_uppercase());
    capitals.into_iter().find_map(|(index, _)| {
        let (member, suffix) = name.split_at(index);
        let is_choice = dictionary.member(kind, member).is_some_and(|element| element.is_choice);
        is_choice.then(|| dictionary.choice_suffix(suffix))?
    })
}

fn reference<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    if let Item::Computed(Atom::String(text)) = &node.0 {
        return Some(text);
    }
    match node.json()? {
        Json::String(text) => Some(text),
        Json::Object(object) => match object.get("reference")? {
            Json::String(text) => Some(text),
            // A CodeableReference of R5.
            Json::Object(inner) => inner.get("reference").and_then(Json::as_str),
            _ => None,
        },
        _ => None,
    }
}

fn resolved<'r>(node: &Node<'r>, unit: &'r Unit) -> Option<Node<'r>> {
    let home = node.home().unwrap_or_else(|| unit.focal());
    match unit.resolve(home, reference(node)?)? {
        Resolved::Resource(resource) => Some(Node::resource(resource)),
        Resolved::Contained(json) => Some(contained(json, home)),
    }
}

fn contained<'r>(json: &'r Json, home: Resource<'r>) -> Node<'r> {
    let kind = resource_type(json).and_then(|name| Dictionary::standard().named(name));
    Node(Item::Data(Data { value: Some(json), sibling: None, kind, home }))
}

/// `Patient/1`, as `getResourceKey()` of the resource that is meant says; also where the unit does not hold it.
fn keys<'r>(nodes: &Nodes<'r>, unit: &'r Unit, wanted: Option<TypeId>) -> Nodes<'r> {
    let key = |node: &Node<'r>| {
        let key = match resolved(node, unit).and_then(|node| node.json()).and_then(resource_key) {
            Some(key) => key,
            None => {
                let text = reference(node)?.split("/_history/").next()?;
                let mut parts = text.rsplit('/');
                let (id, kind) = (parts.next()?, parts.next()?);
                format!("{kind}/{id}")
            }
        };
        let kind = key.split('/').next()?;
        let is_wanted = wanted.is_none_or(|wanted| wanted.name() == kind);
        is_wanted.then_some(Node(Item::Computed(Atom::String(Cow::Owned(key)))))
    };
    nodes.iter().filter_map(key).collect()
}

fn resource_key(json: &Json) -> Option<String> {
    Some(format!("{}/{}", resource_type(json)?, json.get("id")?.as_str()?))
}

fn number<'r>(function: Function, input: &Nodes<'r>, digits: &Nodes<'r>, span: &Span) -> Result<Nodes<'r>, Fault> {
    let Some(node) = single(input, span)? else { return Ok(Nodes::None) };
    let Some(atom) = node.atom() else { return Ok(Nodes::None) };
    if let (Function::Abs, Atom::Quantity(number, unit)) = (function, &atom) {
        return Ok(Nodes::atom(Atom::Quantity(number.absolute(), unit.clone())));
    }
    let Some(decimal) = atom.decimal() else { return fault(span, "a number is expected here") };
    let result = match function {
        Function::Abs => match atom {
            Atom::Integer(number) => number.checked_abs().map(Atom::Integer),
            _ => Some(Atom::Decimal(decimal.absolute())),
        },
        Function::Ceiling => decimal.ceiling().map(Atom::Integer),
        Function::Floor => decimal.floor().map(Atom::Integer),
        Function::Truncate => decimal.truncate().map(Atom::Integer),
        _ => {
            let digits = match single(digits, span)?.map(Node::atom) {
                None => 0,
                Some(Some(Atom::Integer(digits))) if (0..=limits::DIGITS).contains(&digits) => digits,
                Some(_) => return fault(span, format!("round() takes 0 to {} digits", limits::DIGITS)),
            };
            u32::try_from(digits).ok().and_then(|digits| decimal.round(digits)).map(Atom::Decimal)
        }
    };
    Ok(result.map_or(Nodes::None, Nodes::atom))
}

/// See [`Decimal`]: here so that conversions and functions read numbers alike.
pub(super) fn decimal(text: &str) -> Option<Decimal> {
    let is_plain = !text.contains(['e', 'E']);
    Decimal::parse(text).filter(|_| is_plain)
}
