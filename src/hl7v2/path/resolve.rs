//! What a path means in a scope.

use std::ops::ControlFlow;

use super::value::{Given, given, piece, trimmed};
use super::{Occurrence, Path, Place, Resolved, Selector, Value, is_trigger_event};
use crate::hl7v2::group::Current;
use crate::hl7v2::{Location, Message, Scope, Segment};

/// What is done with each thing found; `Break` ends the search.
type Visit<'v, T> = &'v mut dyn FnMut(T) -> ControlFlow<()>;

impl Path {
    /// The first thing that the path means in `scope`, and that is not absent.
    pub fn resolve<'m>(&self, scope: &Scope<'m>) -> Resolved<'m> {
        if self.is_plain
            && let Some(resolved) = self.resolve_plain(scope)
        {
            return resolved;
        }
        let mut found = Resolved::Absent;
        self.visit(scope, &mut |value| {
            found = value;
            ControlFlow::Break(())
        });
        found
    }

    /// The same for a path that means one place: most of them, so nothing is searched there. `None`: it means all repetitions of a
    /// field that has several.
    fn resolve_plain<'m>(&self, scope: &Scope<'m>) -> Option<Resolved<'m>> {
        let Place { field, component, subcomponent } = self.place;
        let Some(segment) = scope.first_seen(self.name) else { return Some(Resolved::Absent) };
        let whole = segment.field(field);
        if whole.is_empty() {
            return Some(Resolved::Absent);
        }
        let is_one = self.repetition == Selector::Default;
        let (repetition, raw) = match scope.current().filter(|current| is_one && current.is_of(&segment, field)) {
            Some(current) => (current.repetition, current.raw),
            None if segment.is_delimiters(field) => (1, whole),
            None => (1, piece(whole, segment.message().delimiters().repetition, 1)),
        };
        if !is_one && raw.len() < whole.len() {
            return None;
        }
        let value = Value { segment, raw, place: Place { field, component: 0, subcomponent: 0 }, repetition };
        Some(if component == 0 { value.itself() } else { value.part(component, subcomponent) })
    }

    /// All that the path means in `scope`, without what is absent, in order.
    pub fn resolve_all<'m>(&self, scope: &Scope<'m>) -> Vec<Resolved<'m>> {
        let mut found = Vec::new();
        self.visit(scope, &mut |value| {
            found.push(value);
            ControlFlow::Continue(())
        });
        found
    }

    /// What a value chooses among, segments or the repetitions of a field, and of them what it chooses: all with a value. Nothing of a path
    /// that does not choose so.
    pub fn choice(&self, scope: &Scope<'_>) -> Option<[Vec<Location>; 2]> {
        let whole_field = Place { component: 0, subcomponent: 0, ..self.place };
        let path = |occurrence: &Occurrence, place, repetition: &Selector| {
            Self::new(String::new(), self.name, occurrence.clone(), place, repetition.clone())
        };
        let paths = match (&self.occurrence, &self.repetition) {
            (Occurrence::Where(..), _) => {
                let segment = Place { field: 0, ..whole_field };
                [&Occurrence::All, &self.occurrence].map(|occurrence| path(occurrence, segment, &Selector::Default))
            }
            (occurrence, Selector::Where { .. }) => {
                [&Selector::All, &self.repetition].map(|repetition| path(occurrence, whole_field, repetition))
            }
            _ => return None,
        };
        let places = |path: Self| {
            let found = path.resolve_all(scope).into_iter().filter_map(Resolved::value);
            found.map(|value| value.location()).collect()
        };
        Some(paths.map(places))
    }

    /// The scopes that `each` opens, see [`Scope::each`].
    pub(in crate::hl7v2) fn visit_scopes<'m>(&self, scope: &Scope<'m>, visit: &mut dyn FnMut(Scope<'m>)) {
        let field = self.place.field;
        let occurrence = match &self.occurrence {
            Occurrence::Default => &Occurrence::All,
            written => written,
        };
        self.visit_segments(scope, occurrence, &mut |segment| {
            if field == 0 {
                visit(scope.at(segment.index(), None));
                return ControlFlow::Continue(());
            }
            let current = scope.current().filter(|current| current.is_of(&segment, field));
            let selector = if current.is_some() { &self.repetition } else { or_all(&self.repetition) };
            visit_repetitions(segment, field, selector, current, &mut |(repetition, raw)| {
                if let Given::Text = given(raw) {
                    let segment = segment.index();
                    visit(scope.at(segment, Some(Current { segment, field, repetition, raw })));
                }
                ControlFlow::Continue(())
            })
        });
    }

    fn visit<'m>(&self, scope: &Scope<'m>, visit: Visit<'_, Resolved<'m>>) {
        let Place { field, component, .. } = self.place;
        if is_trigger_event(self.name, self.place)
            && let Some(event) = scope.message().event_segment()
        {
            let place = Place { field: 1, component: 0, subcomponent: 0 };
            let resolved = Value { segment: event, raw: event.field(1), place, repetition: 1 }.part(1, 0);
            if !resolved.is_absent() {
                let _ = visit(resolved);
            }
            return;
        }
        self.visit_segments(scope, &self.occurrence, &mut |segment| {
            if field == 0 {
                return visit(Resolved::Value(Value {
                    segment,
                    raw: segment.text(),
                    place: self.place,
                    repetition: 1,
                }));
            }
            let whole =
                |repetition, raw| Value { segment, raw, place: Place { component: 0, ..self.place }, repetition };
            let current = scope.current().filter(|current| current.is_of(&segment, field));
            visit_repetitions(segment, field, &self.repetition, current, &mut |(repetition, raw)| {
                let value = whole(repetition, raw);
                let resolved = match component {
                    0 => value.itself(),
                    _ => value.part(component, self.place.subcomponent),
                };
                if resolved.is_absent() { ControlFlow::Continue(()) } else { visit(resolved) }
            })
        });
    }

    fn visit_segments<'m>(&self, scope: &Scope<'m>, occurrence: &Occurrence, visit: Visit<'_, Segment<'m>>) {
        let (skipped, taken) = match occurrence {
            Occurrence::Number(number) => (number - 1, 1),
            Occurrence::All | Occurrence::Where(..) => (0, usize::MAX),
            Occurrence::Default => (0, 1),
        };
        if (skipped, taken) == (0, 1) {
            if let Some(segment) = scope.first_seen(self.name) {
                let _ = visit(segment);
            }
            return;
        }
        if scope.message().positions(self.name).is_empty() {
            return;
        }
        let segments = scope.seen(self.name).filter_map(|index| scope.message().segment(index));
        let wanted = |segment: &Segment<'m>| match occurrence {
            Occurrence::Where(place, values) => holds_one_of(segment, place, values),
            _ => true,
        };
        for segment in segments.filter(wanted).skip(skipped).take(taken) {
            if visit(segment).is_break() {
                return;
            }
        }
    }
}

