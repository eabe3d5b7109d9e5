//! Conditions: `PV1 and MSH-9.2 not in ['A28', 'A31', 'A40']`.
//!
//! ```text
//! or        = and { "or" and }
//! and       = not { "and" not }
//! not       = "not" not | "(" or ")" | "true" | "false" | test
//! test      = segment | path [ ("=" | "!=") text | ["not"] "in" "[" text { "," text } "]" | "is" kind ]
//! kind      = "number" | "resident_id"
//! text      = "'" … "'" | '"' … '"'
//! ```
//!
//! A path alone asks for a value there, a segment name alone for the segment. A path with several values (`PID-3[*].5`)
//! holds for `=` and `in` if one of them does; `!=` and `not in` are their opposites, so an absent value is unequal to all.
//! Parsed at load; there is nothing that can fail afterwards.

use std::ops::Range;

use super::{coerce, meant};
use crate::hl7v2::{Path, Resolved, Scope, Value};
use crate::record::resident_id::ResidentId;

/// Deepest nesting of parentheses and `not`, so that no file can exhaust the stack.
const MAX_DEPTH: usize = 32;

/// A condition, ready to be asked.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    /// `true`, `false`.
    Constant(bool),
    /// The scope has such a segment.
    Segment(String),
    /// There is a value.
    Valued(Path),
    /// One of the values is one of these.
    OneOf(Path, Vec<String>),
    /// One of the values is such a thing.
    Is(Path, IsKind),
    /// The opposite.
    Not(Box<Expression>),
    /// All of them.
    All(Vec<Expression>),
    /// One of them.
    Any(Vec<Expression>),
}

/// What `is` can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsKind {
    /// A number as a whole.
    Number,
    /// A resident identity number with a right check digit.
    ResidentId,
}

/// What is wrong with a condition, and where in its text (bytes).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct ExpressionError {
    pub(crate) span: Range<usize>,
    pub(crate) text: String,
    /// What was probably meant; empty if that is not known.
    pub(crate) hint: String,
}

/// A path or segment of a condition and what it is compared with, with their places in the text (bytes).
#[derive(Debug, Clone)]
pub(crate) struct Mention {
    pub(crate) path: Path,
    pub(crate) span: Range<usize>,
    pub(crate) values: Vec<(String, Range<usize>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `PV1`, `PID-3[5=PI].1`.
    Path(String),
    /// `and`, `or`, `not`, `in`, `is`, `true`, `false`, a kind.
    Word(String),
    /// A quoted text.
    Text(String),
    /// `=`, `!=`, `(`, `)`, `[`, `]`, `,`.
    Mark(&'static str),
    /// The end of the text.
    End,
}

impl Expression {
    /// Parses a condition.
    pub(crate) fn parse(text: &str) -> Result<Self, ExpressionError> {
        Self::parse_with_mentions(text).map(|(expression, _)| expression)
    }

    /// Parses a condition and tells what it mentions, in order.
    pub(crate) fn parse_with_mentions(text: &str) -> Result<(Self, Vec<Mention>), ExpressionError> {
        let (tokens, unreadable) = tokens(text);
        let mut parser = Parser { source: text, tokens, position: 0, mentions: Vec::new() };
        let parsed = parser.any(0).and_then(|expression| match parser.next() {
            (Token::End, _) => Ok(expression),
            (token, span) => Err(parser.unexpected(&token, span, "expected and, or, or the end of the condition")),
        });
        match (parsed, unreadable) {
            // A quote that is missing shows as a quote too many at the end: what is wrong before it is the cause.
            (Err(problem), Some(unreadable)) if problem.span.start < unreadable.span.start => Err(problem),
            (_, Some(unreadable)) => Err(unreadable),
            (parsed, None) => parsed.map(|expression| (expression, parser.mentions)),
        }
    }

    /// Asks the condition in a scope.
    pub(crate) fn holds(&self, scope: &Scope<'_>) -> bool {
        match self {
            Self::Constant(truth) => *truth,
            Self::Segment(name) => scope.segment(name).is_some(),
            Self::Valued(path) => any_value(path, scope, |_| true),
            Self::OneOf(path, texts) => any_value(path, scope, |value| {
                let found = value.text();
                texts.iter().any(|text| *text == found)
            }),
            Self::Is(path, IsKind::Number) => {
                any_value(path, scope, |value| coerce::number::decimal(&value.text()).is_some())
            }
            Self::Is(path, IsKind::ResidentId) => {
                any_value(path, scope, |value| ResidentId::read(&value.text()).is_some())
            }
            Self::Not(inner) => !inner.holds(scope),
            Self::All(parts) => parts.iter().all(|part| part.holds(scope)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(scope)),
        }
    }
}

impl Expression {
    /// Hands every path in it to `visit`.
    pub(crate) fn each_path(&self, visit: &mut dyn FnMut(&Path)) {
        match self {
            Self::Constant(_) | Self::Segment(_) => {}
            Self::Valued(path) | Self::OneOf(path, _) | Self::Is(path, _) => visit(path),
            Self::Not(inner) => inner.each_path(visit),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each_path(visit)),
        }
    }
}

fn any_value(path: &Path, scope: &Scope<'_>, test: impl Fn(Value<'_>) -> bool) -> bool {
    if path.is_plural() {
        path.resolve_all(scope).into_iter().filter_map(Resolved::value).any(test)
    } else {
        path.resolve(scope).value().is_some_and(test)
    }
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<(Token, Range<usize>)>,
    position: usize,
    mentions: Vec<Mention>,
}

