//! Paths and conditions of a mapping file, in the language of its format.

use super::Compiler;
use crate::fhir::compose::{READ, types_of_unit};
use crate::fhir::{Remark, RemarkKind};
use crate::hl7v2;
use crate::mapping::coerce::Coercion;
use crate::mapping::compile::Target;
use crate::mapping::expression::Expression;
use crate::mapping::file::{Located, Rule};
use crate::mapping::input::{Condition, ElementPath, Format, Path, Within};
use crate::mapping::meant;

impl Compiler<'_, '_> {
    /// What makes one record or item each, and what paths inside it are relative to.
    pub(super) fn each(&mut self, each: &Located<String>, within: &Within) -> Option<(Path, Within)> {
        let path = self.path(each, within)?;
        if path.hl7v2().is_some_and(|path| path.component().is_some()) {
            let text = "each names a segment or a field, not a component".to_owned();
            self.error(each.file, each.span.clone(), "M005", text, "for example \"OBX\" or \"PID-3\"");
            return None;
        }
        let inside = match &path {
            Path::Hl7v2(_) => Within::Message,
            Path::Fhir(path) => path.inside(within),
        };
        Some((path, inside))
    }

    /// The paths of a rule.
    pub(super) fn sources(&mut self, rule: &Rule, within: &Within) -> Vec<Path> {
        let paths: Vec<Path> = rule.from.iter().filter_map(|path| self.source(path, within)).collect();
        for (path, written) in paths.iter().zip(&rule.from).filter(|(path, _)| path.is_whole()) {
            let text = format!("{path} names a whole segment, a field is needed");
            let hint = match path.hl7v2().and_then(|path| Some((path.segment(), path.occurrence()?))) {
                Some((segment, number)) => {
                    format!("did you mean {segment}-{number}? {path} is the segment of that number")
                }
                None => format!("for example \"{path}-1\""),
            };
            self.error(written.file, written.span.clone(), "M005", text, &hint);
        }
        paths
    }

    /// A path of a rule, which may have been meant as the value itself, or to take the base's rule away.
    fn source(&mut self, written: &Located<String>, within: &Within) -> Option<Path> {
        let before = self.reader.problems.len();
        let path = self.path(written, within);
        let is_word = !written.value.contains(['-', '.', '(', '[']);
        let hint = match written.value.trim() {
            "" | "false" => "false without quotes takes the base's rule away".to_owned(),
            value => {
                format!("a path is meant here; a value that is always the same is written {{ constant = {value:?} }}")
            }
        };
        let bare = self.reader.problems.get_mut(before).filter(|problem| is_word && problem.hint.is_none());
        if let Some(problem) = bare.filter(|problem| problem.code == "M005") {
            problem.hint = Some(hint);
        }
        path
    }

    pub(super) fn path(&mut self, written: &Located<String>, within: &Within) -> Option<Path> {
        match self.format {
            Format::Fhir => self.element_path(written, within).map(|path| Path::Fhir(Box::new(path))),
            Format::Hl7v2 => match hl7v2::Path::parse(&written.value) {
                Ok(path) => Some(Path::Hl7v2(path)),
                Err(problem) => {
                    let start = problem.offset.min(written.value.len());
                    let span = self.reader.part_of(written, start..written.value.len());
                    let hint = meant::hint_of_path(&written.value);
                    self.error(written.file, span, "M005", format!("{}: {problem}", written.value), &hint);
                    None
                }
            },
        }
    }

    pub(super) fn condition(&mut self, written: &Located<String>, within: &Within) -> Option<Condition> {
        if self.format == Format::Fhir {
            return self.element_condition(written, within).map(|path| Condition::Fhir(Box::new(path)));
        }
        match Expression::parse(&written.value) {
            Ok(expression) => Some(Condition::Hl7v2(expression)),
            Err(problem) => {
                let span = self.reader.part_of(written, problem.span);
                self.error(written.file, span, "M006", problem.text, &problem.hint);
                None
            }
        }
    }

    /// Whether the elements that a rule's paths lead to are what it reads.
    pub(super) fn element_types(&mut self, rule: &Rule, from: &[Path], coercion: Coercion, target: &Target) {
        if from.len() != rule.from.len() {
            return;
        }
        for (index, (path, written)) in from.iter().zip(&rule.from).enumerate() {
            let Path::Fhir(path) = path else { continue };
            self.part_behind_its_whole(written, from[..index].iter().zip(&rule.from), coercion);
            let Some(types) = path.types() else { continue };
            if coercion == Coercion::Name && target.spread {
                self.part_of_name(written, path, &rule.from);
            }
            let reads_what_it_names = matches!(coercion, Coercion::Staff | Coercion::Coded | Coercion::Name);
            let is_its_text =
                types.iter().all(|name| name == "string") && path.results().any(|name| name.ends_with(".reference"));
            if reads_what_it_names && is_its_text {
                let text = format!(
                    "{} is the text of a reference, as Practitioner/7, and not what it leads to",
                    written.value
                );
                let hint = format!("write {}", written.value.trim().trim_end_matches(".reference"));
                self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
                continue;
            }
            let types: Vec<&str> = types.iter().map(|name| name.strip_prefix("System.").unwrap_or(name)).collect();
            let is_named_text = rule.coercion.is_none() && path.is_named_text() && !takes_named_texts(coercion);
            if is_named_text || !types.iter().any(|name| reads(coercion, name)) {
                let text =
                    format!("{} ({}) does not hold what {} is made of", written.value, types.join(" or "), target.name);
                let hint = "is another element meant?";
                self.reader.warn(written.file, written.span.clone(), "M018", text, hint);
            }
        }
    }

