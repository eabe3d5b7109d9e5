//! Paths into a message, as the standard writes them: `PID-3[5=PI].1`. Parsed once, resolved often.
//!
//! | form | means |
//! |---|---|
//! | `PV1` | a segment |
//! | `PID-8`, `PID-3.4`, `PID-3.4.2` | a field, a component, a subcomponent of its first repetition |
//! | `PID-3[2].1` | of its second repetition |
//! | `PID-3[*].1` | of all repetitions |
//! | `PID-3[5=PI].1`, `PID-3[5 in PI,MR].1`, `PID-3[4.2=1.2.3]` | of the repetitions whose component (or subcomponent) is one of these |
//! | `OBX[2]-5`, `DG1[*]-3.1` | of the second segment of that name in the scope; of all |
//!
//! All numbers count from 1. Values in a predicate may be quoted (`[5='a,b']`), and are compared without blanks around them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::{Location, Message, Scope, Segment};

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    source: String,
    name: [u8; 3],
    occurrence: Occurrence,
    /// 0: the segment as a whole.
    field: usize,
    repetition: Repetition,
    /// 0: the repetition as a whole.
    component: usize,
    /// 0: the component as a whole.
    subcomponent: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occurrence {
    Number(usize),
    All,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Repetition {
    /// None was written: the current one, else the first.
    Default,
    Number(usize),
    All,
    Where {
        component: usize,
        subcomponent: usize,
        values: Vec<String>,
    },
}

/// Why text is no path, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct PathError {
    /// Byte offset in the path.
    pub offset: usize,
    /// What was expected.
    pub problem: &'static str,
}

/// What a path leads to. Empty and blank are absent; `""` is null, for every part of what it stands for.
#[derive(Debug, Clone, Copy)]
pub enum Resolved<'m> {
    /// The message says nothing here.
    Absent,
    /// The message says that there is no value any more.
    Null,
    /// A value.
    Value(Value<'m>),
}

/// A value and where it was found.
#[derive(Debug, Clone, Copy)]
pub struct Value<'m> {
    segment: Segment<'m>,
    raw: &'m str,
    /// 0: the segment as a whole.
    field: usize,
    repetition: usize,
    component: usize,
    subcomponent: usize,
}

impl Path {
    /// Parses a path.
    pub fn parse(source: &str) -> Result<Self, PathError> {
        let _ = source;
        Err(PathError { offset: 0, problem: "not built" })
    }

    /// The first thing that the path means in `scope`, and that is not absent.
    pub fn resolve<'m>(&self, scope: &Scope<'m>) -> Resolved<'m> {
        let _ = scope;
        Resolved::Absent
    }

    /// All that the path means in `scope`, without what is absent, in order.
    pub fn resolve_all<'m>(&self, scope: &Scope<'m>) -> Vec<Resolved<'m>> {
        let _ = scope;
        Vec::new()
    }

    /// The scopes that `each` opens, see [`Scope::each`].
    pub(super) fn scopes<'m>(&self, scope: &Scope<'m>) -> Vec<Scope<'m>> {
        let _ = scope;
        Vec::new()
    }

    /// The name of the segment.
    pub fn segment(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or("")
    }

    /// The field; `None`: the path means a segment.
    pub fn field(&self) -> Option<usize> {
        (self.field > 0).then_some(self.field)
    }

    /// The component, if one is named.
    pub fn component(&self) -> Option<usize> {
        (self.component > 0).then_some(self.component)
    }

    /// The subcomponent, if one is named.
    pub fn subcomponent(&self) -> Option<usize> {
        (self.subcomponent > 0).then_some(self.subcomponent)
    }

    /// Whether the path can mean more than one thing.
    pub fn is_plural(&self) -> bool {
        self.occurrence == Occurrence::All || matches!(self.repetition, Repetition::All)
    }

    /// The place that the path names, where nothing was found there.
    pub fn location(&self) -> Location {
        Location {
            occurrence: match self.occurrence {
                Occurrence::Number(number) if number > 1 => Some(number),
                _ => None,
            },
            field: self.field(),
            repetition: match self.repetition {
                Repetition::Number(number) => Some(number),
                _ => None,
            },
            component: self.component(),
            subcomponent: self.subcomponent(),
            ..Location::segment(self.segment())
        }
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(source: &str) -> Result<Self, PathError> {
        Self::parse(source)
    }
}

/// As it was written.
impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

impl<'m> Resolved<'m> {
    /// The value, if there is one.
    pub fn value(self) -> Option<Value<'m>> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Whether the message says nothing.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<'m> Value<'m> {
    /// As sent.
    pub fn raw(&self) -> &'m str {
        self.raw
    }

    /// As meant: escape sequences resolved, blanks around it left out.
    pub fn text(&self) -> Cow<'m, str> {
        self.text_of(self.raw)
    }

    /// A part of this value (from [`Value::parts`]) as meant.
    pub fn text_of(&self, raw: &'m str) -> Cow<'m, str> {
        let message = self.message();
        super::escape::unescape(raw.trim(), message.delimiters(), message.charset())
    }

    /// Its components (of a component: its subcomponents), read once; for types with many of them.
    pub fn parts(&self) -> super::message::Parts<'m> {
        self.message().parts(self.raw)
    }

    /// A component of this value; of a value that is a component itself: a subcomponent.
    pub fn component(&self, number: usize) -> Resolved<'m> {
        let _ = number;
        Resolved::Absent
    }

    /// Where it is.
    pub fn location(&self) -> Location {
        self.segment.location_of(self.field)
    }

    /// The segment that it is in.
    pub fn segment(&self) -> Segment<'m> {
        self.segment
    }

    /// The message that it is in.
    pub fn message(&self) -> &'m Message {
        self.segment.message()
    }
}
