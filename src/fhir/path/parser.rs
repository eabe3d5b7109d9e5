//! From words to a tree, by FHIRPath's grammar and precedence. Says nothing of what names mean.

use super::PathError;
use super::lexer::{Quoted, Token, Word, words};
use super::limits;
use super::moment::{Moment, Unit};
use super::value::{Atom, QuantityUnit};
use crate::fhir::decimal::Decimal;
use std::borrow::Cow;
use std::ops::Range;

pub(super) type Span = Range<usize>;

/// An expression as it is written.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) kind: Kind,
    pub(super) span: Span,
    depth: usize,
}

#[derive(Debug)]
pub(super) enum Kind {
    Literal(Atom<'static>),
    /// `{}`
    Empty,
    Variable(String),
    Constant(String),
    /// What the first is asked for, one step after the other. Without a first it is asked of the focus.
    Chain(Option<Box<Tree>>, Vec<Step>),
    Sign(bool, Box<Tree>),
    Binary(Operator, Box<Tree>, Box<Tree>),
    /// `is` (true) or `as`, and the type.
    Type(bool, Box<Tree>, TypeName),
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) kind: StepKind,
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) enum StepKind {
    Member(String),
    Call(String, Vec<Tree>),
    Index(Tree),
}

#[derive(Debug)]
pub(super) struct TypeName {
    pub(super) name: String,
    pub(super) span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Implies,
    Or,
    Xor,
    And,
    In,
    Contains,
    Equal,
    NotEqual,
    Equivalent,
    NotEquivalent,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Union,
    Plus,
    Minus,
    Concatenate,
    Times,
    Divide,
    Div,
    Mod,
}

/// How strongly operators bind; FHIRPath 8, "Precedence", from its last row to its first.
const TYPE_BINDS: u8 = 8;
const SIGN_BINDS: u8 = 11;

fn operator(word: &Word) -> Option<(Operator, u8)> {
    use Operator::*;
    let text = match word {
        Word::Symbol(symbol) => symbol,
        Word::Name(name, Quoted::No) => name.as_str(),
        _ => return None,
    };
    Some(match text {
        "implies" => (Implies, 1),
        "or" => (Or, 2),
        "xor" => (Xor, 2),
        "and" => (And, 3),
        "in" => (In, 4),
        "contains" => (Contains, 4),
        "=" => (Equal, 5),
        "!=" => (NotEqual, 5),
        "~" => (Equivalent, 5),
        "!~" => (NotEquivalent, 5),
        "<" => (Less, 6),
        "<=" => (LessOrEqual, 6),
        ">" => (Greater, 6),
        ">=" => (GreaterOrEqual, 6),
        "|" => (Union, 7),
        "+" => (Plus, 9),
        "-" => (Minus, 9),
        "&" => (Concatenate, 9),
        "*" => (Times, 10),
        "/" => (Divide, 10),
        "div" => (Div, 10),
        "mod" => (Mod, 10),
        _ => return None,
    })
}

pub(super) fn parse(source: &str) -> Result<Tree, PathError> {
    if source.len() > limits::PATH_BYTES {
        let problem = format!("a path may have at most {} bytes", limits::PATH_BYTES);
        let end = (0..=limits::PATH_BYTES).rev().find(|end| source.is_char_boundary(*end)).unwrap_or(0);
        return Err(PathError::new(end, source.len() - end, problem));
    }
    let tokens = words(source)?;
    let mut parser = Parser { tokens, position: 0, depth: 0 };
    let tree = parser.expression(0)?;
    match parser.peek() {
        Word::End => Ok(tree),
        _ => Err(parser.unexpected()),
    }
}

/// Words that join expressions, for who misspells one.
const JOINING: [&str; 11] = ["and", "or", "xor", "implies", "in", "contains", "is", "as", "div", "mod", "not"];

struct Parser {
    tokens: Vec<Token>,
    position: usize,
    depth: usize,
}

impl Parser {
    fn token(&self) -> Option<&Token> {
        self.tokens.get(self.position).or(self.tokens.last())
    }

    fn peek(&self) -> &Word {
        self.token().map_or(&Word::End, |token| &token.word)
    }

    fn peek_after(&self) -> &Word {
        self.tokens.get(self.position + 1).map_or(&Word::End, |token| &token.word)
    }

    fn span(&self) -> Span {
        self.token().map_or(0..0, |token| token.start..token.end)
    }

    /// Where the last word ended.
    fn end(&self) -> usize {
        self.position.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(0, |token| token.end)
    }