    /// A path behind one that reads what it names: `reasonCode.text` behind `reasonCode`.
    fn part_behind_its_whole<'p>(
        &mut self,
        written: &Located<String>,
        before: impl Iterator<Item = (&'p Path, &'p Located<String>)>,
        coercion: Coercion,
    ) {
        for (path, whole) in before {
            let Path::Fhir(path) = path else { continue };
            let part = written.value.trim().strip_prefix(whole.value.trim());
            let Some((types, part)) = path.types().zip(part.and_then(|part| part.strip_prefix('.'))) else { continue };
            if !types.is_empty() && types.iter().all(|name| reads_part(coercion, name, part)) {
                let text = format!("{} is never asked: {}, before it, reads it", written.value, whole.value);
                let hint = "leave it out, or put the narrower path first";
                return self.reader.warn(written.file, written.span.clone(), "M021", text, hint);
            }
        }
    }

    /// A part of a name where a whole one is read: who sends the other parts has none.
    fn part_of_name(&mut self, written: &Located<String>, path: &ElementPath, from: &[Located<String>]) {
        let parts = [".name.text", ".name.family", ".name.given"];
        let part = path.results().find_map(|result| parts.into_iter().find(|part| result.ends_with(part)));
        let Some(part) = part.filter(|_| from.len() == 1) else { return };
        let part = part.trim_start_matches(".name");
        let text = format!("{} is a part of the name, and a name that is sent without it is lost", written.value);
        let whole = written.value.trim().strip_suffix(part).unwrap_or("name");
        let hint = format!("write {whole}: it reads the text, else family and given");
        self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
    }

    fn element_path(&mut self, written: &Located<String>, within: &Within) -> Option<ElementPath> {
        let parsed = ElementPath::parse(&written.value, within);
        let path = parsed.map_err(|problem| self.path_problem(written, problem, "M005")).ok()?;
        self.remarks(written, &path, within);
        Some(path)
    }

    /// A condition is a path that gives one truth value.
    fn element_condition(&mut self, written: &Located<String>, within: &Within) -> Option<ElementPath> {
        let parsed = ElementPath::condition(&written.value, within);
        let path = parsed.map_err(|problem| self.path_problem(written, problem, "M006")).ok()?;
        self.remarks(written, &path, within);
        Some(path)
    }

    /// What a path says that can be answered and was hardly meant so, and resources that no unit of the block's has.
    fn remarks(&mut self, written: &Located<String>, path: &ElementPath, within: &Within) {
        // In a condition who writes it knows the version.
        let is_told = |remark: &&Remark| remark.kind != RemarkKind::OneVersion || !path.is_condition();
        for remark in path.remarks().iter().filter(is_told) {
            let code = match remark.kind {
                RemarkKind::UnknownCode => "M022",
                RemarkKind::UnlikelyText => "M021",
                RemarkKind::Several | RemarkKind::NoTruth | RemarkKind::Second | RemarkKind::OneVersion => "M027",
            };
            let span = self.reader.part_of(written, remark.span.clone());
            self.reader.warn(written.file, span, code, remark.problem.clone(), &remark.hint);
        }
        let opened = within.opened();
        let held = opened.map_or_else(|| READ.to_vec(), types_of_unit);
        for (root, span) in path.roots().filter(|(root, _)| !held.contains(root)) {
            let text = match opened {
                Some("Patient") => format!(
                    "the unit of a Patient alone holds no {root}: what other units find here is taken back by it"
                ),
                Some(opened) => format!("a unit of {opened} holds no {root}: this is never there"),
                None => format!("no unit holds a {root}: this is never there"),
            };
            let hint = format!("there are {}", held.join(", "));
            let span = self.reader.part_of(written, span);
            self.reader.warn(written.file, span, "M021", text, &hint);
        }
    }

    fn path_problem(&mut self, written: &Located<String>, problem: crate::fhir::PathError, code: &'static str) {
        let crate::fhir::PathError { offset, length, problem, hint, .. } = problem;
        let end = (offset + length).min(written.value.len());
        let span = self.reader.part_of(written, offset.min(end)..end);
        let text = format!("{}: {problem}", written.value);
        // An element of nearly that name is sooner meant than a text.
        let is_near = hint.as_ref().is_some_and(|hint| hint.starts_with("did you mean"));
        let text_hint = || meant::fhir::hint_of_text(&written.value, offset).filter(|_| !is_near);
        let hint = meant::fhir::hint(&written.value, offset).or_else(text_hint).or(hint);
        self.error(written.file, span, code, text, hint.as_deref().unwrap_or_default());
    }
}

