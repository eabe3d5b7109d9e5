//! What operators and functions expect of what they are given, by the types that are known when a path is compiled: what can never
//! have an answer is an error, what has one that was hardly meant is a [`Remark`].

use super::compile::Expression;
use super::function::{FUNCTIONS, Function};
use super::parser::{Kind, Operator, Span, Tree};
use super::types::{RESOURCE_TYPE, Types};
use super::value::Atom;
use super::{PathError, Remark, RemarkKind, resource_types};
use crate::diagnostic::{listed, plain_text, similar};
use crate::fhir::dictionary::{Dictionary, Shape, TypeId};

pub(super) fn error(span: &Span, problem: impl Into<String>) -> PathError {
    PathError::new(span.start, span.len(), problem)
}

pub(super) fn shape(id: TypeId) -> Shape {
    Dictionary::standard().shape(id)
}

/// An element that nothing here has, with what was probably meant.
pub(super) fn missing(name: &str, span: &Span, types: &Types) -> PathError {
    let dictionary = Dictionary::standard();
    let problem = match types.kinds.as_slice() {
        _ if is_function_without_parentheses(name) => format!("{name} is a function, and here it has no parentheses"),
        [] => format!("nothing here has an element {name}"),
        _ => format!("{} has no element {name}", types.names()),
    };
    let error = error(span, problem);
    let members = || types.kinds.iter().flat_map(|(id, _)| dictionary.members(*id));
    let choice = members().find_map(|member| {
        let kind = name.strip_prefix(member).and_then(|suffix| dictionary.choice_suffix(suffix))?;
        let holders = types.kinds.iter();
        let is_choice = holders.filter_map(|(id, _)| dictionary.member(*id, member)).any(|element| element.is_choice);
        is_choice.then(|| format!("{member}.ofType({})", kind.name()))
    });
    if let Some(step) = step_behind_reference(name, types) {
        return error.hint(step);
    }
    match (choice, name) {
        (Some(choice), _) => error.hint(format!("write {choice}")),
        (None, "null" | "NULL" | "nil") => error.hint("whether nothing is there is asked with empty()"),
        (None, _) if FUNCTIONS.iter().any(|(known, ..)| *known == name) => error.hint(format!("write {name}()")),
        (None, _) => {
            let is_any_resource =
                types.kinds.iter().all(|(id, _)| dictionary.is_resource(*id)) && !types.kinds.is_empty();
            let own = Some(RESOURCE_TYPE).filter(|_| is_any_resource).into_iter();
            let resource =
                dictionary.type_names().find(|kind| kind.eq_ignore_ascii_case(name) && Types::resource(kind).is_some());
            let near = similar(name, members().chain(own).chain(resource)).map(str::to_owned);
            match near.or_else(|| one_step_below(name, types)) {
                Some(meant) => error.meaning(&meant),
                None => match types.kinds.as_slice() {
                    [(only, _)] if dictionary.is_checked(*only) => of_its_own(*only, error),
                    _ => error,
                },
            }
        }
    }
}

/// How an element of the resource that a Reference leads to is asked for, where it is asked of the Reference.
fn step_behind_reference(name: &str, types: &Types) -> Option<String> {
    let dictionary = Dictionary::standard();
    let [(only, _)] = types.kinds.as_slice() else { return None };
    let step = match only.name() {
        "Reference" => "resolve()",
        "CodeableReference" => "reference.resolve()",
        _ => return None,
    };
    let is_of_resource =
        resource_types().filter_map(|kind| dictionary.named(kind)).any(|kind| dictionary.member(kind, name).is_some());
    is_of_resource.then(|| {
        format!("write {step}.{name}: what a Reference leads to is asked with resolve(), and display is its text")
    })
}

