//! Which segment belongs to which: the engine owns grouping, no mapping file repeats it.
//!
//! The structures of the standard differ by message and version and senders keep to none of them, so grouping goes by the
//! order of segments alone:
//! - PID opens a patient; PV1, PD1, NK1, MRG, IN1 and the like belong to the nearest PID before them.
//! - OBR opens an order of its patient. An ORC belongs to the OBR after it (in OUL: before it). SPM belongs to the OBR before it;
//!   where it comes before the first OBR of its patient (OUL), each SPM opens a specimen and the OBRs after it belong to that.
//! - TXA opens a document of its patient (MDM); what comes after belongs to it as to an OBR. In messages about orders (ORU, OUL, ORM …)
//!   it says more about a document of the order (ORDER_DOCUMENT, v2.8) and opens nothing.
//! - OBX belongs to the nearest OBR or TXA before it, whatever lies between; without one to the ORC (RXA), specimen or patient.
//! - NTE belongs to the segment before it. Companions that say more about another segment (TQ1, PRT, Z-segments …) have no notes of
//!   their own: a note after one is about what that belongs to, and a note on an ORC about its OBR. One on an order before a TXA of MDM
//!   is about that document.
//! - RGS opens a group of resources (SIU); AIS, AIG, AIL and AIP belong to it.
//! - IN2 and IN3 belong to IN1, PV2 to PV1, TQ2 to TQ1. Z-segments and all others belong to the innermost that is open.
//!
//! The result is a tree of owners, a few levels deep. A [`Scope`] is one node of it.

use super::message::Segment;
use super::{Message, Path};

/// The owner of each segment, and how far the segments that it owns reach.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    /// By position; `NOBODY`: the message itself.
    owners: Vec<u32>,
    /// By position: first and last position of the segment and of all that it owns.
    extents: Vec<(u32, u32)>,
    /// By position: nothing within its extent belongs to another.
    is_solid: Vec<bool>,
}

const NOBODY: u32 = u32::MAX;

/// A part of a message that a path is resolved in: the whole, or a segment with all that belongs to it, and perhaps one repetition
/// of a field as the current one.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'m> {
    message: &'m Message,
    anchor: Option<usize>,
    current: Option<Current<'m>>,
}

/// The current repetition of a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Current<'m> {
    pub(super) segment: usize,
    pub(super) field: usize,
    /// From 1.
    pub(super) repetition: usize,
    pub(super) raw: &'m str,
}

/// What the type of a message says of the order of its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Structure {
    /// An ORC comes behind its OBR, as in OUL.
    pub(super) orc_follows: bool,
    /// A TXA opens a document, as in MDM.
    pub(super) has_documents: bool,
}

/// Segments of a patient, even where they come after an OBR.
const OF_PATIENT: &[&[u8; 3]] =
    &[b"PD1", b"ARV", b"NK1", b"PV1", b"MRG", b"GT1", b"IN1", b"ACC", b"DB1", b"AL1", b"IAM", b"PDA"];
/// Segments that say more about what they belong to; Z-segments and an ORC behind its OBR are others.
const COMPANIONS: &[&[u8; 3]] = &[b"TQ1", b"TQ2", b"PRT", b"TCD", b"SID", b"CTD", b"PV2", b"IN2", b"IN3"];
/// Segments of the message.
const OF_MESSAGE: &[&[u8; 3]] = &[b"MSH", b"SFT", b"UAC", b"EVN", b"SCH", b"PID", b"RGS", b"DSC", b"FTS", b"BTS"];

/// What is open while segments are read in order.
#[derive(Default)]
struct Open {
    patient: Option<usize>,
    visit: Option<usize>,
    insurance: Option<usize>,
    /// Only where specimens come before orders.
    specimen: Option<usize>,
    /// An ORC that waits for its OBR.
    waiting_orc: Option<usize>,
    /// An OBR or TXA.
    order: Option<usize>,
    timing: Option<usize>,
    observation: Option<usize>,
    resource: Option<usize>,
}

impl Current<'_> {
    pub(super) fn is_of(&self, segment: &Segment<'_>, field: usize) -> bool {
        self.segment == segment.index() && self.field == field
    }
}

