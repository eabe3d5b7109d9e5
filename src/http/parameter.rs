//! Query parameters: declared once in the route table, checked before a handler runs, documented from the same line.
//!
//! A parameter that the table does not know is refused: a misspelt filter must not return everything.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::Uri;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::problem::{Problem, ProblemKind};
use crate::feed::Position;
use crate::record::when;

/// Longest text of one parameter, in characters: names and numbers are far shorter, and the text goes into a look-up.
const MAX_TEXT: usize = 200;

/// What a parameter may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// Free text.
    Text,
    /// A whole number within bounds.
    Integer { least: u32, most: u32, default: u32 },
    /// One of a closed list.
    Code(&'static [&'static str]),
    /// `start`, `head` or a cursor.
    Cursor,
    /// The number of the last message seen.
    Key,
    /// `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
    Date,
    /// A point in time.
    DateTime,
}

/// One query parameter of a route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) meaning: &'static str,
}

/// A parameter by name, form and one line of meaning.
pub(crate) const fn parameter(name: &'static str, form: Form, meaning: &'static str) -> Parameter {
    Parameter { name, form, meaning }
}

#[derive(Debug, Clone, PartialEq)]
enum Checked {
    Text(String),
    Integer(u32),
    Key(i64),
    Position(Position),
    Moment(i64),
}

/// The checked parameters of one request. Asking for a name or form that the route does not declare gives nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameters(BTreeMap<&'static str, Checked>);

impl Parameters {
    /// Checks the query of `uri` against what the route declares.
    pub(crate) fn read(uri: &Uri, declared: &'static [Parameter]) -> Result<Self, Problem> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(Problem::new(ProblemKind::ParameterNotValid, "The query does not read; percent-encode it."));
        };
        let mut checked = BTreeMap::new();
        for Parameter { name, form, .. } in declared {
            if let Form::Integer { default, .. } = form {
                checked.insert(*name, Checked::Integer(*default));
            }
        }
        let mut seen = Vec::new();
        for (name, text) in &pairs {
            let Some(parameter) = declared.iter().find(|parameter| parameter.name == name) else {
                let known: Vec<&str> = declared.iter().map(|parameter| parameter.name).collect();
                let detail = if known.is_empty() {
                    "This path takes no query parameters.".to_owned()
                } else {
                    format!("This path takes: {}.", known.join(", "))
                };
                return Err(Problem::new(ProblemKind::ParameterUnknown, detail));
            };
            if seen.contains(&parameter.name) {
                return Err(not_valid(parameter.name, "it is given twice"));
            }
            seen.push(parameter.name);
            checked.insert(parameter.name, parameter.form.check(parameter.name, text)?);
        }
        Ok(Self(checked))
    }

    /// The names of those that say what is looked for.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let sought = self.0.iter().filter(|(_, value)| !matches!(value, Checked::Integer(_)));
        sought.map(|(name, _)| *name).collect()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Checked::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The number given, else the default that the route declares.
    pub(crate) fn integer(&self, name: &str) -> u32 {
        match self.0.get(name) {
            Some(Checked::Integer(number)) => *number,
            _ => 0,
        }
    }

    pub(crate) fn key(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Checked::Key(key)) => Some(*key),
            _ => None,
        }
    }

    pub(crate) fn position(&self, name: &str) -> Option<Position> {
        match self.0.get(name) {
            Some(Checked::Position(position)) => Some(*position),
            _ => None,
        }
    }

    /// Microseconds since the epoch.
    pub(crate) fn moment(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Checked::Moment(microseconds)) => Some(*microseconds),
            _ => None,
        }
    }
}