/// With the elements that a type has beside those of every element.
fn of_its_own(id: TypeId, error: PathError) -> PathError {
    let members: Vec<&str> = Dictionary::standard()
        .members(id)
        .filter(|member| !matches!(*member, "id" | "extension" | "modifierExtension"))
        .collect();
    // Of a resource it would be a list that nobody reads.
    let is_long = members.is_empty() || Dictionary::standard().is_resource(id);
    if is_long { error } else { error.hint(format!("there are {}", listed(members))) }
}

/// The one element of these types that has an element of this name itself: `coding.code` of a concept for `code`.
fn one_step_below(name: &str, types: &Types) -> Option<String> {
    let dictionary = Dictionary::standard();
    let has_it = |holder: TypeId, member: &str| {
        let element = dictionary.member(holder, member);
        element.is_some_and(|element| element.types.iter().any(|kind| dictionary.member(*kind, name).is_some()))
    };
    let mut found: Vec<&str> = Vec::new();
    for (holder, _) in &types.kinds {
        found.extend(dictionary.members(*holder).filter(|member| *member != "extension" && has_it(*holder, member)));
    }
    found.dedup();
    match found.as_slice() {
        [only] => Some(format!("{only}.{name}")),
        _ => None,
    }
}

/// The types after `ofType(id)`; an error if none can be of it.
pub(super) fn narrowed(types: &Types, id: TypeId, is_test: bool, span: &Span) -> Result<Types, PathError> {
    let narrowed = types.narrowed(id);
    if !is_test && narrowed.kinds.is_empty() && !types.kinds.is_empty() {
        let mut error = error(span, format!("this is never of type {}: it is {}", id.name(), types.names()));
        let small = types.kinds.iter().map(|(kind, _)| kind.name());
        let wanted = id.name().trim_start_matches("System.");
        if let Some(kind) = small.clone().find(|kind| kind.eq_ignore_ascii_case(wanted)) {
            error = error.hint(format!("FHIR's own type is written {kind}"));
        }
        return Err(error);
    }
    Ok(narrowed)
}

pub(super) fn must_be(types: &Types, span: &Span, wanted: &str, is: impl Fn(TypeId) -> bool) -> Result<(), PathError> {
    if types.may_be(is) {
        return Ok(());
    }
    Err(error(span, format!("expected {wanted} here, and this is {}", types.names())))
}

/// A condition that is no boolean means "is there one": FHIRPath 4.5 has it so, and in a mapping it is a slip.
pub(super) fn condition(types: &Types, tree: &Tree, function: &str) -> Result<(), PathError> {
    if types.may_be_boolean() {
        return Ok(());
    }
    let problem = format!("{function}() expects a condition that is true or false, and this is {}", types.names());
    Err(error(&tree.span, problem).hint("compare it, or write .exists() behind it"))
}

/// Whether a function can do anything with what it is asked of.
pub(super) fn input(function: Function, name: &str, input: &Types, span: &Span) -> Result<(), PathError> {
    use Function::*;
    let (wanted, is): (&str, fn(TypeId) -> bool) = match function {
        IndexOf | LastIndexOf | Substring | StartsWith | EndsWith | Contains | Upper | Lower | Replace | Matches
        | MatchesFull | ReplaceMatches | Length | ToChars | Trim | Split | Join => ("a text", |id| is_text(shape(id))),
        Abs | Ceiling | Floor | Round | Truncate => {
            ("a number", |id| matches!(shape(id), Shape::Integer | Shape::Decimal | Shape::Quantity))
        }
        Resolve | GetReferenceKey => {
            ("a reference", |id| matches!(id.name(), "Reference" | "CodeableReference") || shape(id) == Shape::String)
        }
        ToBoolean | ToInteger | ToDecimal | ToString | ToDate | ToDateTime | ToTime | ToQuantity => {
            ("a single value", |id| shape(id) != Shape::Complex)
        }
        _ => return Ok(()),
    };
    if input.may_be(is) {
        return Ok(());
    }
    Err(error(span, format!("{name}() expects {wanted}, and this is {}", input.names())))
}

