//! From a tree to what is evaluated: names become functions and elements, types are checked, and whatever cannot be is refused.

use std::collections::BTreeSet;

use regex_lite::{Regex, RegexBuilder};

use super::expect::{self, binary_types, condition, error, missing, must_be, narrowed, shape};
use super::function::{Argument, FUNCTIONS, Function, LEFT_OUT, Yields};
use super::parser::{Kind, Operator, Span, Step as WrittenStep, StepKind, Tree, TypeName, type_argument};
use super::types::{RESOURCE_TYPE, Types};
use super::value::Atom;
use super::{PathError, Remark, limits};
use crate::fhir::dictionary::{Dictionary, Element, Shape, TypeId};

/// Bytes that a regular expression may take when it is compiled: it runs in time proportional to this and the text.
const REGEX_BYTES: usize = 1 << 14;

/// An expression that can be evaluated.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Literal(Atom<'static>),
    Empty,
    /// `%context`: what the whole path is asked of.
    Context,
    /// `%resource`: the resource that the context is in.
    Resource,
    This,
    Index,
    Total,
    /// `Patient`: that resource of the unit.
    Root(TypeId),
    Chain(Box<Expression>, Box<[Step]>),
    Sign(bool, Box<Expression>, Span),
    Binary(Operator, Box<(Expression, Expression)>, Span),
    /// `is` (true) or `as`.
    Type(bool, Box<Expression>, TypeId, Span),
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Member(Member),
    Index(Expression, Span),
    Call(Box<Call>),
}

/// An element by name.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: Box<str>,
    /// Where JSON keeps the id and extensions of a primitive: `_birthDate`.
    pub(super) sibling: Box<str>,
    /// What types have an element of this name.
    pub(super) elements: &'static [(TypeId, Element)],
}

#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) arguments: Box<[Expression]>,
    pub(super) kind: Option<TypeId>,
    /// Of an argument that is the same in all evaluations.
    pub(super) regex: Option<Regex>,
    pub(super) span: Span,
}

/// What names mean at a place in the path.
struct Scope<'c> {
    context: &'c Types,
    this: &'c Types,
    total: Option<&'c Types>,
    is_each: bool,
}

/// What a path was compiled to.
pub(super) struct Compiled {
    pub(super) expression: Expression,
    pub(super) types: Types,
    pub(super) mentioned: BTreeSet<String>,
    pub(super) remarks: Vec<Remark>,
    pub(super) roots: Vec<(TypeId, Span)>,
}

pub(super) fn compile(source: &str, tree: &Tree, from: &Types) -> Result<Compiled, PathError> {
    let mut compiler = Compiler { source, mentioned: BTreeSet::new(), remarks: Vec::new(), roots: Vec::new() };
    let scope = Scope { context: from, this: from, total: None, is_each: false };
    let (expression, types) = compiler.expression(tree, &scope)?;
    let Compiler { mentioned, remarks, roots, .. } = compiler;
    Ok(Compiled { expression, types, mentioned, remarks, roots })
}

struct Compiler<'s> {
    source: &'s str,
    /// `Patient.name.given` of each member step.
    mentioned: BTreeSet<String>,
    /// What can be answered and is probably not what was meant.
    remarks: Vec<Remark>,
    /// The resources of the unit that the path begins with.
    roots: Vec<(TypeId, Span)>,
}

type Typed = (Expression, Types);

