//! A site's own records, read for training and for comparing models. Reads only, a page at a time, and keeps counts, not records.
//!
//! Keys are fingerprints: read in their order they are in no order of anything else, so whoever reads up to a limit has drawn blocks by
//! chance, each of them whole. The same store gives the same sample.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Site;
use super::matching::{Known, Matcher, RECORDS_OF_KEY};
use super::patient::state_of;
use crate::identity::{
    Blocking, Candidate, CandidateRecord, Evidence, Model, PatientFacts, Sample, Tie, compare, keys, passes,
    probability,
};
use crate::record::RecordNumber;
use crate::store::records::{LinkKind, PatientRecord};
use crate::store::reviews::{ReviewFilter, ReviewState, ReviewStates};
use crate::store::{Store, StoreError, matching, no_links, records, reviews};

/// Keys or people read in one snapshot: a long one would keep the log of writes from being reset.
const PAGE: usize = 256;
/// People whose first records are compared at random.
const PEOPLE_COMPARED: usize = 10_000;
/// With how many others each of them.
const PARTNERS: usize = 100;
/// Reviews that are taken into account, the newest.
const REVIEWS: usize = 50_000;
/// Samples of each change.
const SAMPLES: usize = 10;

/// What was read.
#[derive(Debug)]
pub struct Drawn {
    /// The counts.
    pub sample: Sample,
    /// Records in blocks that were read, each as often as a block has it.
    pub records: usize,
}

/// Reads at most about `limit` records in blocks, and as many people, for [`crate::identity::train`].
///
/// # Errors
/// See [`StoreError`].
pub fn draw(store: &Store, site: &Site, limit: usize) -> Result<Drawn, StoreError> {
    let mut sample = Sample::default();
    people(store, site, limit, &mut sample)?;
    let mut decided = decided(store)?;
    let mut met: HashSet<(i64, i64)> = HashSet::new();
    let records = blocks(store, site, limit, |_, hash, known| {
        let kind = |known: &Known| {
            keys(&PatientFacts::of(&known.record)).into_iter().find(|key| key.hash == hash).map(|key| key.kind)
        };
        let Some(blocking) = known.first().and_then(kind).and_then(Blocking::of) else { return Ok(()) };
        for (one, other) in pairs(known) {
            let pair = numbered(one, other);
            let verdict = decided.get(&pair).copied();
            if verdict.is_some() {
                met.insert(pair);
            }
            sample.add_pair(blocking, &compare(&one.facts, &other.facts), verdict);
        }
        Ok(())
    })?;
    decided.retain(|pair, is_same| *is_same && !met.contains(pair));
    for pairs in decided.keys().collect::<Vec<_>>().chunks(PAGE) {
        store.read(|reader| {
            let matcher = Matcher { reader, site };
            for (one, other) in pairs {
                let (one, other) = (known(matcher, *one)?, known(matcher, *other)?);
                sample.add_pair(Blocking::Reviews, &compare(&one.facts, &other.facts), Some(true));
            }
            Ok(())
        })?;
    }
    Ok(Drawn { sample, records })
}

/// Pairs of records that people decided: one patient, or two.
fn decided(store: &Store) -> Result<BTreeMap<(i64, i64), bool>, StoreError> {
    let filter = ReviewFilter { states: ReviewStates::Decided, kind: None };
    let mut decided = BTreeMap::new();
    let mut after = None;
    while decided.len() < REVIEWS {
        let page = store.read(|reader| reviews::list(reader, filter, after, PAGE))?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let by_people = page.iter().filter(|review| review.is_decided());
        decided.extend(by_people.map(|review| (review.question.records, review.state == ReviewState::Linked)));
    }
    Ok(decided)
}