/// FHIR writes dates as texts, so that what asks a text may ask them too.
fn is_text(shape: Shape) -> bool {
    matches!(shape, Shape::String | Shape::Date | Shape::DateTime | Shape::Time)
}

pub(super) fn binary_types(operator: Operator, left: &Types, right: &Types, span: &Span) -> Result<Types, PathError> {
    use Operator::*;
    Ok(match operator {
        Implies | Or | Xor | And | In | Contains | Equal | NotEqual | Equivalent | NotEquivalent | Less
        | LessOrEqual | Greater | GreaterOrEqual => {
            comparable(operator, left, right, span)?;
            Types::of(TypeId::BOOLEAN)
        }
        Union => left.clone().or(right),
        Concatenate => {
            computable(operator, left, right, span)?;
            Types::of(TypeId::STRING)
        }
        Plus | Minus | Times | Divide | Div | Mod => {
            computable(operator, left, right, span)?;
            Types::any()
        }
    })
}

/// Arithmetic that no two types of the sides have: a code and a number, a name and a text.
fn computable(operator: Operator, left: &Types, right: &Types, span: &Span) -> Result<(), PathError> {
    use Operator::*;
    if left.is_open() || right.is_open() || left.kinds.is_empty() || right.kinds.is_empty() {
        return Ok(());
    }
    let is_number = |shape| matches!(shape, Shape::Integer | Shape::Decimal | Shape::Quantity);
    let is_moment = |shape| matches!(shape, Shape::Date | Shape::DateTime | Shape::Time);
    let has_result = |left: Shape, right: Shape| match operator {
        Concatenate => left != Shape::Complex && right != Shape::Complex,
        Plus if is_text(left) && is_text(right) => true,
        Plus | Minus if is_moment(left) => is_number(right),
        _ => is_number(left) && is_number(right),
    };
    let any =
        left.kinds.iter().any(|(left, _)| right.kinds.iter().any(|(right, _)| has_result(shape(*left), shape(*right))));
    if any {
        return Ok(());
    }
    let error = error(span, format!("{} and {} never give a result here", left.names(), right.names()));
    Err(match operator {
        Plus => error.hint("+ adds numbers, a duration to a date, or joins texts"),
        Concatenate => error.hint("& joins texts; say which element"),
        _ => error.hint("this computes with numbers"),
    })
}

/// An argument of another type than the function takes.
pub(super) fn argument(
    function: Function,
    name: &str,
    index: usize,
    types: &Types,
    span: &Span,
) -> Result<(), PathError> {
    use Function::*;
    let (wanted, is): (&str, fn(TypeId) -> bool) = match function {
        Substring | Skip | Take | Round => ("a whole number", |id| shape(id) == Shape::Integer),
        IndexOf | LastIndexOf | StartsWith | EndsWith | Contains | Replace | Matches | MatchesFull | ReplaceMatches
        | Split | Join | Extension => ("a text", |id| is_text(shape(id))),
        _ => return Ok(()),
    };
    if types.may_be(is) {
        return Ok(());
    }
    let which = ["first", "second", "third"].get(index).copied().unwrap_or("next");
    Err(error(span, format!("the {which} argument of {name}() is {wanted}, and this is {}", types.names())))
}

/// A function that takes one node, asked of what may be several: of several it has no answer.
pub(super) fn one_input(function: Function, name: &str, input: &Types, span: &Span) -> Option<Remark> {
    use Function::*;
    let takes_one = matches!(
        function,
        IndexOf
            | LastIndexOf
            | Substring
            | StartsWith
            | EndsWith
            | Contains
            | Upper
            | Lower
            | Replace
            | Matches
            | MatchesFull
            | ReplaceMatches
            | Length
            | ToChars
            | Trim
            | Split
            | Abs
            | Ceiling
            | Floor
            | Round
            | Truncate
            | Not
            | ToBoolean
            | ToInteger
            | ToDecimal
            | ToString
            | ToDate
            | ToDateTime
            | ToTime
            | ToQuantity
    );
    (takes_one && input.several).then(|| {
        let problem = format!("{name}() takes one value, and this may be several: of several it has no answer");
        let hint = format!("say which, as in first(), or ask each: select({name}(…)), exists($this.{name}(…))");
        Remark::new(RemarkKind::Several, span, problem, hint)
    })
}