impl Compiler<'_> {
    /// What is compiled again, as the argument of repeat(), is remarked once.
    fn remark(&mut self, remark: Option<Remark>) {
        self.remarks.extend(remark.filter(|remark| !self.remarks.contains(remark)));
    }

    fn expression(&mut self, tree: &Tree, scope: &Scope<'_>) -> Result<Typed, PathError> {
        Ok(match &tree.kind {
            Kind::Literal(atom) => {
                self.remark(expect::of_text(atom, &tree.span));
                (Expression::Literal(atom.clone()), Types::of(atom.kind()))
            }
            Kind::Empty => (Expression::Empty, Types::none()),
            Kind::Variable(name) => self.variable(name, &tree.span, scope)?,
            Kind::Constant(name) => constant(name, &tree.span, scope)?,
            Kind::Sign(negative, operand) => {
                let (operand, types) = self.expression(operand, scope)?;
                must_be(&types, &tree.span, "a number", |id| {
                    matches!(shape(id), Shape::Integer | Shape::Decimal | Shape::Quantity)
                })?;
                (Expression::Sign(*negative, Box::new(operand), tree.span.clone()), types)
            }
            Kind::Type(is_test, operand, name) => {
                let (operand, types) = self.expression(operand, scope)?;
                let id = self.named_type(name)?;
                let narrowed = narrowed(&types, id, *is_test, &name.span)?;
                let types = if *is_test { Types::of(TypeId::BOOLEAN) } else { narrowed };
                (Expression::Type(*is_test, Box::new(operand), id, tree.span.clone()), types)
            }
            Kind::Binary(operator, written_left, written_right) => {
                let (left, left_types) = self.expression(written_left, scope)?;
                let (right, right_types) = self.expression(written_right, scope)?;
                let types = binary_types(*operator, &left_types, &right_types, &tree.span)?;
                let sides = [(&**written_left, &left_types), (&**written_right, &right_types)];
                for remark in expect::of_operands(*operator, sides, self.source) {
                    self.remark(Some(remark));
                }
                (Expression::Binary(*operator, Box::new((left, right)), tree.span.clone()), types)
            }
            Kind::Chain(first, steps) => self.chain(first.as_deref(), steps, scope)?,
        })
    }

    fn variable(&mut self, name: &str, span: &Span, scope: &Scope<'_>) -> Result<Typed, PathError> {
        match (name, scope.total) {
            ("this", _) => Ok((Expression::This, scope.this.clone())),
            ("index", _) if scope.is_each => Ok((Expression::Index, Types::of(TypeId::INTEGER))),
            ("total", Some(total)) => Ok((Expression::Total, total.clone())),
            ("index", _) => {
                Err(error(span, "$index has a meaning only inside a function that asks each node, as where()"))
            }
            _ => Err(error(span, "$total has a meaning only inside aggregate()")),
        }
    }

    fn chain(&mut self, first: Option<&Tree>, steps: &[WrittenStep], scope: &Scope<'_>) -> Result<Typed, PathError> {
        let mut steps = steps.iter();
        let (mut expression, mut types) = match first {
            Some(first) => self.expression(first, scope)?,
            None => (Expression::This, scope.this.clone()),
        };
        // A path that begins with the name of a resource type asks that resource of the unit.
        if let (None, Some(WrittenStep { kind: StepKind::Member(name), span })) = (first, steps.as_slice().first())
            && name.starts_with(|letter: char| letter.is_ascii_uppercase())
        {
            let id = Dictionary::standard().named(name).filter(|id| Dictionary::standard().is_resource(*id));
            let Some(id) = id else {
                let all = Dictionary::standard().type_names();
                let known = all.filter(|name| Types::resource(name).is_some());
                return Err(error(span, format!("FHIR has no resource type {name}")).like(name, known));
            };
            (expression, types) = (Expression::Root(id), Types::of(id));
            self.roots.push((id, span.clone()));
            steps.next();
        }
        let mut compiled = Vec::with_capacity(steps.len());
        for step in steps {
            match &step.kind {
                StepKind::Member(name) => {
                    self.remark(expect::of_version(&types, name, &step.span));
                    types = self.member(name, &step.span, &types)?;
                    let elements = Dictionary::standard().elements_named(name);
                    let (name, sibling) = (name.as_str().into(), format!("_{name}").into());
                    compiled.push(Step::Member(Member { name, sibling, elements }));
                }
                StepKind::Index(index) => {
                    let (index, index_types) = self.expression(index, scope)?;
                    must_be(&index_types, &step.span, "a whole number", |id| shape(id) == Shape::Integer)?;
                    self.remark(expect::of_index(&index, &step.span));
                    types = types.each();
                    compiled.push(Step::Index(index, step.span.clone()));
                }
                StepKind::Call(name, arguments) => {
                    let (call, result) = self.call(name, arguments, &step.span, &types, scope)?;
                    types = result;
                    compiled.push(Step::Call(Box::new(call)));
                }
            }
        }
        let expression =
            if compiled.is_empty() { expression } else { Expression::Chain(Box::new(expression), compiled.into()) };
        Ok((expression, types))
    }

    fn member(&mut self, name: &str, span: &Span, types: &Types) -> Result<Types, PathError> {
        let (found, is_missing) = types.member(name);
        // At the start of a path whose place is not known, there is still no element that FHIR has nowhere. Resources that are known in part
        // have others.
        let is_nowhere = || {
            types.kinds.is_empty()
                && types.open.as_deref() == Some("")
                && name != RESOURCE_TYPE
                && Dictionary::standard().elements_named(name).is_empty()
        };
        if is_missing || (types.is_open() && (expect::is_function_without_parentheses(name) || is_nowhere())) {
            return Err(missing(name, span, types));
        }
        self.mentioned.extend(found.paths().map(str::to_owned));
        Ok(found)
    }

    /// Of a URL that is known, no other extensions are asked for.
    fn extension(&mut self, arguments: &[Expression], span: &Span, types: &Types) -> Result<Types, PathError> {
        let Some(Expression::Literal(Atom::String(url))) = arguments.first() else {
            return self.member("extension", span, types);
        };
        let (found, is_missing) = types.member("extension");
        if is_missing {
            return Err(missing("extension", span, types));
        }
        self.remark(expect::of_extension_url(url, span, types));
        let found = found.extensions_of(url);
        self.mentioned.extend(found.paths().map(str::to_owned));
        Ok(found)
    }

    fn named_type(&self, name: &TypeName) -> Result<TypeId, PathError> {
        let dictionary = Dictionary::standard();
        let plain = name.name.strip_prefix("FHIR.").unwrap_or(&name.name);
        let found = match plain {
            // FHIR's own primitives are written small.
            "Boolean" | "String" | "Integer" | "Decimal" | "Date" | "DateTime" | "Time" if plain == name.name => {
                dictionary.named(&format!("System.{plain}"))
            }
            _ => dictionary.named(plain).filter(|id| !id.is_system() || plain == name.name),
        };
        found.ok_or_else(|| {
            error(&name.span, format!("FHIR has no type {}", name.name)).like(plain, dictionary.type_names())
        })
    }

    fn call(
        &mut self,
        name: &str,
        written: &[Tree],
        span: &Span,
        input: &Types,
        scope: &Scope<'_>,
    ) -> Result<(Call, Types), PathError> {
        let found = FUNCTIONS.iter().find(|(known, ..)| *known == name);
        let Some((_, function, least, most, how, yields)) = found.copied() else {
            return Err(match LEFT_OUT.iter().find(|(known, _)| *known == name) {
                Some((_, reason)) => error(span, format!("{name}() is not supported: {reason}")),
                None => error(span, format!("there is no function {name}()"))
                    .like(name, FUNCTIONS.iter().map(|(known, ..)| *known)),
            });
        };
        if !(least..=most).contains(&written.len()) {
            let wanted = match (least, most) {
                (0, 0) => "no argument".to_owned(),
                (least, most) if least == most => format!("{least} argument{}", if least == 1 { "" } else { "s" }),
                (least, most) => format!("{least} to {most} arguments"),
            };
            return Err(error(span, format!("{name}() takes {wanted}, not {}", written.len())));
        }
        let mut call = Call { function, arguments: Box::default(), kind: None, regex: None, span: span.clone() };
        if how == Argument::Type {
            let types = self.typed_call(&mut call, written, yields, input)?;
            return Ok((call, types));
        }
        expect::input(function, name, input, span)?;
        self.remark(expect::one_input(function, name, input, span));
        let item = input.clone().each();
        let mut arguments = Vec::with_capacity(written.len());
        let mut argument_types = Vec::with_capacity(written.len());
        for (index, tree) in written.iter().enumerate() {
            // aggregate()'s start and skip()'s number are of the focus.
            let is_each = how == Argument::Each && !(function == Function::Aggregate && index == 1);
            let (argument, types) = match (is_each, function) {
                (false, _) => self.expression(tree, scope)?,
                (true, Function::Repeat) => self.repeated(tree, input, scope)?,
                (true, Function::Aggregate) => {
                    let total = Types::any();
                    let inner = Scope { context: scope.context, this: &item, total: Some(&total), is_each: true };
                    self.expression(tree, &inner)?
                }
                (true, _) => {
                    // iif() asks its input as a whole.
                    let this = if function == Function::Iif { input } else { &item };
                    let inner = Scope { context: scope.context, this, total: scope.total, is_each: true };
                    self.expression(tree, &inner)?
                }
            };
            expect::argument(function, name, index, &types, &tree.span)?;
            if is_each
                && index == 0
                && matches!(function, Function::Iif | Function::All | Function::Where | Function::Exists)
            {
                condition(&types, tree, name)?;
            }
            arguments.push(argument);
            argument_types.push(types);
        }
        if matches!(function, Function::Matches | Function::MatchesFull | Function::ReplaceMatches)
            && let (Some(Expression::Literal(Atom::String(pattern))), Some(tree)) = (arguments.first(), written.first())
        {
            call.regex = Some(regex(pattern, function).map_err(|problem| error(&tree.span, problem))?);
        }
        let types = match yields {
            Yields::Input => match function {
                // What was chosen is as many as the author means.
                Function::Where | Function::First | Function::Last | Function::Single | Function::Take => item,
                _ => input.clone(),
            },
            Yields::Argument => {
                let selected = argument_types.pop().unwrap_or_else(Types::none);
                Types { several: selected.several || input.several, ..selected }
            }
            Yields::Both => argument_types.iter().fold(input.clone(), Types::or),
            Yields::System(id) => Types::of(id),
            Yields::Special => match function {
                Function::Iif => argument_types.iter().skip(1).fold(Types::none(), Types::or),
                Function::Repeat => argument_types.pop().unwrap_or_else(Types::none),
                Function::Abs | Function::GetValue => input.clone(),
                Function::Resolve => input.resolved(),
                Function::Extension => self.extension(&arguments, span, input)?.each(),
                _ => Types::any(),
            },
        };
        call.arguments = arguments.into();
        Ok((call, types))
    }

    /// `is`, `as`, `ofType`, `getReferenceKey`.
    fn typed_call(
        &mut self,
        call: &mut Call,
        written: &[Tree],
        yields: Yields,
        input: &Types,
    ) -> Result<Types, PathError> {
        let Some(tree) = written.first() else { return Ok(Types::of(TypeId::STRING)) };
        let expected = || error(&tree.span, "expected the name of a type, as Quantity");
        let name = type_argument(tree).ok_or_else(expected)?;
        let id = self.named_type(&name)?;
        call.kind = Some(id);
        match (call.function, yields) {
            (Function::GetReferenceKey, _) => Ok(Types::of(TypeId::STRING)),
            (Function::Is, _) => narrowed(input, id, true, &name.span).map(|_| Types::of(TypeId::BOOLEAN)),
            _ => narrowed(input, id, false, &name.span),
        }
    }

    /// What repeat() asks again is what it found: types are followed until no new ones come.
    fn repeated(&mut self, tree: &Tree, input: &Types, scope: &Scope<'_>) -> Result<Typed, PathError> {
        let mut this = input.clone().each();
        for _ in 0..4 {
            let inner = Scope { context: scope.context, this: &this, total: scope.total, is_each: true };
            let (expression, types) = self.expression(tree, &inner)?;
            let next = this.clone().or(&types);
            let no_new = next.kinds.iter().all(|(id, _)| this.kinds.iter().any(|(known, _)| known == id));
            if no_new && next.is_open() == this.is_open() {
                return Ok((expression, types));
            }
            this = next.each();
        }
        let any = Types::any();
        self.expression(tree, &Scope { context: scope.context, this: &any, total: scope.total, is_each: true })
    }
}