/// In `each`, a path without brackets means all.
fn or_all(selector: &Selector) -> &Selector {
    match selector {
        Selector::Default => &Selector::All,
        written => written,
    }
}

/// Whether a repetition of a field has one of these values at its place.
fn holds_one_of(segment: &Segment<'_>, place: &Place, values: &[String]) -> bool {
    segment.message().repetitions(segment.field(place.field)).any(|raw| part_is(segment.message(), raw, place, values))
}

/// Whether a component, or subcomponent, of a repetition is one of these values; without a component the whole of it.
fn part_is(message: &Message, raw: &str, place: &Place, values: &[String]) -> bool {
    let delimiters = message.delimiters();
    let component = match place.component {
        0 => raw,
        number => piece(raw, Some(delimiters.component), number),
    };
    let part = match place.subcomponent {
        0 => component,
        number => piece(component, delimiters.subcomponent, number),
    };
    let meant = message.unescaped(trimmed(part));
    values.iter().any(|value| *value == meant)
}

/// Repetitions of one field with their numbers, by `selector`, or only the current one where none is named.
fn visit_repetitions<'m>(
    segment: Segment<'m>,
    field: usize,
    selector: &Selector,
    current: Option<&Current<'m>>,
    visit: Visit<'_, (usize, &'m str)>,
) -> ControlFlow<()> {
    let raw = segment.field(field);
    if raw.is_empty() {
        return ControlFlow::Continue(());
    }
    if let (Selector::Default, Some(current)) = (selector, current) {
        return visit((current.repetition, current.raw));
    }
    if segment.is_delimiters(field) {
        return visit((1, raw));
    }
    if let Given::Null = given(raw) {
        // Null is said of the field, so of all that it could repeat.
        return visit((1, raw));
    }
    let message = segment.message();
    let mut numbered = (1..).zip(message.repetitions(raw));
    match selector {
        Selector::Default => numbered.next().map_or(ControlFlow::Continue(()), visit),
        Selector::Number(number) => numbered.nth(number - 1).map_or(ControlFlow::Continue(()), visit),
        Selector::All => numbered.try_for_each(visit),
        Selector::Where { component, subcomponent, values } => {
            let place = Place { field, component: *component, subcomponent: *subcomponent };
            numbered.filter(|(_, raw)| part_is(message, raw, &place, values)).try_for_each(visit)
        }
    }
}