/// What is remarked of the two sides of an operator, each with its types.
pub(super) fn of_operands(operator: Operator, sides: [(&Tree, &Types); 2], source: &str) -> Vec<Remark> {
    use Operator::*;
    let [left, right] = sides;
    match operator {
        And | Or | Xor | Implies => sides.into_iter().filter_map(|(tree, types)| no_truth(tree, types)).collect(),
        Equal | NotEqual | Equivalent | NotEquivalent => {
            let mut found = unknown_codes(operator, left.1, right.0);
            found.extend(unknown_codes(operator, right.1, left.0));
            if found.is_empty() {
                found.extend(sides.into_iter().flat_map(|(tree, _)| wildcard(tree)));
                found.extend(plain_oid(left.1, right.0));
                found.extend(plain_oid(right.1, left.0));
            }
            found.extend(several(operator, sides, source));
            found
        }
        Less | LessOrEqual | Greater | GreaterOrEqual => several(operator, sides, source).into_iter().collect(),
        In => {
            let mut found = unknown_codes(operator, left.1, right.0);
            found.extend(several(operator, sides, source));
            found
        }
        Contains => {
            let mut found = unknown_codes(operator, right.1, left.0);
            found.extend(unknown_codes(operator, left.1, right.0));
            found
        }
        Plus | Minus | Times | Divide | Div | Mod | Concatenate => sides
            .into_iter()
            .filter(|(_, types)| types.several)
            .map(|(tree, _)| part_of_several(tree, source))
            .collect(),
        _ => Vec::new(),
    }
}

/// Texts that an element is compared with and that are none of its codes. `~` compares without regard to case.
fn unknown_codes(operator: Operator, types: &Types, other: &Tree) -> Vec<Remark> {
    let Some(codes) = types.codes() else { return Vec::new() };
    let is_loose = matches!(operator, Operator::Equivalent | Operator::NotEquivalent);
    let is_known =
        |text: &str| codes.contains(text) || (is_loose && codes.iter().any(|code| code.eq_ignore_ascii_case(text)));
    let mut found = Vec::new();
    texts(other, &mut |text, span| {
        if !is_known(text) {
            let problem = format!("no version of FHIR has the code {text:?} here");
            let hint = match similar(text, codes.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("there are {}", listed(codes.iter().copied())),
            };
            found.push(Remark::new(RemarkKind::UnknownCode, span, problem, hint));
        }
    });
    found
}

/// The texts of a list of literals: `'a'`, `('a' | 'b')`.
fn texts(tree: &Tree, visit: &mut dyn FnMut(&str, &Span)) {
    match &tree.kind {
        Kind::Literal(Atom::String(text)) => visit(text, &tree.span),
        Kind::Binary(Operator::Union, left, right) => {
            texts(left, visit);
            texts(right, visit);
        }
        _ => {}
    }
}

/// A list that is compared with one value.
fn several(operator: Operator, [left, right]: [(&Tree, &Types); 2], source: &str) -> Option<Remark> {
    use Operator::*;
    // What in stands before is one, what is behind it a list.
    let (list, other) = match (left.1.several, right.1.several) {
        (true, false) => (left.0, right.0),
        (true, true) if operator == In => (left.0, right.0),
        (false, true) if operator != In => (right.0, left.0),
        _ => return None,
    };
    let written = |span: &Span| source.get(span.clone()).unwrap_or_default().trim();
    let path = written(&list.span);
    let so = match operator {
        Equal | Equivalent => "several are never equal to one, so this does not hold",
        NotEqual | NotEquivalent => "several are never equal to one, so this holds whatever they are",
        _ => "with several there is no answer, so this does not hold",
    };
    let hint = match source.get(list.span.end..other.span.end) {
        Some(rest) => format!("write {path}.exists($this{}), or {path}.first()", one_line(rest)),
        None => format!("write {path}.exists($this = …), or {path}.first()"),
    };
    Some(Remark::new(RemarkKind::Several, &list.span, format!("{path} may have several values: {so}"), hint))
}