    fn next(&mut self) -> Word {
        let word = self.peek().clone();
        self.position += 1;
        word
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Word::Symbol(found) if *found == symbol)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let taken = self.is(symbol);
        if taken {
            self.position += 1;
        }
        taken
    }

    fn problem(&self, problem: impl Into<String>) -> PathError {
        let span = self.span();
        PathError::new(span.start, span.len(), problem)
    }

    fn expect(&mut self, symbol: &str) -> Result<(), PathError> {
        if self.take(symbol) {
            return Ok(());
        }
        let error = self.problem(format!("expected {symbol}"));
        Err(match self.peek() {
            Word::Symbol(",") => error.hint("a list is written with |, as in ('a' | 'b')"),
            Word::Name(..) => self.unexpected(),
            _ => error,
        })
    }

    /// What stands where an operator or the end was expected.
    fn unexpected(&self) -> PathError {
        let error = self.problem("expected an operator or the end of the path");
        let before = self.position.checked_sub(1).and_then(|before| self.tokens.get(before)).map(|token| &token.word);
        match (before, self.peek()) {
            (Some(Word::Name(name, Quoted::No)), _) if name.eq_ignore_ascii_case("not") => {
                error.hint("not stands behind what it denies: (…).not()")
            }
            (_, Word::Name(name, Quoted::No)) if name == "not" => {
                error.hint("not stands behind what it denies, as in (status in ('a' | 'b')).not()")
            }
            (_, Word::Name(name, Quoted::No)) => error.like(name, JOINING),
            _ => error,
        }
    }

    fn tree(&self, kind: Kind, start: usize, depth: usize) -> Result<Tree, PathError> {
        let span = start..self.end();
        if depth > limits::DEPTH {
            let problem = format!("expressions are nested more than {} deep here", limits::DEPTH);
            return Err(PathError::new(span.start, span.len(), problem));
        }
        Ok(Tree { kind, span, depth })
    }

    fn expression(&mut self, binds: u8) -> Result<Tree, PathError> {
        self.depth += 1;
        if self.depth > limits::DEPTH {
            return Err(self.problem(format!("expressions are nested more than {} deep here", limits::DEPTH)));
        }
        let tree = self.operators(binds);
        self.depth -= 1;
        tree
    }

    fn operators(&mut self, binds: u8) -> Result<Tree, PathError> {
        let start = self.span().start;
        let mut left = self.signed()?;
        loop {
            if let Word::Name(name, Quoted::No) = self.peek()
                && matches!(name.as_str(), "is" | "as")
            {
                if TYPE_BINDS <= binds {
                    return Ok(left);
                }
                let is_test = name == "is";
                self.position += 1;
                let name = self.type_name()?;
                let depth = left.depth + 1;
                left = self.tree(Kind::Type(is_test, Box::new(left), name), start, depth)?;
                continue;
            }
            let Some((operator, strength)) = operator(self.peek()).filter(|(_, strength)| *strength > binds) else {
                return Ok(left);
            };
            self.position += 1;
            let right = self.expression(strength)?;
            let depth = left.depth.max(right.depth) + 1;
            left = self.tree(Kind::Binary(operator, Box::new(left), Box::new(right)), start, depth)?;
        }
    }

    fn signed(&mut self) -> Result<Tree, PathError> {
        let start = self.span().start;
        let negative = match self.peek() {
            Word::Symbol("-") => true,
            Word::Symbol("+") => false,
            _ => return self.chain(),
        };
        self.position += 1;
        let operand = self.expression(SIGN_BINDS)?;
        let depth = operand.depth + 1;
        self.tree(Kind::Sign(negative, Box::new(operand)), start, depth)
    }

    /// A term, and what it is asked for.
    fn chain(&mut self) -> Result<Tree, PathError> {
        let start = self.span().start;
        let (first, mut steps) = match self.peek() {
            Word::Name(name, quoted) if *quoted == Quoted::Yes || !matches!(name.as_str(), "true" | "false") => {
                (None, vec![self.invocation()?])
            }
            _ => (Some(Box::new(self.term()?)), Vec::new()),
        };
        loop {
            let span = self.span();
            if self.take(".") {
                steps.push(self.invocation()?);
            } else if self.take("[") {
                let index = self.expression(0)?;
                self.expect("]")?;
                steps.push(Step { kind: StepKind::Index(index), span: span.start..self.end() });
            } else {
                break;
            }
        }
        if steps.is_empty()
            && let Some(first) = first
        {
            return Ok(*first);
        }
        let below = steps.iter().flat_map(|step| match &step.kind {
            StepKind::Call(_, arguments) => arguments.as_slice(),
            StepKind::Index(index) => std::slice::from_ref(index),
            StepKind::Member(_) => &[],
        });
        let depth = below.chain(first.as_deref()).map(|tree| tree.depth).max().unwrap_or(0) + 1;
        self.tree(Kind::Chain(first, steps), start, depth)
    }

    fn invocation(&mut self) -> Result<Step, PathError> {
        let span = self.span();
        let name = match self.peek() {
            Word::Name(name, Quoted::No)
                if matches!(name.as_str(), "and" | "or" | "xor" | "implies" | "div" | "mod" | "true" | "false") =>
            {
                return Err(
                    self.problem(format!("expected a name; as a name, {name} is written `{name}` in backquotes"))
                );
            }
            Word::Name(name, _) => name.clone(),
            _ => return Err(self.problem("expected the name of an element or function")),
        };
        self.position += 1;
        let kind = if self.take("(") {
            let mut arguments = Vec::new();
            if !self.is(")") {
                arguments.push(self.expression(0)?);
                while self.take(",") {
                    arguments.push(self.expression(0)?);
                }
            }
            self.expect(")")?;
            StepKind::Call(name, arguments)
        } else {
            StepKind::Member(name)
        };
        Ok(Step { kind, span: span.start..span.end })
    }

    fn term(&mut self) -> Result<Tree, PathError> {
        let span = self.span();
        let invalid = |problem: &str| PathError::new(span.start, span.len(), problem);
        let kind = match self.next() {
            Word::Symbol("(") => {
                let mut tree = self.expression(0)?;
                self.expect(")")?;
                tree.span = span.start..self.end();
                tree.depth += 1;
                return self.tree(tree.kind, span.start, tree.depth);
            }
            Word::Symbol("{") => {
                self.expect("}")?;
                Kind::Empty
            }
            Word::Name(name, _) => Kind::Literal(Atom::Boolean(name == "true")),
            Word::Text(text) => Kind::Literal(Atom::String(Cow::Owned(text))),
            Word::Number(number) => Kind::Literal(self.number(&number, &span)?),
            Word::Date(text) => {
                let moment = Moment::date(&text)
                    .ok_or_else(|| invalid("there is no such date; dates are written @2015-02-04"))?;
                Kind::Literal(Atom::Date(moment))
            }
            Word::DateTime(text) => {
                let moment = Moment::date_time(&text).ok_or_else(|| {
                    invalid("there is no such point in time; they are written @2015-02-04T14:34:00+09:00")
                })?;
                Kind::Literal(Atom::DateTime(moment))
            }
            Word::Time(text) => {
                let moment = Moment::time(&text)
                    .ok_or_else(|| invalid("there is no such time of day; they are written @T14:34"))?;
                Kind::Literal(Atom::Time(moment))
            }
            Word::Constant(name) => Kind::Constant(name),
            Word::Variable(name) if matches!(name.as_str(), "this" | "index" | "total") => Kind::Variable(name),
            Word::Variable(_) => return Err(invalid("there are $this, $index and $total")),
            Word::End => return Err(invalid("the path ends where an expression was expected")),
            Word::Symbol("[") => {
                return Err(invalid("expected an expression here").hint("a list is written ('a' | 'b')"));
            }
            Word::Symbol(_) => return Err(invalid("expected an expression here")),
        };
        self.tree(kind, span.start, 1)
    }

    /// A number, or a quantity if a unit follows.
    fn number(&mut self, number: &str, span: &Span) -> Result<Atom<'static>, PathError> {
        let too_large = || PathError::new(span.start, span.len(), "this number is too large");
        let decimal = Decimal::parse(number).ok_or_else(too_large)?;
        let unit = match self.peek() {
            Word::Text(unit) => Some(QuantityUnit::Code(Cow::Owned(unit.clone()))),
            Word::Name(name, Quoted::No) if name.len() > 2 && !matches!(self.peek_after(), Word::Symbol("(")) => {
                Unit::named(name).filter(|unit| name.trim_end_matches('s') == unit.name()).map(QuantityUnit::Calendar)
            }
            _ => None,
        };
        if let Some(unit) = unit {
            self.position += 1;
            return Ok(Atom::Quantity(decimal, unit));
        }
        if number.contains('.') {
            return Ok(Atom::Decimal(decimal));
        }
        let whole = decimal.to_integer().filter(|whole| *whole <= i64::from(i32::MAX) + 1).ok_or_else(too_large)?;
        Ok(Atom::Integer(whole))
    }

    fn type_name(&mut self) -> Result<TypeName, PathError> {
        let span = self.span();
        let mut name = match self.peek() {
            Word::Name(name, _) => name.clone(),
            _ => return Err(self.problem("expected the name of a type, as Quantity")),
        };
        self.position += 1;
        // The whole of a qualified name; a function behind it is no part of it.
        while self.is(".") && matches!(name.as_str(), "FHIR" | "System") {
            self.position += 1;
            let Word::Name(part, _) = self.peek().clone() else {
                return Err(self.problem("expected the name of a type, as FHIR.Quantity"));
            };
            self.position += 1;
            name = format!("{name}.{part}");
        }
        Ok(TypeName { name, span: span.start..self.end() })
    }
}

/// The type that an argument names: `Quantity`, `FHIR.Quantity`.
pub(super) fn type_argument(tree: &Tree) -> Option<TypeName> {
    let Kind::Chain(None, steps) = &tree.kind else { return None };
    let mut name = String::new();
    for step in steps {
        let StepKind::Member(part) = &step.kind else { return None };
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(part);
    }
    Some(TypeName { name, span: tree.span.clone() })
}