fn constant(name: &str, span: &Span, scope: &Scope<'_>) -> Result<Typed, PathError> {
    let text = |text: &str| {
        let atom = Atom::String(text.to_owned().into());
        (Expression::Literal(atom), Types::of(TypeId::STRING))
    };
    Ok(match name {
        "context" => (Expression::Context, scope.context.clone()),
        "resource" | "rootResource" => {
            let dictionary = Dictionary::standard();
            let is_resource = scope.context.kinds.iter().all(|(id, _)| dictionary.is_resource(*id));
            let types = if is_resource { scope.context.clone() } else { Types::any() };
            (Expression::Resource, types)
        }
        "ucum" => text("http://unitsofmeasure.org"),
        "sct" => text("http://snomed.info/sct"),
        "loinc" => text("http://loinc.org"),
        _ => match (name.strip_prefix("vs-"), name.strip_prefix("ext-")) {
            (Some(name), _) => text(&format!("http://hl7.org/fhir/ValueSet/{name}")),
            (_, Some(name)) => text(&format!("http://hl7.org/fhir/StructureDefinition/{name}")),
            _ => {
                let known = ["context", "resource", "rootResource", "ucum", "sct", "loinc"];
                return Err(error(span, format!("there is no %{name}")).like(name, known));
            }
        },
    })
}

pub(super) fn regex(pattern: &str, function: Function) -> Result<Regex, String> {
    if pattern.len() > limits::PATH_BYTES {
        return Err("this regular expression is too long".to_owned());
    }
    let whole = match function {
        Function::MatchesFull => format!("^(?:{pattern})$"),
        _ => pattern.to_owned(),
    };
    let built = RegexBuilder::new(&whole).dot_matches_new_line(true).size_limit(REGEX_BYTES).build();
    built.map_err(|problem| format!("this is no regular expression that can be used: {problem}"))
}
