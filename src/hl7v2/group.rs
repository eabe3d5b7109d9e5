//! Which segment belongs to which: the engine owns grouping, no mapping file repeats it.
//!
//! The structures of the standard differ by message and version and senders keep to none of them, so grouping goes by the
//! order of segments alone:
//! - PID opens a patient; PV1, PD1, NK1, MRG, IN1 and the like belong to the nearest PID before them.
//! - OBR opens an order of its patient. An ORC belongs to the OBR after it (in OUL: before it). SPM belongs to the OBR before it;
//!   where it comes before the first OBR of its patient (OUL), each SPM opens a specimen and the OBRs after it belong to that.
//! - OBX belongs to the nearest OBR before it, whatever lies between; without one to the ORC (RXA), specimen or patient.
//! - NTE belongs to the segment before it.
//! - RGS opens a group of resources (SIU); AIS, AIG, AIL and AIP belong to it.
//! - IN2 and IN3 belong to IN1, PV2 to PV1, TQ2 to TQ1. Z-segments and all others belong to the innermost that is open.
//!
//! The result is a tree of owners, a few levels deep. A [`Scope`] is one node of it.

use super::message::{Segment, position};
use super::{Message, Path};

/// The owner of each segment, and how far the segments that it owns reach.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    /// By position; `NOBODY`: the message itself.
    owners: Vec<u32>,
    /// By position: first and last position of the segment and of all that it owns.
    extents: Vec<(u32, u32)>,
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

impl Groups {
    /// Groups segments by their names in order.
    pub(super) fn of(names: impl Iterator<Item = [u8; 3]>) -> Self {
        let owners: Vec<u32> = names.map(|_| NOBODY).collect();
        let extents = (0..owners.len() as u32).map(|index| (index, index)).collect();
        Self { owners, extents }
    }

    fn owner(&self, index: usize) -> Option<usize> {
        let owner = self.owners[index];
        (owner != NOBODY).then_some(owner as usize)
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
        self.segments(name).map(|segment| Scope { anchor: Some(segment.index()), current: None, ..*self }).collect()
    }

    /// One scope for each segment, or for each repetition that has a value, that `path` means: what `each` opens in a mapping. A
    /// path to a field without a repetition means all of them.
    pub fn each(&self, path: &Path) -> Vec<Scope<'m>> {
        path.scopes(self)
    }

    /// The first segment of this name that is seen from here.
    pub fn segment(&self, name: &str) -> Option<Segment<'m>> {
        self.segments(name).next()
    }

    /// The segments of this name that are seen from here: those in the scope; if there are none, those of its parents that are not
    /// in a sibling (another patient, another OBR). An NTE is seen only by the segment before it, and by the whole message.
    pub fn segments(&self, name: &str) -> impl Iterator<Item = Segment<'m>> {
        let message = self.message;
        name.as_bytes()
            .try_into()
            .ok()
            .map(|name| self.seen(name))
            .into_iter()
            .flatten()
            .filter_map(|index| message.segment(index))
    }

    pub(super) fn seen(&self, name: [u8; 3]) -> impl Iterator<Item = usize> + use<'m> {
        self.message.positions(name).iter().map(|&key| position(key))
    }

    pub(super) fn current(&self) -> Option<&Current<'m>> {
        self.current.as_ref()
    }

    pub(super) fn at(&self, anchor: Option<usize>, current: Option<Current<'m>>) -> Self {
        Self { message: self.message, anchor, current }
    }

    pub(super) fn anchor_index(&self) -> Option<usize> {
        self.anchor
    }
}
