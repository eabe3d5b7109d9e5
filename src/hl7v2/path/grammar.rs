//! How a path is written: read from left to right, and every error has the offset that it stands at.

use super::{Occurrence, PathError, Place, Selector};
use crate::hl7v2::message::is_segment_name;

/// More than any message may hold, see `Limits`, and far from overflow.
const MAXIMUM: usize = 1_000_000;

/// Reads a path from left to right; every error has the offset that it stands at.
pub(super) struct Reader<'s> {
    pub(super) source: &'s str,
    pub(super) offset: usize,
}

impl<'s> Reader<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.offset..]
    }

    fn problem(&self, problem: &'static str) -> PathError {
        PathError { offset: self.offset, problem }
    }

    pub(super) fn take(&mut self, token: &str) -> bool {
        let taken = self.rest().starts_with(token);
        if taken {
            self.offset += token.len();
        }
        taken
    }

    fn expect(&mut self, token: &str, problem: &'static str) -> Result<(), PathError> {
        if self.take(token) { Ok(()) } else { Err(self.problem(problem)) }
    }

    pub(super) fn end(&self) -> Result<(), PathError> {
        match self.rest() {
            "" => Ok(()),
            _ => Err(self.problem("nothing more was expected here; paths are written as PID-3[5=PI].4.1 or OBX[2]-5")),
        }
    }

    pub(super) fn segment_name(&mut self) -> Result<[u8; 3], PathError> {
        let name = self.source.as_bytes().first_chunk().copied();
        let name = name.filter(is_segment_name);
        self.offset = if name.is_some() { 3 } else { 0 };
        name.ok_or_else(|| {
            self.problem("expected a segment name: a capital letter and two capitals or digits, as in PID")
        })
    }

    pub(super) fn number(&mut self, problem: &'static str) -> Result<usize, PathError> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let number = self.rest()[..digits].parse().ok().filter(|number| (1..=MAXIMUM).contains(number));
        let number = number.ok_or_else(|| self.problem(problem))?;
        self.offset += digits;
        Ok(number)
    }

    fn blanks(&mut self) {
        while self.take(" ") {}
    }

    pub(super) fn occurrence(&mut self) -> Result<Occurrence, PathError> {
        let occurrence = if self.take("*") {
            Occurrence::All
        } else {
            let number = self.number("expected a number from 1, *, or a field to compare, as in [3.1=WBC]")?;
            if self.rest().starts_with(']') {
                Occurrence::Number(number)
            } else {
                let component = match self.take(".") {
                    true => self.number("expected a component number from 1, as in [3.1=WBC]")?,
                    false => 0,
                };
                let (subcomponent, values) = self.comparison()?;
                Occurrence::Where(Place { field: number, component, subcomponent }, values)
            }
        };
        self.expect("]", "expected ]")?;
        Ok(occurrence)
    }

    pub(super) fn repetition(&mut self) -> Result<Selector, PathError> {
        let selector = if self.take("*") {
            Selector::All
        } else {
            let number =
                self.number("expected a repetition: a number from 1, *, or a component to compare, as in [5=PI]")?;
            if self.rest().starts_with(']') { Selector::Number(number) } else { self.predicate(number)? }
        };
        self.expect("]", "expected ]")?;
        Ok(selector)
    }

    fn predicate(&mut self, component: usize) -> Result<Selector, PathError> {
        let (subcomponent, values) = self.comparison()?;
        Ok(Selector::Where { component, subcomponent, values })
    }

    /// `.2=HIS`, `=PI`, ` in PI,MR`: a subcomponent, or 0, and the values to compare with.
    fn comparison(&mut self) -> Result<(usize, Vec<String>), PathError> {
        let subcomponent = match self.take(".") {
            true => self.number("expected a subcomponent number from 1, as in [4.2=HIS]")?,
            false => 0,
        };
        self.blanks();
        let mut values = Vec::new();
        if self.take("=") {
            values.push(self.value(&[']'])?);
        } else if self.take("in ") {
            values.push(self.value(&[',', ']'])?);
            while self.take(",") {
                values.push(self.value(&[',', ']'])?);
            }
        } else {
            return Err(self.problem("expected ], = or in, as in [5=PI] or [5 in PI,MR]"));
        }
        Ok((subcomponent, values))
    }

    fn value(&mut self, ends: &[char]) -> Result<String, PathError> {
        self.blanks();
        for quote in ["'", "\""] {
            let opened = self.offset;
            if self.take(quote) {
                let length = self.rest().find(quote);
                let length = length.ok_or(PathError { offset: opened, problem: "this quote is not closed" })?;
                let value = self.rest()[..length].to_owned();
                self.offset += length + quote.len();
                self.blanks();
                return Ok(value);
            }
        }
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        let value = self.rest()[..length].trim_end();
        if value.is_empty() {
            return Err(self.problem("expected a value to compare with"));
        }
        // What other languages write, and what an input method leaves, would be a value that no message has.
        let slip = match value.chars().next() {
            Some('=') => Some("one = compares, as in [5=PI]; a value that begins with it stands in quotes"),
            Some('(') => Some(
                "several values stand without brackets, as in [5 in PI,MR]; a value that begins with one stands in quotes",
            ),
            _ if value.contains(['‘', '’', '“', '”']) => {
                Some("a full-width quotation mark: write ', or nothing around the value")
            }
            _ if value.contains('，') => {
                Some("a full-width comma: write , between values, and a value that holds one in quotes")
            }
            _ => None,
        };
        if let Some(slip) = slip {
            return Err(self.problem(slip));
        }
        self.offset += length;
        Ok(value.to_owned())
    }
}