impl Groups {
    /// Groups segments by their names in order.
    pub(super) fn of(names: &[[u8; 3]], structure: Structure) -> Self {
        let mut groups = Self { owners: vec![NOBODY; names.len()], ..Self::default() };
        let mut open = Open::default();
        for (index, name) in names.iter().enumerate() {
            let owner = match name {
                b"NTE" => index.checked_sub(1).and_then(|before| groups.noted(before, names)),
                _ => open.owner(name, structure),
            };
            groups.set_owner(index, owner);
            if name == b"TXA" && structure.has_documents {
                groups.take_notes_of_orders(index, names);
            }
            let taken_orc = open.take(index, name, structure);
            if let Some(orc) = taken_orc {
                groups.set_owner(orc, Some(index));
                for (note, _) in names[..index].iter().enumerate().skip(orc).filter(|(_, name)| *name == b"NTE") {
                    if groups.owner(note) == Some(orc) {
                        groups.set_owner(note, Some(index));
                    }
                }
            }
        }
        groups.measure();
        groups
    }

    /// Gives the notes on the orders before a document to the document, back to the one before it.
    fn take_notes_of_orders(&mut self, document: usize, names: &[[u8; 3]]) {
        let of_this = |name: &&[u8; 3]| !matches!(*name, b"TXA" | b"PID");
        let first = document - names[..document].iter().rev().take_while(of_this).count();
        for note in (first..document).filter(|index| &names[*index] == b"NTE") {
            if self.owner(note).is_some_and(|owner| matches!(&names[owner], b"OBR" | b"ORC")) {
                self.set_owner(note, Some(document));
            }
        }
    }

    /// What a note behind the segment at `before` is about.
    fn noted(&self, before: usize, names: &[[u8; 3]]) -> Option<usize> {
        let of_another = match &names[before] {
            b"NTE" => true,
            b"ORC" | b"TXA" => self.owner(before).is_some_and(|owner| matches!(&names[owner], b"OBR" | b"ORC")),
            [b'Z', ..] => self.owner(before).is_some(),
            name => COMPANIONS.contains(&name) && self.owner(before).is_some(),
        };
        if of_another { self.owner(before) } else { Some(before) }
    }

    fn set_owner(&mut self, index: usize, owner: Option<usize>) {
        self.owners[index] = owner.map_or(NOBODY, |owner| owner as u32);
    }

    pub(super) fn owner(&self, index: usize) -> Option<usize> {
        let owner = self.owners[index];
        (owner != NOBODY).then_some(owner as usize)
    }

    /// The segment and its owners, from the inside out. It ends: every owner comes before what it owns, except that an OBR owns
    /// the ORC before it and that one's notes, and an OBR is never owned by either.
    fn line(&self, index: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(index), |&index| self.owner(index))
    }

    fn measure(&mut self) {
        let mut extents: Vec<(u32, u32)> = (0..self.owners.len() as u32).map(|index| (index, index)).collect();
        let mut sizes = vec![1; extents.len()];
        for index in 0..self.owners.len() {
            for owner in self.line(index).skip(1) {
                let (first, last) = extents[owner];
                extents[owner] = (first.min(index as u32), last.max(index as u32));
                sizes[owner] += 1;
            }
        }
        self.is_solid = extents.iter().zip(sizes).map(|((first, last), size)| last - first + 1 == size).collect();
        self.extents = extents;
    }

    /// Whether `index` is `level` or belongs to it, but not by way of a group like `child`. `Err`: by way of one, and the first
    /// position that may be seen after it.
    fn is_seen(
        &self,
        index: usize,
        level: Option<usize>,
        child: Option<usize>,
        message: &Message,
    ) -> Result<bool, usize> {
        let mut branch = None;
        let mut is_within = level.is_none();
        for part in self.line(index) {
            if Some(part) == level {
                is_within = true;
                break;
            }
            branch = Some(part);
        }
        match branch.filter(|_| is_within && is_like(branch, child, message)) {
            Some(sibling) if self.is_solid[sibling] => Err(self.extents[sibling].1 as usize + 1),
            Some(_) => Ok(false),
            None => Ok(is_within),
        }
    }

    /// The positions that are seen, see [`Self::is_seen`]; what a sibling owns is jumped over at once.
    fn seen<'m>(
        &'m self,
        mut positions: &'m [u32],
        level: Option<usize>,
        child: Option<usize>,
        message: &'m Message,
    ) -> impl Iterator<Item = usize> + use<'m> {
        std::iter::from_fn(move || {
            while let Some((&position, rest)) = positions.split_first() {
                positions = rest;
                match self.is_seen(position as usize, level, child, message) {
                    Ok(true) => return Some(position as usize),
                    Ok(false) => {}
                    Err(next) => {
                        let skipped = positions.partition_point(|&position| (position as usize) < next);
                        positions = &positions[skipped..];
                    }
                }
            }
            None
        })
    }
}