/// A list that is computed with: each side is one value.
fn part_of_several(tree: &Tree, source: &str) -> Remark {
    let path = source.get(tree.span.clone()).unwrap_or_default().trim();
    let problem = format!("{path} may have several values: of several there is no answer");
    Remark::new(RemarkKind::Several, &tree.span, problem, format!("say which, as in {path}.first()"))
}

fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.starts_with(char::is_whitespace) { format!(" {words}") } else { words }
}

/// `and` takes anything that is there for true: FHIRPath 4.5 has it so, and in a mapping it is a slip.
fn no_truth(tree: &Tree, types: &Types) -> Option<Remark> {
    (!types.may_be_boolean()).then(|| {
        let problem =
            format!("this is neither true nor false but {}: it counts as true wherever it is there", types.names());
        Remark::new(RemarkKind::NoTruth, &tree.span, problem, "compare it, or write .exists() behind it".to_owned())
    })
}

/// A text in full-width characters that has plain ones for all of them: no code and no URL is written so.
pub(super) fn of_text(atom: &Atom<'_>, span: &Span) -> Option<Remark> {
    let Atom::String(text) = atom else { return None };
    let plain = plain_text(text)?;
    let problem = format!("{text} is in full-width characters, and no code or URL is");
    Some(Remark::new(RemarkKind::UnlikelyText, span, problem, format!("write {plain}")))
}

/// `[1]`: FHIRPath counts from 0 (section 5.7 of the specification, N1), HL7 v2 from 1.
pub(super) fn of_index(index: &Expression, span: &Span) -> Option<Remark> {
    matches!(index, Expression::Literal(Atom::Integer(1))).then(|| {
        let problem = "[1] is the second: FHIRPath counts from 0".to_owned();
        Remark::new(
            RemarkKind::Second,
            span,
            problem,
            "the first is [0]; for the second write skip(1).first()".to_owned(),
        )
    })
}

/// An element of a Coding or of a CodeableConcept, where one version has the one and another the other, as `Encounter.class`: only one
/// version is read by it.
pub(super) fn of_version(types: &Types, name: &str, span: &Span) -> Option<Remark> {
    let dictionary = Dictionary::standard();
    let has = |id: TypeId| dictionary.member(id, name).is_some();
    let mut kinds: Vec<TypeId> = types.kinds.iter().map(|(id, _)| *id).collect();
    kinds.dedup();
    let is_either = kinds.len() == 2 && kinds.iter().all(|id| matches!(id.name(), "Coding" | "CodeableConcept"));
    let one = kinds.iter().find(|id| has(**id)).filter(|_| is_either && !kinds.iter().all(|id| has(*id)))?;
    let other = kinds.iter().find(|id| *id != one)?;
    let problem = format!(
        "this is a {} in one version of FHIR and a {} in another, which has no {name}: only one of them is read",
        one.name(),
        other.name()
    );
    let hint =
        format!("leave .{name} out, which reads either; for one version alone write ofType({}).{name}", one.name());
    Some(Remark::new(RemarkKind::OneVersion, span, problem, hint))
}

