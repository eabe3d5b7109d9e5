//! The words of FHIRPath, each with the place that it stands at.

use super::PathError;
use crate::diagnostic::plain_character;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// A name, also one in backquotes. Operators that are words are names too.
    Name(String, Quoted),
    Text(String),
    Number(String),
    Date(String),
    DateTime(String),
    Time(String),
    /// `%name`
    Constant(String),
    /// `$this`
    Variable(String),
    Symbol(&'static str),
    End,
}

/// Whether a name was written in backquotes, and so is no operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoted {
    No,
    Yes,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) word: Word,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Longer ones first.
const SYMBOLS: [&str; 25] = [
    "<=", ">=", "!=", "!~", "(", ")", "[", "]", "{", "}", ".", ",", "=", "~", "<", ">", "+", "-", "*", "/", "&", "|",
    "!", ":", ";",
];

/// Operators of other languages, and what is written here. Longer ones first.
const FOREIGN: [(&str, &str); 6] =
    [("===", "="), ("==", "="), ("!==", "!="), ("<>", "!="), ("&&", "and"), ("||", "or")];

pub(super) fn words(source: &str) -> Result<Vec<Token>, PathError> {
    let mut lexer = Lexer { source, offset: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.blanks()?;
        let start = lexer.offset;
        let word = lexer.word()?;
        let is_end = word == Word::End;
        tokens.push(Token { word, start, end: lexer.offset });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    offset: usize,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.offset..).unwrap_or("")
    }

    fn problem<T>(&self, start: usize, problem: &str) -> Result<T, PathError> {
        Err(PathError::new(start, self.offset.saturating_sub(start).max(1), problem))
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'s str {
        let rest = self.rest();
        let length = rest.find(|letter| !wanted(letter)).unwrap_or(rest.len());
        self.offset += length;
        rest.get(..length).unwrap_or("")
    }

    fn take(&mut self, text: &str) -> bool {
        let taken = self.rest().starts_with(text);
        if taken {
            self.offset += text.len();
        }
        taken
    }

    fn blanks(&mut self) -> Result<(), PathError> {
        loop {
            self.take_while(|letter| matches!(letter, ' ' | '\t' | '\r' | '\n'));
            if self.take("//") {
                self.take_while(|letter| !matches!(letter, '\r' | '\n'));
            } else if self.rest().starts_with("/*") {
                let Some(length) = self.rest().get(2..).and_then(|rest| rest.find("*/")) else {
                    return self.problem(self.offset, "this comment has no end: expected */");
                };
                self.offset += length + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn word(&mut self) -> Result<Word, PathError> {
        let start = self.offset;
        let Some(first) = self.rest().chars().next() else { return Ok(Word::End) };
        match first {
            '\'' => Ok(Word::Text(self.quoted('\'')?)),
            '`' => Ok(Word::Name(self.quoted('`')?, Quoted::Yes)),
            '@' => self.moment(),
            '%' => {
                self.offset += 1;
                match self.rest().chars().next() {
                    Some(quote @ ('`' | '\'')) => Ok(Word::Constant(self.quoted(quote)?)),
                    _ => match self.take_while(is_name) {
                        "" => self.problem(start, "expected a name after %, as in %resource"),
                        name => Ok(Word::Constant(name.to_owned())),
                    },
                }
            }
            '$' => {
                self.offset += 1;
                Ok(Word::Variable(self.take_while(is_name).to_owned()))
            }
            '0'..='9' => Ok(Word::Number(self.number())),
            first if first.is_ascii_alphabetic() || first == '_' => {
                Ok(Word::Name(self.take_while(is_name).to_owned(), Quoted::No))
            }
            _ if let Some(error) = self.foreign() => Err(error),
            _ => match SYMBOLS.into_iter().find(|symbol| self.rest().starts_with(symbol)) {
                Some(symbol) => {
                    self.offset += symbol.len();
                    Ok(Word::Symbol(symbol))
                }
                None => {
                    self.offset += first.len_utf8();
                    let error = |problem: &str| PathError::new(start, first.len_utf8(), problem);
                    const UNKNOWN: &str = "this character has no meaning here";
                    Err(match plain_character(first).unwrap_or(first) {
                        '"' | '\'' => {
                            let error = error("texts are written in single quotes, names in backquotes");
                            if first == '"' { error } else { error.hint("write '…'") }
                        }
                        ' ' => error(UNKNOWN).hint("write a plain blank"),
                        plain if plain != first => error(UNKNOWN).hint(format!("write a plain {plain}")),
                        _ => error(UNKNOWN),
                    })
                }
            },
        }
    }

    /// An operator of another language.
    fn foreign(&self) -> Option<PathError> {
        let rest = self.rest();
        let error = |length: usize, problem: &str| PathError::new(self.offset, length, problem);
        if let Some((written, meant)) = FOREIGN.into_iter().find(|(written, _)| rest.starts_with(written)) {
            return Some(error(written.len(), &format!("FHIRPath has no {written}")).hint(format!("write {meant}")));
        }
        let is_not = rest.starts_with('!') && !rest.starts_with("!=") && !rest.starts_with("!~");
        is_not.then(|| error(1, "FHIRPath has no !").hint("write .not() behind what is denied"))
    }

    fn number(&mut self) -> String {
        let start = self.offset;
        self.take_while(|letter| letter.is_ascii_digit());
        let mut letters = self.rest().chars();
        if letters.next() == Some('.') && letters.next().is_some_and(|letter| letter.is_ascii_digit()) {
            self.offset += 1;
            self.take_while(|letter| letter.is_ascii_digit());
        }
        self.source.get(start..self.offset).unwrap_or("").to_owned()
    }

    /// `@2015`, `@2015-02-04T14:34+09:00`, `@T14:34`; whether it exists is seen later.
    fn moment(&mut self) -> Result<Word, PathError> {
        let start = self.offset;
        self.offset += 1;
        let is_digit = |letter: char| letter.is_ascii_digit();
        let date = self.take_while(|letter| is_digit(letter) || letter == '-').to_owned();
        if !self.take("T") {
            return if date.is_empty() {
                self.problem(start, "expected a date after @, as in @2015-02-04")
            } else {
                Ok(Word::Date(date))
            };
        }
        let mut time = self.take_while(|letter| is_digit(letter) || letter == ':').to_owned();
        // A point that no digit follows begins a function.
        if self.rest().starts_with('.') && self.rest().chars().nth(1).is_some_and(is_digit) {
            self.offset += 1;
            time = format!("{time}.{}", self.take_while(is_digit));
        }
        if date.is_empty() {
            return Ok(Word::Time(time));
        }
        if self.take("Z") {
            time.push('Z');
        } else if !time.is_empty() && self.rest().starts_with(['+', '-']) {
            let sign = self.rest().get(..1).unwrap_or("");
            self.offset += 1;
            time = format!("{time}{sign}{}", self.take_while(|letter| is_digit(letter) || letter == ':'));
        }
        Ok(Word::DateTime(format!("{date}T{time}")))
    }

    fn quoted(&mut self, quote: char) -> Result<String, PathError> {
        let start = self.offset;
        self.offset += quote.len_utf8();
        let mut text = String::new();
        loop {
            let at = self.offset;
            let Some(letter) = self.rest().chars().next() else {
                return self.problem(start, &format!("this has no end: expected {quote}"));
            };
            self.offset += letter.len_utf8();
            match letter {
                '\\' => {
                    let escaped = self.rest().chars().next().unwrap_or(' ');
                    self.offset += self.rest().chars().next().map_or(0, char::len_utf8);
                    match escaped {
                        '\'' | '"' | '`' | '\\' | '/' => text.push(escaped),
                        'f' => text.push('\u{c}'),
                        'n' => text.push('\n'),
                        'r' => text.push('\r'),
                        't' => text.push('\t'),
                        'u' => match self.unicode() {
                            Some(letter) => text.push(letter),
                            None => {
                                return self.problem(at, "expected four hexadecimal digits of a character after \\u");
                            }
                        },
                        _ => return self.problem(at, "unknown escape; a backslash is written \\\\"),
                    }
                }
                letter if letter == quote => return Ok(text),
                letter => text.push(letter),
            }
        }
    }

    fn unicode(&mut self) -> Option<char> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        self.offset += 4;
        let high = u32::from_str_radix(digits, 16).ok()?;
        if !(0xD800..0xDC00).contains(&high) {
            return char::from_u32(high);
        }
        // Beyond the basic plane JSON's way is used: two escapes.
        let digits = self.rest().strip_prefix("\\u")?.get(..4)?;
        let low = u32::from_str_radix(digits, 16).ok().filter(|low| (0xDC00..0xE000).contains(low))?;
        self.offset += 6;
        char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    }
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}