/// Positions, in order, from the first to the last of an extent, both included.
fn within(positions: &[u32], (first, last): (u32, u32)) -> &[u32] {
    let from = positions.partition_point(|&position| position < first);
    let length = positions[from..].partition_point(|&position| position <= last);
    &positions[from..from + length]
}

fn is_like(branch: Option<usize>, child: Option<usize>, message: &Message) -> bool {
    matches!((branch, child), (Some(branch), Some(child)) if message.name_at(branch) == message.name_at(child))
}

impl Open {
    fn owner(&self, name: &[u8; 3], structure: Structure) -> Option<usize> {
        let above_orders = self.specimen.or(self.patient);
        let order = self.order.or(self.waiting_orc);
        let innermost = order.or(above_orders);
        match name {
            b"OBX" => innermost,
            b"OBR" => above_orders,
            b"TXA" if structure.has_documents => self.patient,
            b"ORC" if structure.orc_follows && self.order.is_some() => self.order,
            b"ORC" => above_orders,
            b"SPM" if self.specimen.is_some() => self.patient,
            b"SPM" => order.or(self.patient),
            b"AIS" | b"AIG" | b"AIL" | b"AIP" => self.resource,
            b"PV2" => self.visit.or(self.patient),
            b"IN2" | b"IN3" => self.insurance.or(self.patient),
            b"TQ2" => self.timing.or(innermost),
            [b'Z', ..] | b"PRT" | b"TCD" | b"SID" => self.observation.or(innermost),
            name if OF_MESSAGE.contains(&name) => None,
            name if OF_PATIENT.contains(&name) => self.patient,
            _ => innermost,
        }
    }

    /// Opens what the segment opens and closes what it closes. Gives the ORC that has waited for this OBR.
    fn take(&mut self, index: usize, name: &[u8; 3], structure: Structure) -> Option<usize> {
        match name {
            b"PID" => *self = Self { patient: Some(index), resource: self.resource, ..Self::default() },
            b"PV1" => self.visit = Some(index),
            b"IN1" => self.insurance = Some(index),
            b"TQ1" => self.timing = Some(index),
            b"RGS" => self.resource = Some(index),
            b"OBX" => self.observation = Some(index),
            b"OBR" => {
                let waiting = self.waiting_orc.take();
                self.open_order(Some(index), waiting.and(self.timing));
                return waiting;
            }
            b"TXA" if structure.has_documents => {
                self.waiting_orc = None;
                self.open_order(Some(index), None);
            }
            b"ORC" if !(structure.orc_follows && self.order.is_some()) => {
                self.open_order(None, None);
                self.waiting_orc = Some(index);
            }
            b"SPM" if self.specimen.is_some() || self.order.or(self.waiting_orc).is_none() => {
                self.open_order(None, None);
                self.waiting_orc = None;
                self.specimen = Some(index);
            }
            b"SPM" => self.observation = None,
            _ => {}
        }
        None
    }

    fn open_order(&mut self, order: Option<usize>, timing: Option<usize>) {
        self.order = order;
        self.timing = timing;
        self.observation = None;
    }
}

impl<'m> Scope<'m> {
    /// The whole message.
    pub fn whole(message: &'m Message) -> Self {
        Self { message, anchor: None, current: None }
    }