/// The URL of an extension of a resource or element, which is never a word; inside an extension it may be.
pub(super) fn of_extension_url(url: &str, span: &Span, types: &Types) -> Option<Remark> {
    let may_be_inner =
        types.is_open() || types.kinds.is_empty() || types.kinds.iter().any(|(id, _)| id.name() == "Extension");
    (!may_be_inner && !url.contains(':') && plain_text(url).is_none()).then(|| {
        let problem = format!("{url} is no URL, and an extension is known by its whole URL");
        let hint = "write it as the resource has it, as in http://hospital.example/fhir/StructureDefinition/…";
        Remark::new(RemarkKind::UnlikelyText, span, problem, hint.to_owned())
    })
}

/// A text with the wildcards of other languages, which stand for themselves in a comparison.
fn wildcard(tree: &Tree) -> Vec<Remark> {
    let mut found = Vec::new();
    texts(tree, &mut |text, span| {
        let bare = text.trim_matches(['%', '*']);
        if bare.len() < text.len() && bare.chars().count() > 1 {
            let problem = format!("% and * stand for themselves here, so {text:?} is hardly equal to anything");
            let hint = format!("write startsWith('{bare}'), contains('{bare}') or matches('…')");
            found.push(Remark::new(RemarkKind::UnlikelyText, span, problem, hint));
        }
    });
    found
}

/// An object identifier where a URI is: FHIR writes `urn:oid:` before it (R4, Data Types: uri, oid).
fn plain_oid(types: &Types, other: &Tree) -> Vec<Remark> {
    let mut found = Vec::new();
    if types.kinds.is_empty() || !types.kinds.iter().all(|(id, _)| id.name() == "uri") {
        return found;
    }
    texts(other, &mut |text, span| {
        let is_oid = text.matches('.').count() > 2 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if is_oid {
            let problem = format!("{text} is an object identifier, and a URI of FHIR has urn:oid: before it");
            found.push(Remark::new(RemarkKind::UnlikelyText, span, problem, format!("write urn:oid:{text}")));
        }
    });
    found
}

/// Names of functions that some resource has as elements, which the dictionary knows only in part.
const ELEMENTS_TOO: &[&str] = &["contains", "exclude", "length", "repeat", "select", "where"];

/// Whether a name is that of a function and of no element.
pub(super) fn is_function_without_parentheses(name: &str) -> bool {
    let is_function = FUNCTIONS.iter().any(|(known, ..)| *known == name);
    is_function && !ELEMENTS_TOO.contains(&name) && Dictionary::standard().elements_named(name).is_empty()
}

/// A comparison of what is never alike is never true: dates with texts, codes with numbers.
fn comparable(operator: Operator, left: &Types, right: &Types, span: &Span) -> Result<(), PathError> {
    use Operator::*;
    if !matches!(
        operator,
        Equal | NotEqual | Equivalent | NotEquivalent | Less | LessOrEqual | Greater | GreaterOrEqual
    ) {
        return Ok(());
    }
    let is_fhir = |types: &Types| types.kinds.iter().any(|(id, _)| !id.is_system());
    let is_closed = |types: &Types| !types.is_open() && !types.kinds.is_empty();
    if !is_closed(left) || !is_closed(right) || !(is_fhir(left) || is_fhir(right)) {
        return Ok(());
    }
    let group = |id: TypeId| match shape(id) {
        Shape::Integer | Shape::Decimal | Shape::Quantity => 1,
        Shape::Date | Shape::DateTime => 2,
        Shape::Time => 3,
        Shape::String => 4,
        Shape::Boolean => 5,
        Shape::Complex => 6,
    };
    let alike = left.kinds.iter().any(|(left, _)| right.kinds.iter().any(|(right, _)| group(*left) == group(*right)));
    if alike {
        return Ok(());
    }
    let error = error(span, format!("{} is never comparable with {}", left.names(), right.names()));
    let has = |wanted: &[Shape]| left.kinds.iter().chain(&right.kinds).any(|(id, _)| wanted.contains(&shape(*id)));
    Err(if has(&[Shape::Date, Shape::DateTime]) && has(&[Shape::String]) {
        error.hint("dates are written @2015-02-04, points in time @2015-02-04T14:34")
    } else {
        error
    })
}
