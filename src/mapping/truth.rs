//! What can be said of a condition without a message: that it never holds, or always.
//!
//! What is known of a message (by `match`, by the conditions around) is a set of [`Facts`]; a condition is asked under them. Only
//! paths to one value are followed: of several values one may be this and another that.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::Expression;
use super::run::matches_pattern;
use crate::hl7v2::Path;

/// What is known of a message.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    values: BTreeMap<String, Domain>,
    segments: BTreeMap<String, bool>,
    /// No message can be so.
    is_impossible: bool,
    /// The outermost file that says some of it; the site's own is 0.
    pub(super) told_by: Option<usize>,
}

/// What a path may lead to; the empty text stands for nothing there.
#[derive(Debug, Clone, Default)]
struct Domain {
    only: Option<BTreeSet<String>>,
    never: BTreeSet<String>,
    /// One of each of these has to fit.
    patterns: Vec<Vec<String>>,
}

impl Domain {
    fn allows(&self, text: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(text))
            && !self.never.contains(text)
            && self.patterns.iter().all(|any| any.iter().any(|pattern| matches_pattern(pattern, text)))
    }

    /// All that is left, if it can be listed.
    fn left(&self) -> Option<Vec<&String>> {
        self.only.as_ref().map(|only| only.iter().filter(|text| self.allows(text)).collect())
    }

    fn is_empty(&self) -> bool {
        self.left().is_some_and(|left| left.is_empty())
    }
}

impl Facts {
    /// What a condition of `match` says of each message that comes through it.
    pub(super) fn add_match(&mut self, path: &Path, patterns: Vec<String>) {
        let domain = self.values.entry(path.to_string()).or_default();
        if patterns.iter().any(|pattern| pattern.contains(['*', '?'])) {
            domain.patterns.push(patterns);
        } else {
            domain.only = Some(patterns.into_iter().collect());
        }
    }

    /// There is no such segment.
    pub(super) fn add_absent(&mut self, segment: &str) {
        self.segments.insert(segment.to_owned(), false);
    }

    /// Both taken together.
    pub(super) fn joined(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        for (path, domain) in &other.values {
            let own = joined.values.entry(path.clone()).or_default();
            own.never.extend(domain.never.iter().cloned());
            own.patterns.extend(domain.patterns.iter().cloned());
            match (&mut own.only, &domain.only) {
                (Some(own), Some(only)) => own.retain(|text| only.contains(text)),
                (own @ None, only) => *own = only.clone(),
                (Some(_), None) => {}
            }
        }
        joined.segments.extend(other.segments.iter().map(|(name, is_there)| (name.clone(), *is_there)));
        joined.is_impossible |= other.is_impossible;
        joined
    }

    /// Whether there is no such segment in any message of which this is known.
    pub(super) fn lacks(&self, segment: &str) -> bool {
        self.segments.get(segment) == Some(&false)
    }

    /// What still holds in a scope below: what is said of the message's header, of which there is one.
    pub(super) fn of_header(&self) -> Self {
        let values = self.values.iter().filter(|(path, _)| path.starts_with("MSH-"));
        let absent = self.segments.iter().filter(|(_, is_there)| !**is_there);
        Self {
            values: values.map(|(path, domain)| (path.clone(), domain.clone())).collect(),
            segments: absent.map(|(name, is_there)| (name.clone(), *is_there)).collect(),
            is_impossible: false,
            told_by: self.told_by,
        }
    }

    /// What is known besides where the condition holds, or where it does not.
    pub(super) fn assume(&mut self, condition: &Expression, truth: bool) {
        match condition {
            Expression::Constant(constant) => self.is_impossible |= *constant != truth,
            Expression::Segment(name) => drop(self.segments.insert(name.clone(), truth)),
            Expression::Valued(path) if !path.is_plural() => self.restrict(path, [String::new()].into(), !truth),
            Expression::OneOf(path, texts) if !path.is_plural() => {
                self.restrict(path, texts.iter().cloned().collect(), truth);
            }
            Expression::Not(inner) => self.assume(inner, !truth),
            Expression::All(parts) if truth => parts.iter().for_each(|part| self.assume(part, true)),
            Expression::Any(parts) if !truth => parts.iter().for_each(|part| self.assume(part, false)),
            Expression::Valued(_)
            | Expression::OneOf(..)
            | Expression::Is(..)
            | Expression::All(_)
            | Expression::Any(_) => {}
        }
    }

    fn restrict(&mut self, path: &Path, texts: BTreeSet<String>, is_one_of: bool) {
        let domain = self.values.entry(path.to_string()).or_default();
        match (is_one_of, &mut domain.only) {
            (true, Some(only)) => only.retain(|text| texts.contains(text)),
            (true, None) => domain.only = Some(texts),
            (false, _) => domain.never.extend(texts),
        }
        self.is_impossible |= domain.is_empty();
    }