impl Form {
    fn check(self, name: &str, text: &str) -> Result<Checked, Problem> {
        // A query that is not UTF-8 decodes to U+FFFD; to look that up would quietly find nothing.
        if text.contains('\u{FFFD}') {
            return Err(not_valid(name, "it is not percent-encoded UTF-8"));
        }
        if text.is_empty() || text.chars().count() > MAX_TEXT {
            return Err(not_valid(name, &format!("it needs 1 to {MAX_TEXT} characters")));
        }
        match self {
            Form::Text => Ok(Checked::Text(text.to_owned())),
            Form::Integer { least, most, .. } => match text.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(Checked::Integer(number)),
                _ => Err(not_valid(name, &format!("it must be a whole number from {least} to {most}"))),
            },
            Form::Code(legal) if legal.contains(&text) => Ok(Checked::Text(text.to_owned())),
            Form::Code(legal) => Err(not_valid(name, &format!("it must be one of {}", legal.join(", ")))),
            Form::Cursor => match text.parse() {
                Ok(position) => Ok(Checked::Position(position)),
                Err(_) => Err(cursor_not_valid()),
            },
            Form::Key => match text.parse() {
                Ok(key) if key >= 0 => Ok(Checked::Key(key)),
                _ => Err(not_valid(name, "it must be the `next` of the page before")),
            },
            Form::Date if !text.contains('T') && when::instant(text, &TimeZone::UTC).is_some() => {
                Ok(Checked::Text(text.to_owned()))
            }
            Form::Date => Err(not_valid(name, "it must be a date, YYYY-MM-DD")),
            // In a query `+` means a blank; a time with an offset is too often sent unencoded to be strict about it.
            Form::DateTime => match text.replace(' ', "+").parse::<Timestamp>() {
                Ok(timestamp) => Ok(Checked::Moment(timestamp.as_microsecond())),
                Err(_) => Err(not_valid(name, "it must be RFC 3339 with offset, 2026-11-22T09:30:00+08:00")),
            },
        }
    }

    /// JSON Schema of the parameter.
    pub(crate) fn schema(self) -> Value {
        match self {
            Form::Text => json!({"type": "string", "minLength": 1, "maxLength": MAX_TEXT}),
            Form::Integer { least, most, default } => {
                json!({"type": "integer", "minimum": least, "maximum": most, "default": default})
            }
            Form::Code(legal) => json!({"type": "string", "enum": legal}),
            Form::Cursor => json!({"type": "string", "pattern": "^(start|head|[0-9]+-[0-9]+)$"}),
            Form::Key => json!({"type": "string", "pattern": "^[0-9]+$"}),
            Form::Date => json!({"type": "string", "pattern": "^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$"}),
            Form::DateTime => json!({"type": "string", "format": "date-time"}),
        }
    }
}

/// The problem of a parameter whose text means nothing; `reason` never holds the text.
pub(super) fn not_valid(name: &str, reason: &str) -> Problem {
    Problem::new(ProblemKind::ParameterNotValid, format!("Parameter `{name}`: {reason}."))
        .with("parameter", name.to_owned())
}

/// The problem of a text that is no cursor, in a query or a body.
pub(crate) fn cursor_not_valid() -> Problem {
    Problem::new(
        ProblemKind::CursorNotValid,
        "Give `next` of the page before, for example 1-000000001234, or `start` or `head`.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &[Parameter] = &[
        parameter("limit", Form::Integer { least: 1, most: 1000, default: 100 }, "page size"),
        parameter("state", Form::Code(&["failed", "ignored"]), "state"),
        parameter("after", Form::Cursor, "position"),
        parameter("name", Form::Text, "name"),
        parameter("birth_date", Form::Date, "date"),
        parameter("from", Form::DateTime, "time"),
    ];

    fn read(query: &str) -> Result<Parameters, ProblemKind> {
        let uri = format!("/path?{query}").parse().unwrap();
        Parameters::read(&uri, DECLARED).map_err(|problem| problem.kind)
    }

    #[test]
    fn what_is_declared_is_read() {
        let parameters = read(
            "limit=7&state=failed&after=1-000000000002&name=%E5%BC%A0&birth_date=1980-03&from=1970-01-01T08:00:01+08:00",
        )
        .unwrap();
        assert_eq!(parameters.integer("limit"), 7);
        assert_eq!(parameters.text("state"), Some("failed"));
        assert_eq!(parameters.position("after"), Some("1-2".parse().unwrap()));
        assert_eq!(parameters.text("name"), Some("张"));
        assert_eq!(parameters.text("birth_date"), Some("1980-03"));
        assert_eq!(parameters.moment("from"), Some(1_000_000));
        assert_eq!(read("").unwrap().integer("limit"), 100);
    }

    #[test]
    fn what_is_not_valid_is_refused_by_kind() {
        for (query, expected) in [
            ("limit=0", ProblemKind::ParameterNotValid),
            ("limit=1001", ProblemKind::ParameterNotValid),
            ("limit=-1", ProblemKind::ParameterNotValid),
            ("limit=ten", ProblemKind::ParameterNotValid),
            ("limit=1&limit=2", ProblemKind::ParameterNotValid),
            ("state=lost", ProblemKind::ParameterNotValid),
            ("name=", ProblemKind::ParameterNotValid),
            ("name=%D5%C5", ProblemKind::ParameterNotValid),
            ("birth_date=1980-13", ProblemKind::ParameterNotValid),
            ("from=yesterday", ProblemKind::ParameterNotValid),
            ("after=2", ProblemKind::CursorNotValid),
            ("Limit=1", ProblemKind::ParameterUnknown),
            ("statee=failed", ProblemKind::ParameterUnknown),
        ] {
            assert_eq!(read(query), Err(expected), "{query}");
        }
    }
}