impl Parser<'_> {
    fn any(&mut self, depth: usize) -> Result<Expression, ExpressionError> {
        let mut parts = vec![self.all(depth)?];
        while self.take_word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(single_or(parts, Expression::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Expression, ExpressionError> {
        let mut parts = vec![self.not(depth)?];
        while self.take_word("and") {
            parts.push(self.not(depth)?);
        }
        Ok(single_or(parts, Expression::All))
    }

    fn not(&mut self, depth: usize) -> Result<Expression, ExpressionError> {
        let (token, span) = self.next();
        if depth > MAX_DEPTH {
            return Err(error(span, "the condition is nested too deeply"));
        }
        match token {
            Token::Word(word) if word == "not" => Ok(Expression::Not(Box::new(self.not(depth + 1)?))),
            Token::Word(word) if word == "true" || word == "false" => Ok(Expression::Constant(word == "true")),
            Token::Mark("(") => {
                let inner = self.any(depth + 1)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Path(path) if !meant::WORDS.contains(&path.to_lowercase().as_str()) => self.test(&path, span),
            token => Err(self.unexpected(&token, span, "expected a path like PV1-2 or a segment like PV1")),
        }
    }

    /// A problem with a token, and what was probably meant by it.
    fn unexpected(&self, token: &Token, span: Range<usize>, text: &str) -> ExpressionError {
        let rest = self.source.get(span.start..).unwrap_or_default();
        let hint = match token {
            Token::Path(word) | Token::Word(word) => meant::hint_of_word(word, rest),
            _ => None,
        };
        ExpressionError { hint: hint.unwrap_or_default(), ..error(span, text) }
    }

    fn test(&mut self, written: &str, span: Range<usize>) -> Result<Expression, ExpressionError> {
        let path = Path::parse(written).map_err(|problem| {
            let start = (span.start + problem.offset).min(span.end);
            let hint = match written.rsplit('.').next() {
                Some(word) if word.starts_with(|first: char| first.is_ascii_lowercase()) => {
                    meant::hint_of_word(word, word).unwrap_or_default()
                }
                _ => meant::hint_of_path(written),
            };
            ExpressionError { span: start..span.end, text: problem.to_string(), hint }
        })?;
        self.mentions.push(Mention { path: path.clone(), span, values: Vec::new() });
        if written.len() == 3 {
            return Ok(Expression::Segment(written.to_owned()));
        }
        if self.take_mark("=") {
            return Ok(Expression::OneOf(path, vec![self.text()?]));
        }
        if self.take_mark("!=") {
            return Ok(Expression::Not(Box::new(Expression::OneOf(path, vec![self.text()?]))));
        }
        if self.take_word("is") {
            let (token, span) = self.next();
            return match token {
                Token::Word(word) if word == "number" => Ok(Expression::Is(path, IsKind::Number)),
                Token::Word(word) if word == "resident_id" => Ok(Expression::Is(path, IsKind::ResidentId)),
                token => Err(self.unexpected(&token, span, "after is comes number or resident_id")),
            };
        }
        if self.take_word("in") {
            return Ok(Expression::OneOf(path, self.texts()?));
        }
        if self.take_word("not") {
            let (token, span) = self.next();
            if token != Token::Word("in".to_owned()) {
                let hint = "what is denied as a whole is written not PV1-2 = 'I'".to_owned();
                return Err(ExpressionError { hint, ..error(span, "after a path, not is followed by in") });
            }
            return Ok(Expression::Not(Box::new(Expression::OneOf(path, self.texts()?))));
        }
        Ok(Expression::Valued(path))
    }

    fn texts(&mut self) -> Result<Vec<String>, ExpressionError> {
        self.expect("[")?;
        let mut texts = vec![self.text()?];
        while self.take_mark(",") {
            texts.push(self.text()?);
        }
        self.expect("]")?;
        Ok(texts)
    }

    /// A text that the path before it is compared with.
    fn text(&mut self) -> Result<String, ExpressionError> {
        match self.next() {
            (Token::Text(text), span) => {
                if let Some(mention) = self.mentions.last_mut() {
                    mention.values.push((text.clone(), span));
                }
                Ok(text)
            }
            (_, span) => {
                let rest = self.source.get(span.start..).unwrap_or_default();
                let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
                let hint = if length == 0 { String::new() } else { format!("write '{}'", &rest[..length]) };
                Err(ExpressionError { hint, ..error(span, "expected a text in quotes, like 'A01'") })
            }
        }
    }

    fn expect(&mut self, mark: &'static str) -> Result<(), ExpressionError> {
        match self.next() {
            (Token::Mark(found), _) if found == mark => Ok(()),
            (Token::Word(word), span) => Err(self.unexpected(&Token::Word(word), span, &format!("expected {mark}"))),
            (_, span) => {
                let hint = if mark == "[" { "a list is written ['A01', 'A04']".to_owned() } else { String::new() };
                Err(ExpressionError { hint, ..error(span, &format!("expected {mark}")) })
            }
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let taken = matches!(&self.tokens[self.position].0, Token::Word(found) if found == word);
        self.position += usize::from(taken);
        taken
    }

    fn take_mark(&mut self, mark: &str) -> bool {
        let taken = matches!(self.tokens[self.position].0, Token::Mark(found) if found == mark);
        self.position += usize::from(taken);
        taken
    }

    /// The next token; the end repeats.
    fn next(&mut self) -> (Token, Range<usize>) {
        let token = self.tokens[self.position].clone();
        self.position = (self.position + 1).min(self.tokens.len() - 1);
        token
    }
}

fn single_or(mut parts: Vec<Expression>, all: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => all(parts),
    }
}

fn error(span: Range<usize>, text: &str) -> ExpressionError {
    ExpressionError { span, text: text.to_owned(), hint: String::new() }
}

/// The tokens of a condition as far as it can be read, and why not further.
fn tokens(text: &str) -> (Vec<(Token, Range<usize>)>, Option<ExpressionError>) {
    let mut tokens = Vec::new();
    let mut position = 0;
    let mut unreadable = None;
    while let Some(first) = text[position..].chars().next() {
        if first.is_whitespace() {
            position += first.len_utf8();
            continue;
        }
        match token(&text[position..], first) {
            Ok((token, length)) => {
                tokens.push((token, position..position + length));
                position += length;
            }
            Err((length, problem)) => {
                let hint = meant::hint_of_mark(&text[position..]).unwrap_or_default();
                unreadable = Some(ExpressionError { hint, ..error(position..position + length, problem) });
                break;
            }
        }
    }
    tokens.push((Token::End, position..text.len()));
    (tokens, unreadable)
}

/// The token that a text starts with, and how long it is; `Err`: how much of the text is none, and why.
fn token(text: &str, first: char) -> Result<(Token, usize), (usize, &'static str)> {
    const MARKS: &[&str] = &["!=", "=", "(", ")", "[", "]", ","];
    const FOREIGN: &[&str] = &["===", "!==", "==", "=~"];
    const UNKNOWN: &str = "not understood; conditions hold paths, quoted texts, =, !=, in, and, or, not";
    if let Some(mark) = FOREIGN.iter().find(|mark| text.starts_with(**mark)) {
        Err((mark.len(), UNKNOWN))
    } else if let Some(mark) = MARKS.iter().find(|mark| text.starts_with(**mark)) {
        Ok((Token::Mark(mark), mark.len()))
    } else if first == '\'' || first == '"' {
        // No code has a line break: a text that reaches the end of its line lacks its quote there, whatever the next line quotes.
        let line = text.lines().next().unwrap_or(text);
        let end = line[1..].find(first).ok_or((line.len(), "the text is not closed"))?;
        Ok((Token::Text(text[1..=end].to_owned()), end + 2))
    } else if first.is_ascii_uppercase() {
        let length = path_length(text);
        Ok((Token::Path(text[..length].to_owned()), length))
    } else if first.is_ascii_lowercase() {
        let is_part = |character: char| character.is_ascii_lowercase() || character == '_';
        let length = text.find(|character| !is_part(character)).unwrap_or(text.len());
        Ok((Token::Word(text[..length].to_owned()), length))
    } else {
        Err((first.len_utf8(), UNKNOWN))
    }
}

/// A path reaches over its predicates, blanks in brackets included: `PID-3[5 in PI,MR].1`.
fn path_length(text: &str) -> usize {
    let mut in_brackets = false;
    for (position, character) in text.char_indices() {
        match character {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            _ if in_brackets => {}
            '-' | '.' => {}
            _ if character.is_ascii_alphanumeric() => {}
            _ => return position,
        }
    }
    text.len()
}
