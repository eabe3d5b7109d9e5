//! What functions do with texts (5.6). Places count characters from 0.

use std::borrow::Cow;

use super::compile::{Call, regex};
use super::evaluate::{Env, fault, single};
use super::function::Function;
use super::parser::Span;
use super::value::{Atom, Item, Node, Nodes};
use super::{Fault, limits};

pub(super) fn call<'r>(
    call: &'r Call,
    input: Nodes<'r>,
    arguments: [Nodes<'r>; 2],
    env: &Env<'_, 'r>,
) -> Result<Nodes<'r>, Fault> {
    let span = &call.span;
    if call.function == Function::Join {
        let separator = text(&arguments[0], span)?.unwrap_or_default();
        return join(&input, &separator, span, env);
    }
    let Some(subject) = text(&input, span)? else { return Ok(Nodes::None) };
    env.spend(1 + subject.len() / limits::BYTES_A_STEP, span)?;
    match call.function {
        Function::Upper => return computed(subject.to_uppercase(), span, env),
        Function::Lower => return computed(subject.to_lowercase(), span, env),
        Function::Length => return Ok(integer(subject.chars().count())),
        Function::Trim => return computed(subject.trim().to_owned(), span, env),
        Function::ToChars => {
            env.spend(subject.len(), span)?;
            return Ok(subject.chars().map(|letter| string(letter.to_string())).collect());
        }
        Function::Substring => return substring(&subject, &arguments, span, env),
        _ => {}
    }
    let Some(first) = text(&arguments[0], span)? else { return Ok(Nodes::None) };
    let place = |at: Option<usize>| match at.and_then(|at| subject.get(..at)) {
        Some(before) => integer(before.chars().count()),
        None => Nodes::atom(Atom::Integer(-1)),
    };
    match call.function {
        Function::StartsWith => Ok(Nodes::boolean(Some(subject.starts_with(&*first)))),
        Function::EndsWith => Ok(Nodes::boolean(Some(subject.ends_with(&*first)))),
        Function::Contains => Ok(Nodes::boolean(Some(subject.contains(&*first)))),
        Function::IndexOf => Ok(place(subject.find(&*first))),
        Function::LastIndexOf => Ok(place(subject.rfind(&*first))),
        Function::Split if first.is_empty() => Ok(Nodes::One(string(subject.into_owned()))),
        Function::Split => {
            env.spend(subject.matches(&*first).count(), span)?;
            Ok(subject.split(&*first).map(|part| string(part.to_owned())).collect())
        }
        Function::Matches | Function::MatchesFull | Function::ReplaceMatches => {
            let built;
            let regex = match &call.regex {
                Some(regex) => regex,
                None => {
                    env.spend(1_000, span)?;
                    built = regex(&first, call.function).or_else(|problem| fault(span, problem))?;
                    &built
                }
            };
            if call.function != Function::ReplaceMatches {
                return Ok(Nodes::boolean(Some(regex.is_match(&subject))));
            }
            let Some(substitution) = text(&arguments[1], span)? else { return Ok(Nodes::None) };
            if first.is_empty() {
                return computed(subject.into_owned(), span, env);
            }
            let mut result = String::new();
            let mut end = 0;
            for captures in regex.captures_iter(&subject) {
                let Some(found) = captures.get(0) else { continue };
                result.push_str(subject.get(end..found.start()).unwrap_or(""));
                captures.expand(&substitution, &mut result);
                end = found.end();
                if result.len() > limits::TEXT_BYTES {
                    break;
                }
            }
            result.push_str(subject.get(end..).unwrap_or(""));
            computed(result, span, env)
        }
        _ => {
            let Some(substitution) = text(&arguments[1], span)? else { return Ok(Nodes::None) };
            let grown = subject.matches(&*first).count().saturating_mul(substitution.len());
            if grown > limits::TEXT_BYTES {
                return fault(span, "a computed text is longer than a FHIR string may be");
            }
            computed(subject.replace(&*first, &substitution), span, env)
        }
    }
}

/// The text of the only node. Dates and codes are texts too; numbers and booleans are not.
fn text<'n>(nodes: &'n Nodes<'_>, span: &Span) -> Result<Option<Cow<'n, str>>, Fault> {
    let Some(node) = single(nodes, span)? else { return Ok(None) };
    match &node.0 {
        Item::Computed(Atom::String(text)) => Ok(Some(Cow::Borrowed(text))),
        Item::Data(data) => match data.value {
            Some(serde_json::Value::String(text)) => Ok(Some(Cow::Borrowed(text))),
            None => Ok(None),
            Some(_) => fault(span, "a text is expected here, and this is none; write toString() before it"),
        },
        Item::Computed(_) => fault(span, "a text is expected here, and this is none; write toString() before it"),
    }
}

fn string<'r>(text: String) -> Node<'r> {
    Node(Item::Computed(Atom::String(Cow::Owned(text))))
}

fn integer<'r>(number: usize) -> Nodes<'r> {
    Nodes::atom(Atom::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn computed<'r>(text: String, span: &Span, env: &Env<'_, 'r>) -> Result<Nodes<'r>, Fault> {
    env.spend(text.len() / limits::BYTES_A_STEP, span)?;
    if text.len() > limits::TEXT_BYTES {
        return fault(span, "a computed text is longer than a FHIR string may be");
    }
    Ok(Nodes::One(string(text)))
}

fn join<'r>(input: &Nodes<'r>, separator: &str, span: &Span, env: &Env<'_, 'r>) -> Result<Nodes<'r>, Fault> {
    let mut joined = String::new();
    let mut is_first = true;
    for node in input {
        let one = Nodes::One(node.clone());
        let Some(part) = text(&one, span)? else { continue };
        if !is_first {
            joined.push_str(separator);
        }
        is_first = false;
        joined.push_str(&part);
        if joined.len() > limits::TEXT_BYTES {
            return fault(span, "a computed text is longer than a FHIR string may be");
        }
    }
    if is_first { Ok(Nodes::None) } else { computed(joined, span, env) }
}

fn substring<'r>(
    subject: &str,
    arguments: &[Nodes<'r>; 2],
    span: &Span,
    env: &Env<'_, 'r>,
) -> Result<Nodes<'r>, Fault> {
    let number = |nodes: &Nodes<'r>| match single(nodes, span)?.map(Node::atom) {
        None => Ok(None),
        Some(Some(Atom::Integer(number))) => Ok(Some(number)),
        Some(_) => fault(span, "substring() takes whole numbers"),
    };
    let Some(start) = number(&arguments[0])? else { return Ok(Nodes::None) };
    let Some(start) = usize::try_from(start).ok().filter(|start| *start < subject.chars().count()) else {
        return Ok(Nodes::None);
    };
    let rest = subject.chars().skip(start);
    let text: String = match number(&arguments[1])? {
        Some(length) => rest.take(usize::try_from(length).unwrap_or(0)).collect(),
        None => rest.collect(),
    };
    computed(text, span, env)
}