/// Whether a coercion that is given a whole element of this type makes something of this part of it.
fn reads_part(coercion: Coercion, data_type: &str, part: &str) -> bool {
    let parts: &[&str] = match data_type {
        "CodeableConcept" => &["text", "coding", "coding.display", "coding.code"],
        "Coding" => &["display", "code"],
        "HumanName" => &["text", "family", "given"],
        "Address" => &["text"],
        "Reference" => &["display"],
        _ => &[],
    };
    let reads_words =
        matches!(coercion, Coercion::Text | Coercion::Name | Coercion::Address | Coercion::Coded | Coercion::Staff);
    reads_words && parts.contains(&part)
}

/// Whether a coercion can make something of an element of FHIR that is a text by its meaning, such as a name or a code. The value of an
/// extension or of an Observation may be any text, and what is computed as well.
fn takes_named_texts(coercion: Coercion) -> bool {
    !matches!(
        coercion,
        Coercion::Date
            | Coercion::DateTime
            | Coercion::Instant
            | Coercion::Integer
            | Coercion::Decimal
            | Coercion::Boolean
            | Coercion::ReferenceRange
    )
}

/// Whether a coercion can make something of a type of FHIR.
fn reads(coercion: Coercion, data_type: &str) -> bool {
    const TEXTS: &[&str] = &["string", "String", "markdown", "code", "id", "uri", "url", "canonical", "oid", "uuid"];
    const TIMES: &[&str] = &["date", "dateTime", "instant", "Date", "DateTime", "Period", "Timing"];
    const NUMBERS: &[&str] = &["integer", "integer64", "positiveInt", "unsignedInt", "decimal", "Integer", "Decimal"];
    const QUANTITIES: &[&str] = &["Quantity", "SimpleQuantity", "Age", "Count", "Distance", "Duration", "Money"];
    const CONCEPTS: &[&str] = &["CodeableConcept", "Coding", "CodeableReference"];
    const BOOLEANS: &[&str] = &["boolean", "Boolean"];
    const PEOPLE: &[&str] =
        &["Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Organization", "CareTeam", "Group"];
    const PLACES: &[&str] = &["Organization", "Location", "HealthcareService", "Condition", "Procedure", "Observation"];
    const READABLE: &[&str] = &[
        "HumanName",
        "Address",
        "Range",
        "Ratio",
        "Identifier",
        "ContactPoint",
        "Annotation",
        "Attachment",
        "Reference",
    ];
    const VALUES: &[&str] = &["time", "Time", "Range", "Ratio", "SampledData", "Attachment", "Reference"];
    let is = |list: &[&str]| list.contains(&data_type);
    let text = is(TEXTS);
    match coercion {
        Coercion::Text => {
            text || is(TIMES)
                || is(NUMBERS)
                || is(QUANTITIES)
                || is(CONCEPTS)
                || is(BOOLEANS)
                || is(READABLE)
                || is(VALUES)
        }
        Coercion::Code => text || is(CONCEPTS) || is(BOOLEANS) || is(NUMBERS) || is(QUANTITIES),
        Coercion::Name => text || data_type == "HumanName",
        Coercion::Date | Coercion::DateTime | Coercion::Instant => text || is(TIMES),
        Coercion::Integer | Coercion::Decimal => text || is(NUMBERS) || is(QUANTITIES),
        Coercion::Boolean => text || is(BOOLEANS) || is(CONCEPTS),
        Coercion::Phone | Coercion::Email => text || data_type == "ContactPoint",
        Coercion::Identifier => text || matches!(data_type, "Identifier" | "Reference"),
        Coercion::ResidentId => text || data_type == "Identifier",
        Coercion::LabValue => {
            text || is(TIMES) || is(NUMBERS) || is(QUANTITIES) || is(CONCEPTS) || is(BOOLEANS) || is(VALUES)
        }
        Coercion::ReferenceRange => text || matches!(data_type, "Observation.referenceRange" | "Range"),
        Coercion::Alternate => is(CONCEPTS),
        Coercion::Coded => text || is(CONCEPTS) || is(PLACES) || data_type == "Reference",
        Coercion::Staff => {
            text || is(PEOPLE) || matches!(data_type, "Reference" | "CodeableReference" | "HumanName" | "Identifier")
        }
        Coercion::Address | Coercion::Street => text || data_type == "Address",
        Coercion::Unit => text || is(QUANTITIES),
    }
}
