//! Paths that read one repetition or segment where each of several is meant: the first of a list, or the same for every item.

use super::Checker;
use crate::hl7v2::Path;
use crate::mapping::coerce::Coercion;
use crate::mapping::compile::Target;
use crate::mapping::file::{Located, Rule};
use crate::record::schema::Shape;

/// Segments of which a patient or visit has several, each an item of its own; none of them belongs to another.
const PEERS: &[&str] = &["AL1", "DG1", "GT1", "IAM", "IN1", "NK1", "PR1"];

/// Fields that tell the items of a list apart.
const OF_THE_ITEM: &[&str] = &["code", "name", "number", "text", "value"];

impl Checker<'_, '_, '_> {
    /// What a path of a list of texts, or one in the place of a path of the base's that reads all, leaves out: it reads the first alone.
    pub(super) fn first_alone(
        &mut self,
        rule: &Rule,
        target: &Target,
        coercion: Option<Coercion>,
        within: Option<&Path>,
    ) {
        // All repetitions are the value, and of OBX-5 of any OBX is told.
        if coercion == Some(Coercion::LabValue) {
            return;
        }
        let parsed = |written: &Located<String>| Path::parse(&written.value).ok();
        let of_base: Vec<(Path, &Located<String>)> =
            rule.base_paths.iter().filter_map(|written| Some((parsed(written)?, written))).collect();
        for written in &rule.from {
            let Some(path) = parsed(written).filter(|path| path.field().is_some()) else { continue };
            let is_same = |other: &Path| other.segment() == path.segment() && other.field() == path.field();
            let loses_repetitions = !path.chooses_repetitions() && !within.is_some_and(is_same);
            let loses_segments = path.means_one_segment()
                && path.occurrence().is_none()
                && within.is_none_or(|each| each.segment() != path.segment());
            let lost = |(base, _): &&(Path, &Located<String>)| {
                (loses_repetitions && base.means_all_repetitions()) || (loses_segments && !base.means_one_segment())
            };
            let mut alike = of_base.iter().filter(|(base, _)| is_same(base));
            if let Some((base, place)) = alike.find(lost) {
                let file = &self.reader.files[place.file];
                let is_of_segment = loses_segments && !base.means_one_segment();
                let text = format!(
                    "{path} is the first {} alone; the base's rule in {}:{}, in whose place this stands, reads all: {base}",
                    if is_of_segment { "segment" } else { "repetition" },
                    file.name,
                    file.line(place.span.start)
                );
                let [all, first] = ["*", "1"].map(|number| match is_of_segment {
                    true => {
                        let reads_all = loses_repetitions && base.means_all_repetitions() && number == "*";
                        let path = if reads_all { path.written_with_repetition(number) } else { path.to_string() };
                        path.replacen(base.segment(), &format!("{}[{number}]", base.segment()), 1)
                    }
                    false => path.written_with_repetition(number),
                });
                let hint = format!("write {all} for all; the first on purpose is {first}");
                self.reader.warn(written.file, written.span.clone(), "M026", text, &hint);
            } else if target.shape == Shape::TextList
                && loses_repetitions
                && self.meaning(&path).is_ok_and(|meaning| meaning.repeats && !meaning.types.is_empty())
            {
                let text = format!("{} is a list, and {path} is the first repetition alone", target.name);
                let [all, first] = ["*", "1"].map(|number| path.written_with_repetition(number));
                let hint = format!("write {all} for all; the first on purpose is {first}");
                self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
            }
        }
    }

    /// Paths inside `each = "PID-3"` that read another repeating field: they get its first repetition for every item.
    /// `each_file`: a base's paths are not judged by a site's each.
    pub(super) fn other_repetitions(&mut self, each: &Path, each_file: usize, rules: &[&Rule]) {
        for written in rules.iter().flat_map(|rule| &rule.from).filter(|written| written.file <= each_file) {
            let Ok(path) = Path::parse(&written.value) else { continue };
            if path.segment() != each.segment() || self.meaning(&path).is_ok_and(|meaning| !meaning.repeats) {
                continue;
            }
            if path.field() == each.field() {
                let number = path.repetition().map(|number| number.to_string());
                let number = number.or_else(|| path.means_all_repetitions().then(|| "*".to_owned()));
                if let Some(number) = number.filter(|_| each.repetition().is_none()) {
                    let text = format!("{path} is the same for every item of {each}");
                    let current = path.to_string().replacen(&format!("[{number}]"), "", 1);
                    let hint = format!("the item's own is {current}");
                    self.reader.warn(written.file, written.span.clone(), "M021", text, &hint);
                }
            } else if !path.chooses_repetitions() && self.meaning(&path).is_ok() {
                let text = format!("{path} is the first repetition for every item of {each}");
                let hint =
                    format!("is {each} meant? else say which repetition, as in {}", path.written_with_repetition("1"));
                self.reader.warn(written.file, written.span.clone(), "M021", text, &hint);
            }
        }
    }

    /// Rules of an item that read what lies beside it: a segment of which there are several as well, or, for what tells the items apart,
    /// nothing but what they all belong to.
    pub(super) fn outside_of_item(&mut self, each: &Path, each_file: usize, rules: &[(&Located<String>, &Rule)]) {
        let opens_several = match each.field() {
            None => PEERS.contains(&each.segment()),
            Some(_) => each.repetition().is_none() && self.meaning(each).is_ok_and(|meaning| meaning.repeats),
        };
        if !opens_several {
            return;
        }
        for (target, rule) in rules {
            let paths: Vec<(Path, &Located<String>)> =
                rule.from.iter().filter_map(|written| Some((Path::parse(&written.value).ok()?, written))).collect();
            let is_beside = |path: &Path| {
                path.segment() != each.segment()
                    && PEERS.contains(&path.segment())
                    && PEERS.contains(&each.segment())
                    && path.means_one_segment()
            };
            let is_around = |path: &Path| self.is_around(path, each);
            let tells_apart = OF_THE_ITEM.contains(&target.value.as_str());
            let is_outside = tells_apart && paths.iter().all(|(path, _)| is_around(path));
            let found = paths.iter().find(|(path, _)| is_beside(path) || is_outside);
            let Some((path, written)) = found.filter(|(_, written)| written.file <= each_file) else { continue };
            let text = if is_beside(path) {
                let other = path.segment();
                format!(
                    "{path} is of the first {other}, and the same for every item of {each}: no {other} belongs to it"
                )
            } else {
                format!("{path} is the same for every item of {each}, whose {} it is to be", target.value)
            };
            let hint = format!("is a field of {} meant?", each.segment());
            self.reader.warn(written.file, written.span.clone(), "M021", text, &hint);
        }
    }

    /// Whether a path leads to what an item belongs to: the message, its patient, the visit.
    fn is_around(&self, path: &Path, each: &Path) -> bool {
        const AROUND: &[&str] = &["EVN", "MSH", "PD1", "PID", "PV1", "PV2"];
        path.segment() != each.segment() && AROUND.contains(&path.segment())
    }
}