/// Counts what people bear, and compares some of them at random.
fn people(store: &Store, site: &Site, limit: usize, sample: &mut Sample) -> Result<(), StoreError> {
    let all = usize::try_from(store.read(matching::people)?).unwrap_or(usize::MAX);
    let mut compared: Vec<PatientFacts> = Vec::new();
    let mut last = String::new();
    loop {
        let (next, facts) = store.read(|reader| {
            let matcher = Matcher { reader, site };
            let page = records::holders(reader, &last, PAGE)?;
            let next = page.last().cloned();
            let mut facts = Vec::new();
            for one_id in page {
                let place = drawn(&one_id);
                if !is_among(place, limit, all) {
                    continue;
                }
                let members = matcher.records_of(&one_id)?;
                facts.push((place, members.into_iter().map(|known| known.facts).collect::<Vec<_>>()));
            }
            Ok((next, facts))
        })?;
        for (place, facts) in facts {
            sample.add_person(&facts);
            if let Some(first) = facts.into_iter().next().filter(|_| is_among(place, PEOPLE_COMPARED, all)) {
                compared.push(first);
            }
        }
        match next {
            Some(next) => last = next,
            None => break,
        }
    }
    let count = compared.len();
    for partner in 0..PARTNERS.min(count.saturating_sub(1)) {
        // A prime that no count of people up to the limit is a multiple of but by chance: partners are spread over all.
        let step = 1 + partner * 7_919 % (count - 1);
        for (place, one) in compared.iter().enumerate() {
            sample.add_strangers(&compare(one, &compared[(place + step) % count]));
        }
    }
    Ok(())
}

/// A number of 32 bits that depends on the One ID only: the end of a ULID is random.
fn drawn(one_id: &str) -> u64 {
    one_id.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0193) & 0xffff_ffff)
}

/// Whether who drew `place` is among the about `wanted` of `all`.
fn is_among(place: u64, wanted: usize, all: usize) -> bool {
    all <= wanted || u128::from(place) * (all as u128) < (wanted as u128) << 32
}

/// Gives `visit` every block of records that share a key until about `limit` records are read; gives how many were.
fn blocks(
    store: &Store,
    site: &Site,
    limit: usize,
    mut visit: impl FnMut(Matcher<'_>, u64, &[Known]) -> Result<(), StoreError>,
) -> Result<usize, StoreError> {
    let (mut read, mut after) = (0, None);
    while read < limit {
        let found = store.read(|reader| {
            let matcher = Matcher { reader, site };
            let page = matching::shared_keys(reader, after, RECORDS_OF_KEY, PAGE)?;
            for hash in &page {
                let sharing = matching::records_with(reader, *hash, RECORDS_OF_KEY)?;
                let block: Vec<Known> = sharing.iter().map(|id| known(matcher, *id)).collect::<Result<_, _>>()?;
                read += block.len();
                visit(matcher, *hash, &block)?;
                if read >= limit {
                    break;
                }
            }
            Ok(page.last().copied())
        })?;
        match found {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    Ok(read)
}

fn known(matcher: Matcher<'_>, id: i64) -> Result<Known, StoreError> {
    let row = matcher.record(id)?;
    let record = state_of(&row)?.record();
    Ok(Known { facts: matcher.usable(PatientFacts::of(&record))?, record, row })
}

fn pairs(block: &[Known]) -> impl Iterator<Item = (&Known, &Known)> {
    block.iter().enumerate().flat_map(|(place, one)| block[place + 1..].iter().map(move |other| (one, other)))
}

fn numbered(one: &Known, other: &Known) -> (i64, i64) {
    (one.row.id.min(other.row.id), one.row.id.max(other.row.id))
}

/// What a model says of two records, as if they were all there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PairVerdict {
    /// One patient.
    Link,
    /// Somebody has to say.
    Review,
    /// Nothing worth asking.
    Nothing,
}

impl PairVerdict {
    /// `link`, `review`, `nothing`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Review => "review",
            Self::Nothing => "nothing",
        }
    }

    fn of(model: &Model, evidence: &Evidence) -> Self {
        if passes(model, evidence) {
            Self::Link
        } else if evidence.ruled_out {
            Self::Nothing
        } else {
            Self::Review
        }
    }
}

/// Two records of which two models say different things.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledPair {
    /// Their numbers.
    pub records: [RecordNumber; 2],
    /// The probability that they are one patient by the one model and by the other.
    pub probabilities: [f64; 2],
}

/// Pairs of which the models say this and that.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Change {
    /// How many.
    pub pairs: u64,
    /// Some of them.
    pub samples: Vec<SampledPair>,
}

/// What another model would change if all records came anew. Persons are taken as pairs say, without the margin between several.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Differences {
    /// Records read in blocks, each as often as a block has it.
    pub records: usize,
    /// Pairs compared, each once.
    pub pairs: u64,
    /// What changes, by what the models say.
    pub changes: BTreeMap<(PairVerdict, PairVerdict), Change>,
    /// Pairs of persons who would become one.
    pub joined: u64,
    /// Persons who would come apart.
    pub split: u64,
}