    /// Whether the condition holds for every message of which this is known, for none, or for some.
    pub(super) fn ask(&self, condition: &Expression) -> Option<bool> {
        match condition {
            Expression::Constant(truth) => Some(*truth),
            Expression::Segment(name) => self.segments.get(name).copied(),
            Expression::Valued(path) => {
                if self.segments.get(path.segment()) == Some(&false) {
                    return Some(false);
                }
                let domain = self.values.get(&path.to_string()).filter(|_| !path.is_plural())?;
                match (domain.allows(""), domain.left()) {
                    (false, _) => Some(true),
                    (true, Some(left)) if left.len() == 1 => Some(false),
                    _ => None,
                }
            }
            Expression::OneOf(path, texts) => {
                if self.segments.get(path.segment()) == Some(&false) {
                    return Some(false);
                }
                let domain = self.values.get(&path.to_string()).filter(|_| !path.is_plural())?;
                if !texts.iter().any(|text| domain.allows(text)) {
                    return Some(false);
                }
                let left = domain.left()?;
                left.iter().all(|text| texts.contains(text)).then_some(true)
            }
            Expression::Is(path, _) => (self.segments.get(path.segment()) == Some(&false)).then_some(false),
            Expression::Not(inner) => self.ask(inner).map(|truth| !truth),
            Expression::All(parts) => self.ask_parts(parts, true),
            Expression::Any(parts) => self.ask_parts(parts, false),
        }
    }

    /// All parts (`neutral` is true) or any of them: each is asked under what the ones before it leave open.
    fn ask_parts(&self, parts: &[Expression], neutral: bool) -> Option<bool> {
        let mut facts = self.clone();
        let mut all_known = true;
        for part in parts {
            match facts.ask(part) {
                Some(truth) if truth != neutral => return Some(!neutral),
                Some(_) => {}
                None => all_known = false,
            }
            facts.assume(part, neutral);
            if facts.is_impossible {
                return Some(!neutral);
            }
        }
        all_known.then_some(neutral)
    }
}

/// Whether one condition of HL7 v2 holds wherever the other does, as far as can be told; of FHIRPath nothing is.
pub(super) fn implies(narrow: &str, wide: &str) -> bool {
    let (Ok(narrow), Ok(wide)) = (Expression::parse(narrow), Expression::parse(wide)) else { return false };
    let mut facts = Facts::default();
    facts.assume(&narrow, true);
    !facts.is_impossible && facts.ask(&wide) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Expression {
        Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn check(condition: &str, expected: Option<bool>) {
        let mut facts = Facts::default();
        let types = ["ADT", "SIU"].map(str::to_owned).to_vec();
        facts.add_match(&Path::parse("MSH-9.1").unwrap(), types);
        facts.add_match(&Path::parse("MSH-9.2").unwrap(), ["A*", "S1?", ""].map(str::to_owned).to_vec());
        facts.add_absent("OBR");
        assert_eq!(facts.ask(&parse(condition)), expected, "{condition}");
        assert_eq!(facts.ask(&parse(&format!("not ({condition})"))), expected.map(|truth| !truth), "not ({condition})");
    }

    #[test]
    fn what_match_leaves_open_is_open_and_the_rest_is_known() {
        check("MSH-9.1 = 'ADT'", None);
        check("MSH-9.1 = 'ORU'", Some(false));
        check("MSH-9.1 != 'ORU'", Some(true));
        check("MSH-9.1 in ['ORU', 'SIU']", None);
        check("MSH-9.2 in ['R01', 'S1']", Some(false));
        check("MSH-9.2 = 'A01' or PV1", None);
        check("OBR or OBR-3", Some(false));
        check("PV1 and not OBR", None);
        check("MSH-9[*].1 = 'ORU'", None);
    }

    #[test]
    fn a_wider_condition_holds_wherever_a_narrower_one_does() {
        for (narrow, wide, expected) in [
            ("OBX-2 = 'RP'", "OBX-2 in ['RP', 'ED']", true),
            ("OBX-2 in ['RP', 'ED']", "OBX-2 = 'RP'", false),
            ("OBX-2 = 'RP'", "OBX-3.1 = 'RP'", false),
            ("not OBX-5", "not OBX-5 or OBX-2 = 'ED'", true),
            ("OBX-2 = 'RP' and not OBX-2", "OBX-2 = 'ED'", false),
            ("code.empty()", "code.empty() or value.empty()", false),
        ] {
            assert_eq!(implies(narrow, wide), expected, "{narrow}: {wide}");
        }
    }

    #[test]
    fn a_condition_that_contradicts_itself_never_holds() {
        check("PID-8 = 'M' and PID-8 = 'F'", Some(false));
        check("PID-8 != 'M' or PID-8 != 'F'", Some(true));
        check("PV1 and not PV1", Some(false));
        check("PV1 or PV1-2 = 'I'", None);
        check("PID-8 and not PID-8", Some(false));
        check("not PID-8 and PID-8 = 'M'", Some(false));
        check("PID-8 = 'M' and PID-8", None);
        check("PID-3[*].5 = 'MR' and PID-3[*].5 = 'PI'", None);
        check("PID-8 in ['M', 'F'] and PID-8 != 'M' and PID-8 != 'F'", Some(false));
        check("PID-8 = 'M' and (PV1 or PID-8 = 'F')", None);
        check("PID-8 = 'M' and not (PV1 or PID-8 = 'M')", Some(false));
        check("PID-8 = 'M' or true", Some(true));
        check("PID-8 is number", None);
    }
}