    /// The message.
    pub fn message(&self) -> &'m Message {
        self.message
    }

    /// The segment that the scope was opened by; `None` for the whole message.
    pub fn anchor(&self) -> Option<Segment<'m>> {
        self.anchor.and_then(|index| self.message.segment(index))
    }

    /// One scope for each patient (PID) in the message, so that a second PATIENT_RESULT is never mixed with the first; the
    /// scope itself, where there is no PID.
    pub fn patients(&self) -> Vec<Scope<'m>> {
        let patients = self.scopes("PID");
        if patients.is_empty() { vec![*self] } else { patients }
    }

    /// One scope for each segment of this name that is seen from here, in order.
    pub fn scopes(&self, name: &str) -> Vec<Scope<'m>> {
        self.segments(name).map(|segment| self.at(segment.index(), None)).collect()
    }

    /// One scope for each segment, or for each repetition that has a value, that `path` means: what `each` opens in a mapping. A
    /// path to a field without a repetition means all of them.
    pub fn each(&self, path: &Path) -> Vec<Scope<'m>> {
        let mut found = Vec::new();
        self.visit_each(path, &mut |scope| found.push(scope));
        found
    }

    /// The same scopes, handed to `visit` one by one.
    pub fn visit_each(&self, path: &Path, visit: &mut dyn FnMut(Scope<'m>)) {
        path.visit_scopes(self, visit);
    }

    /// The first segment of this name that is seen from here.
    pub fn segment(&self, name: &str) -> Option<Segment<'m>> {
        self.segments(name).next()
    }

    /// The segments of this name that are seen from here: those in the scope; if there are none, those of its parents that are not
    /// in a sibling (another patient, another OBR). An NTE is seen only by what it is about, and by the whole message.
    pub fn segments(&self, name: &str) -> impl Iterator<Item = Segment<'m>> {
        let message = self.message;
        let seen = name.as_bytes().try_into().ok().map(|name| self.seen(name));
        seen.into_iter().flatten().filter_map(|index| message.segment(index))
    }

    /// The first segment of one name that is seen from here.
    pub(super) fn first_seen(&self, name: [u8; 3]) -> Option<Segment<'m>> {
        // No segment owns another of its own name, so the first one seen from a scope is the one that opened it.
        if let Some(anchor) = self.anchor.filter(|anchor| self.message.name_at(*anchor) == name) {
            return self.message.segment(anchor);
        }
        // Where nothing of another's lies between, all that lies within is seen; whose a note is only its owner tells.
        let groups = self.message.groups();
        if let Some(anchor) = self.anchor.filter(|anchor| groups.is_solid[*anchor] && &name != b"NTE")
            && let Some(first) = within(self.message.positions(name), groups.extents[anchor]).first()
        {
            return self.message.segment(*first as usize);
        }
        self.seen(name).next().and_then(|index| self.message.segment(index))
    }

    /// Positions of the segments of one name that are seen from here.
    pub(super) fn seen(&self, name: [u8; 3]) -> impl Iterator<Item = usize> + use<'m> {
        let message = self.message;
        let groups = message.groups();
        let all = message.positions(name);
        // A name that is not in the message need not be looked for in each scope.
        let (mut level, mut child) = (self.anchor.filter(|_| !all.is_empty()), None);
        let found = loop {
            let positions = level.map_or(all, |level| within(all, groups.extents[level]));
            let mut seen = groups.seen(positions, level, child, message).peekable();
            // A note is never inherited: that of an order is not that of each result.
            let outer = level.filter(|_| seen.peek().is_none() && &name != b"NTE");
            let Some(inner) = outer else { break seen };
            (level, child) = (groups.owner(inner), Some(inner));
        };
        let notes_of = self.anchor.filter(|_| &name == b"NTE");
        found.filter(move |&index| notes_of.is_none_or(|anchor| index == anchor || groups.owner(index) == Some(anchor)))
    }

    /// The scope of one segment, with or without a current repetition in it.
    pub(super) fn at(&self, segment: usize, current: Option<Current<'m>>) -> Self {
        Self { message: self.message, anchor: Some(segment), current }
    }

    pub(super) fn current(&self) -> Option<&Current<'m>> {
        self.current.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::{Charset, Limits};

    /// A message whose segments carry their own number in field 1: `OBX|7` is the seventh after MSH.
    fn message(kind: &str, names: &str) -> Message {
        let mut text = format!("MSH|^~\\&|||||||{kind}\r");
        for (index, name) in names.split_whitespace().enumerate() {
            text.push_str(&format!("{name}|{}\r", index + 1));
        }
        Message::parse(text, Charset::Utf8, &Limits::default()).unwrap()
    }

    /// For each scope of the first name in a chain, within the scope before: what it sees of the last name.
    fn check(message: &Message, anchors: &str, wanted: &str, expected: &[&str]) {
        let mut scopes = vec![message.scope()];
        for anchor in anchors.split_whitespace() {
            scopes = scopes.iter().flat_map(|scope| scope.scopes(anchor)).collect();
        }
        let seen =
            |scope: &Scope<'_>| scope.segments(wanted).map(|segment| segment.field(1).to_owned()).collect::<Vec<_>>();
        let found: Vec<String> = scopes.iter().map(|scope| seen(scope).join(" ")).collect();
        assert_eq!(found, expected, "{anchors} > {wanted}");
    }

    #[test]
    fn an_obx_belongs_to_the_nearest_obr_before_it() {
        let message = message("ORU^R01", "PID PV1 ORC OBR NTE TQ1 SPM NTE OBX NTE NTE OBX ORC OBR OBX SPM OBX ZRX");
        check(&message, "OBR", "OBX", &["9 12", "15 17"]);
        check(&message, "OBR", "ORC", &["3", "13"]);
        check(&message, "OBR", "SPM", &["7", "16"]);
        check(&message, "OBR", "TQ1", &["6", ""]);
        check(&message, "OBR OBX", "OBX", &["9", "12", "15", "17"]);
        check(&message, "OBR OBX", "OBR", &["4", "4", "14", "14"]);
        check(&message, "OBR OBX", "ORC", &["3", "3", "13", "13"]);
        check(&message, "OBR OBX", "PID", &["1", "1", "1", "1"]);
        check(&message, "OBR OBX", "ZRX", &["", "", "", "18"]);
        check(&message, "OBR OBX", "MSH", &["|", "|", "|", "|"]);
        check(&message, "", "OBX", &["9 12 15 17"]);
    }

    #[test]
    fn a_note_is_seen_by_the_segment_before_it_alone() {
        let message = message("ORU^R01", "PID NTE OBR NTE SPM NTE OBX NTE NTE OBX OBR OBX");
        check(&message, "OBR", "NTE", &["4", ""]);
        check(&message, "OBR OBX", "NTE", &["8 9", "", ""]);
        check(&message, "PID", "NTE", &["2"]);
        check(&message, "", "NTE", &["2 4 6 8 9"]);
        check(&message, "OBX NTE", "NTE", &["8", "9"]);
        check(&message, "OBX NTE", "OBX", &["7", "7"]);
    }

    #[test]
    fn a_note_behind_a_companion_is_about_what_that_belongs_to() {
        let siu = message("SIU^S12", "SCH TQ1 NTE PID PV1 PV2 NTE RGS AIS NTE");
        check(&siu, "TQ1", "NTE", &["3"]);
        check(&siu, "PV1", "NTE", &["7"]);
        check(&siu, "AIS", "NTE", &["10"]);
        let oru = message("ORU^R01", "PID ORC NTE TQ1 NTE OBR NTE TQ1 NTE PRT NTE OBX ZLB NTE NTE OBX PRT NTE");
        check(&oru, "OBR", "NTE", &["3 5 7 9 11"]);
        check(&oru, "OBR OBX", "NTE", &["14 15", "18"]);
        let oul = message("OUL^R22", "PID SPM NTE OBR ORC NTE TQ1 NTE OBX TCD SID NTE");
        check(&oul, "SPM", "NTE", &["3"]);
        check(&oul, "OBR", "NTE", &["6 8"]);
        check(&oul, "OBR OBX", "NTE", &["12"]);
    }

    #[test]
    fn a_document_owns_what_follows_it_and_not_the_orders_before() {
        let mdm = message("MDM^T02", "EVN PID PV1 ORC TQ1 OBR NTE ORC OBR TXA CON OBX NTE OBX");
        check(&mdm, "TXA", "OBX", &["12 14"]);
        check(&mdm, "TXA", "OBR", &["6 9"]);
        check(&mdm, "TXA", "PV1", &["3"]);
        check(&mdm, "TXA", "NTE", &["7"]);
        let noted = message("MDM^T02", "PID NTE ORC NTE OBR NTE NTE TXA NTE OBX NTE OBR NTE TXA");
        check(&noted, "TXA", "NTE", &["4 6 7 9", "13"]);
        check(&noted, "TXA OBX", "NTE", &["11"]);
        check(&noted, "PID", "NTE", &["2"]);
        check(&mdm, "TXA", "EVN", &["1"]);
        check(&mdm, "OBR", "OBX", &["12 14", "12 14"]);
        check(&mdm, "TXA OBX", "NTE", &["13", ""]);
        let several = message("MDM^T02", "PID TXA OBX TXA OBX");
        check(&several, "TXA", "OBX", &["3", "5"]);
    }

    #[test]
    fn the_document_of_an_order_takes_no_results_from_it() {
        let oul = message("OUL^R22", "PID SPM OBR ORC OBX TXA NTE TQ1 OBX OBX");
        check(&oul, "OBR", "OBX", &["5 9 10"]);
        check(&oul, "OBR", "NTE", &["7"]);
        let oru = message("ORU^R01", "PID ORC OBX TXA OBR OBX OBR TXA OBX");
        check(&oru, "OBR", "OBX", &["3 6", "9"]);
        check(&oru, "OBR", "ORC", &["2", ""]);
    }

    #[test]
    fn an_order_message_has_its_orders_notes_and_diagnoses() {
        let orm = message("ORM^O01", "PID NTE PV1 AL1 ORC OBR NTE DG1 OBX NTE ORC NTE OBR DG1 ORC RXO NTE");
        check(&orm, "PID", "NTE", &["2"]);
        check(&orm, "OBR", "NTE", &["7", "12"]);
        check(&orm, "OBR", "DG1", &["8", "14"]);
        check(&orm, "OBR", "ORC", &["5", "11"]);
        let oml = message("OML^O33", "PID PV1 SPM SAC ORC TQ1 OBR OBX ORC OBR SPM ORC OBR");
        check(&oml, "OBR", "SPM", &["3", "3", "11"]);
        check(&oml, "OBR", "ORC", &["5", "9", "12"]);
    }

    #[test]
    fn two_patients_are_never_mixed() {
        let message = message("ORU^R01", "PID PV1 ORC OBR OBX PID OBR OBX OBR OBX");
        check(&message, "PID", "OBR", &["4", "7 9"]);
        check(&message, "PID", "PV1", &["2", ""]);
        check(&message, "PID OBR", "PV1", &["2", "", ""]);
        check(&message, "PID OBR", "PID", &["1", "6", "6"]);
        check(&message, "PID OBR", "ORC", &["3", "", ""]);
        check(&message, "OBR OBX", "PID", &["1", "6", "6"]);
        assert_eq!(message.scope().patients().len(), 2);
    }

    #[test]
    fn what_lies_between_the_segments_of_a_sibling_is_still_seen() {
        let message = message("ORU^R01", "PID OBR OBX PV1 OBX NTE OBR OBX DG1 OBR PV1");
        check(&message, "OBR", "PV1", &["4 11", "4 11", "4 11"]);
        check(&message, "OBR", "DG1", &["", "9", ""]);
        check(&message, "OBR OBX", "PV1", &["4 11", "4 11", "4 11"]);
    }

    #[test]
    fn each_merge_has_the_patient_before_it() {
        let message = message("ADT^A40", "EVN PID PD1 MRG PV1 PID MRG");
        check(&message, "MRG", "PID", &["2", "6"]);
        check(&message, "MRG", "EVN", &["1", "1"]);
        check(&message, "PID", "MRG", &["4", "7"]);
        check(&message, "MRG", "PV1", &["5", ""]);
    }

    #[test]
    fn specimens_before_orders_own_them() {
        let message = message("OUL^R22", "PID PV1 SPM OBX SAC OBR ORC OBX NTE OBR ORC OBX SPM OBX OBR OBX");
        check(&message, "OBR", "SPM", &["3", "3", "13"]);
        check(&message, "OBR", "OBX", &["8", "12", "16"]);
        check(&message, "OBR", "ORC", &["7", "11", ""]);
        check(&message, "OBR", "SAC", &["5", "5", ""]);
        check(&message, "SPM", "OBX", &["4 8 12", "14 16"]);
        check(&message, "OBR OBX", "NTE", &["9", "", ""]);
        check(&message, "OBR", "PV1", &["2", "2", "2"]);
    }

    #[test]
    fn an_oul_with_orders_first_groups_as_any_other() {
        let message = message("OUL^R24", "PID OBR ORC TQ1 SPM OBX OBR ORC OBX");
        check(&message, "OBR", "ORC", &["3", "8"]);
        check(&message, "OBR", "SPM", &["5", ""]);
        check(&message, "OBR", "OBX", &["6", "9"]);
    }

    #[test]
    fn a_specimen_between_orc_and_obr_belongs_to_their_order() {
        let message = message("ORU^R01", "PID ORC SPM OBR OBX ORC SPM OBR OBX");
        check(&message, "OBR", "ORC", &["2", "6"]);
        check(&message, "OBR", "SPM", &["3", "7"]);
    }

    #[test]
    fn an_orc_for_several_orders_is_the_first_ones() {
        let message = message("ORU^R01", "PID ORC OBR OBX OBR OBX");
        check(&message, "OBR", "ORC", &["2", ""]);
    }

    #[test]
    fn resources_of_an_appointment_are_seen_from_its_patient() {
        let message = message("SIU^S12", "SCH TQ1 NTE PID PV1 RGS AIS NTE AIL AIP RGS AIG");
        check(&message, "RGS", "AIS", &["7", ""]);
        check(&message, "RGS", "AIG", &["", "12"]);
        check(&message, "PID", "AIS", &["7"]);
        check(&message, "PID", "SCH", &["1"]);
        check(&message, "PID", "TQ1", &["2"]);
        check(&message, "AIL", "AIS", &["7"]);
        check(&message, "AIL", "PV1", &["5"]);
    }

    #[test]
    fn companions_belong_to_the_last_of_their_kind() {
        let message = message("ADT^A01", "PID PV1 PV2 IN1 IN2 IN1 IN3 DG1 OBX AL1 ZPI");
        check(&message, "IN1", "IN2", &["5", ""]);
        check(&message, "IN1", "IN3", &["", "7"]);
        check(&message, "PV1", "PV2", &["3"]);
        check(&message, "PID", "OBX", &["9"]);
        check(&message, "PID", "ZPI", &["11"]);
        check(&message, "DG1", "PV1", &["2"]);
    }

    #[test]
    fn a_message_without_patient_or_order_still_has_scopes() {
        let message = message("ORU^R01", "OBX NTE OBX");
        check(&message, "OBX", "NTE", &["2", ""]);
        assert_eq!(message.scope().patients().len(), 1);
        check(&message, "OBR", "OBX", &[]);
    }

    proptest::proptest! {
        #[test]
        fn any_order_of_segments_is_grouped(
            names in "((PID|PV1|PV2|ORC|OBR|TXA|OBX|NTE|SPM|TQ1|TQ2|RGS|AIS|ZZ1|MRG|IN1|IN2|DG1) ){0,25}",
            kind in "(ORU|OUL)",
        ) {
            let message = message(&kind, &names);
            for segment in message.segments() {
                let scope = message.scope().at(segment.index(), None);
                for wanted in ["PID", "PV1", "PV2", "OBR", "ORC", "OBX", "NTE", "SPM", "TXA", "TQ2", "AIS", "ZZ1", "DG1"] {
                    // A scope never sees two patients, and itself first.
                    let seen: Vec<usize> = scope.segments(wanted).map(|segment| segment.index()).collect();
                    proptest::prop_assert!(seen.is_sorted());
                    let first = scope.first_seen(wanted.as_bytes().try_into().unwrap());
                    proptest::prop_assert_eq!(first.map(|segment| segment.index()), seen.first().copied());
                    if wanted == segment.name() {
                        proptest::prop_assert_eq!(&seen, &vec![segment.index()]);
                    }
                }
            }
        }
    }
}