/// Weighs at most about `limit` records in blocks by the models of two sites.
///
/// # Errors
/// See [`StoreError`].
pub fn compare_models(store: &Store, before: &Site, after: &Site, limit: usize) -> Result<Differences, StoreError> {
    let mut found = Differences::default();
    let mut seen: HashSet<(i64, i64)> = HashSet::new();
    let (mut joined, mut shaken): (BTreeSet<(String, String)>, BTreeSet<String>) = Default::default();
    let records = blocks(store, before, limit, |matcher, _, block| {
        // What its source has merged stands and falls with the record that survived.
        let live = |pair: &(&Known, &Known)| pair.0.row.merged_into.is_none() && pair.1.row.merged_into.is_none();
        for (one, other) in pairs(block).filter(live) {
            if !seen.insert(numbered(one, other)) {
                continue;
            }
            found.pairs += 1;
            let Some((was, was_bits)) = verdict(matcher, one, other)? else { continue };
            let Some((is, bits)) = verdict(Matcher { site: after, ..matcher }, one, other)? else { continue };
            if was == is {
                continue;
            }
            let change = found.changes.entry((was, is)).or_default();
            change.pairs += 1;
            if change.samples.len() < SAMPLES {
                let records = [one.row.number.clone(), other.row.number.clone()];
                change.samples.push(SampledPair { records, probabilities: [probability(was_bits), probability(bits)] });
            }
            let same = one.row.one_id == other.row.one_id;
            if is == PairVerdict::Link && !same {
                let (one, other) = (one.row.one_id.clone(), other.row.one_id.clone());
                joined.insert(if one < other { (one, other) } else { (other, one) });
            } else if was == PairVerdict::Link && same {
                shaken.insert(one.row.one_id.clone());
            }
        }
        Ok(())
    })?;
    for one_id in &shaken {
        let comes_apart = store.read(|reader| {
            let parts = |site| parts(Matcher { reader, site }, one_id);
            Ok(parts(after)? > parts(before)?)
        })?;
        found.split += u64::from(comes_apart);
    }
    Ok(Differences { records, joined: joined.len() as u64, ..found })
}

fn verdict(matcher: Matcher<'_>, one: &Known, other: &Known) -> Result<Option<(PairVerdict, f64)>, StoreError> {
    let numbers: BTreeSet<RecordNumber> = one.numbers().collect();
    let tie = other.numbers().any(|number| numbers.contains(&number)).then_some(Tie::SameNumber);
    let is_parted = no_links::between(matcher.reader, &[one.row.id], &[other.row.id])?.is_some();
    let record =
        CandidateRecord { id: other.row.id, facts: other.facts.clone(), tie, is_parted, patient: other.row.id };
    let candidate = Candidate { one_id: other.row.one_id.clone(), records: vec![record] };
    let own = matcher.counted_of(&one.row.one_id, &other.row.one_id)?;
    let evidence = matcher.weigh(&one.facts, &candidate, own)?;
    Ok(evidence.map(|found| (PairVerdict::of(&matcher.site.model, &found), found.score.bits)))
}

/// Into how many groups the records of a person fall that nothing holds together: no link by rule, no decision, no merge of a source.
fn parts(matcher: Matcher<'_>, one_id: &str) -> Result<usize, StoreError> {
    let mut members = matcher.records_of(one_id)?;
    members.truncate(RECORDS_OF_KEY);
    let mut group: Vec<usize> = (0..members.len()).collect();
    for (place, one) in members.iter().enumerate() {
        for (next, other) in members.iter().enumerate().skip(place + 1) {
            if group[place] != group[next]
                && (is_held(&one.row, &other.row)
                    || verdict(matcher, one, other)?.is_some_and(|(v, _)| v == PairVerdict::Link))
            {
                let (kept, gone) = (group[place], group[next]);
                group.iter_mut().filter(|of| **of == gone).for_each(|of| *of = kept);
            }
        }
    }
    Ok(group.into_iter().collect::<BTreeSet<_>>().len())
}

fn is_held(one: &PatientRecord, other: &PatientRecord) -> bool {
    one.link != LinkKind::Auto
        || other.link != LinkKind::Auto
        || one.merged_into == Some(other.id)
        || other.merged_into == Some(one.id)
}
