//! What agreement is worth at this site: the weights of a [`Model`], estimated from its own records.
//!
//! A weight is log2(m/u). How often strangers agree (u) is counted: in values that people bear (the sum of squared shares), and in random pairs
//! of different persons. How often two records of one patient agree (m) nobody knows, for nobody has said which they are: it is estimated
//! by expectation maximisation (Winkler 1988) among pairs that share one key, with what the key is made of left out, for several kinds of
//! keys that share no fact; their results are averaged by the matches that they found.
//!
//! Those who share a phone or a card and are not one patient are no strangers but relatives: in such blocks the levels of the other pairs
//! are estimated too, and begin at u. Identity numbers and cards count as the model says and are not estimated: in records that hold their
//! own duplicates random pairs agree as often as duplicates are found among them, which is far too often for a number that is one
//! person's, and would shrink its weight by half.
//!
//! Pure, and the same for the same sample whatever its order.

use std::collections::BTreeMap;

use super::block::{BlockKind, TermKind, terms};
use super::compare::{Comparison, NumberLevel, Term};
use super::model::{FACTS, FactKind, Model, Setting, levels, probability};
use super::name::Script;
use super::{Name, PatientFacts};

/// Expected matches at a level below which its weight is left as it is.
pub const FEWEST_MATCHES: f64 = 50.0;
/// Random pairs at a level below which the same holds; 10 give u to within half a bit.
pub const FEWEST_STRANGERS: f64 = 10.0;
/// Pairs of people with a value in common below which its average frequency is left as it is.
const FEWEST_SHARED: f64 = 50.0;
/// What the assumption that relatives agree as strangers do weighs, in pairs.
const RELATIVES_ASSUMED: f64 = 20.0;
/// No estimate moves by more in the last step.
const SETTLED: f64 = 1e-7;
const MOST_ITERATIONS: u32 = 1_000;

/// By which key pairs were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocking {
    /// The same name and birth date.
    NameBirthDate,
    /// The same surname, birth date and sex.
    SurnameBirthDate,
    /// A part of a name in letters, and the birth date.
    PartBirthDate,
    /// The same identity number, which neither has borrowed.
    IdentityNumber,
    /// The same card.
    Card,
    /// The same phone.
    Phone,
    /// The same street and house, in letters.
    StreetHouse,
    /// No key: somebody has decided that they are one patient.
    Reviews,
}

impl Blocking {
    /// The blocking that pairs of a key of this kind are counted in, if any: of keys that are made of the same facts, one.
    pub fn of(kind: BlockKind) -> Option<Self> {
        match kind {
            BlockKind::NameBirthDate => Some(Self::NameBirthDate),
            BlockKind::SurnameBirthDate => Some(Self::SurnameBirthDate),
            BlockKind::PartBirthDate => Some(Self::PartBirthDate),
            BlockKind::IdentityNumber => Some(Self::IdentityNumber),
            BlockKind::Card => Some(Self::Card),
            BlockKind::Phone => Some(Self::Phone),
            BlockKind::StreetHouse => Some(Self::StreetHouse),
            _ => None,
        }
    }

    /// `name_birth_date` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Self::NameBirthDate => "name_birth_date",
            Self::SurnameBirthDate => "surname_birth_date",
            Self::PartBirthDate => "part_birth_date",
            Self::IdentityNumber => "identity_number",
            Self::Card => "card",
            Self::Phone => "phone",
            Self::StreetHouse => "street_house",
            Self::Reviews => "reviews",
        }
    }

    /// The facts that say nothing here: the key is made of them, or they come with it. A home has one phone and one address.
    fn leaves_out(self, fact: FactKind) -> bool {
        match self {
            Self::NameBirthDate | Self::PartBirthDate => matches!(fact, FactKind::Name | FactKind::BirthDate),
            Self::SurnameBirthDate => matches!(fact, FactKind::Name | FactKind::BirthDate | FactKind::Sex),
            Self::IdentityNumber => matches!(fact, FactKind::IdentityNumber | FactKind::Card),
            Self::Card => {
                matches!(fact, FactKind::IdentityNumber | FactKind::Card | FactKind::Phone | FactKind::Address)
            }
            Self::Phone | Self::StreetHouse => matches!(fact, FactKind::Phone | FactKind::Address),
            Self::Reviews => false,
        }
    }

    /// Whether those who are not one patient here are mostly relatives.
    fn is_of_relatives(self) -> bool {
        matches!(self, Self::Card | Self::Phone | Self::StreetHouse)
    }
}

/// The level of each fact; the facts in the order of [`FACTS`].
type Pattern = [Option<usize>; FACTS.len()];

/// What is counted of a site's records: no value, only how often which levels were met together.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    people: u64,
    /// People who bear each value, and people who bear any value of the kind.
    bearers: BTreeMap<(TermKind, Term), u64>,
    with: BTreeMap<TermKind, u64>,
    born: BTreeMap<String, u64>,
    /// People whose name is in letters, or damaged; and in characters.
    scripts: (u64, u64),
    strangers: BTreeMap<Pattern, u64>,
    /// Pairs by levels, and what somebody has decided of them.
    blocks: BTreeMap<Blocking, BTreeMap<(Pattern, Option<bool>), u64>>,
}

impl Sample {
    /// A person with these records.
    pub fn add_person(&mut self, records: &[PatientFacts]) {
        self.people += 1;
        let mut borne: Vec<(TermKind, Term)> = records.iter().flat_map(terms).collect();
        borne.sort_unstable();
        borne.dedup();
        let mut kinds: Vec<TermKind> = borne.iter().map(|(kind, _)| *kind).collect();
        kinds.dedup();
        kinds.into_iter().for_each(|kind| *self.with.entry(kind).or_default() += 1);
        borne.into_iter().for_each(|term| *self.bearers.entry(term).or_default() += 1);
        let mut dates: Vec<&str> = records.iter().filter_map(|facts| facts.birth_date.as_deref()).collect();
        dates.retain(|date| date.len() == 10);
        dates.sort_unstable();
        // A person with two dates is born on one of them.
        if let Some(date) = dates.first() {
            *self.born.entry((*date).to_owned()).or_default() += 1;
        }
        match records.iter().find_map(|facts| facts.names.first()) {
            Some(Name { script: Script::Chinese, .. }) => self.scripts.1 += 1,
            Some(_) => self.scripts.0 += 1,
            None => {}
        }
    }

    /// A pair of records of two persons, drawn at random.
    pub fn add_strangers(&mut self, compared: &Comparison) {
        *self.strangers.entry(levels(compared)).or_default() += 1;
    }

    /// A pair that shares a key, and what somebody has decided of it: one patient, or two.
    pub fn add_pair(&mut self, blocking: Blocking, compared: &Comparison, decided: Option<bool>) {
        // A borrowed number is a parent's: no match is to be found by it.
        if blocking == Blocking::IdentityNumber && compared.number != NumberLevel::Exact {
            return;
        }
        *self.blocks.entry(blocking).or_default().entry((levels(compared), decided)).or_default() += 1;
    }

    /// People counted.
    pub fn people(&self) -> u64 {
        self.people
    }

    /// Random pairs compared.
    pub fn strangers(&self) -> u64 {
        self.strangers.values().sum()
    }

    /// The chance that two people share a value of this kind, and the pairs that do.
    fn shared(&self, kind: TermKind) -> (f64, f64) {
        let people = self.with.get(&kind).copied().unwrap_or(0);
        let first = (kind, Term::MIN);
        let bearers = self.bearers.range(first..=(kind, Term::MAX)).map(|(_, count)| *count);
        squares(bearers, people)
    }

    /// The chance that a name in letters meets one in characters.
    fn mixed(&self) -> f64 {
        let (letters, characters) = (self.scripts.0 as f64, self.scripts.1 as f64);
        let all = (letters + characters).max(1.0);
        2.0 * letters / all * characters / all
    }
}

/// The chance that two of `people` are in one group, and the pairs that are.
fn squares(groups: impl Iterator<Item = u64>, people: u64) -> (f64, f64) {
    let pairs = |count: u64| count as f64 * (count as f64 - 1.0) / 2.0;
    let shared: f64 = groups.map(pairs).sum();
    (if people < 2 { 0.0 } else { shared / pairs(people) }, shared)
}

/// Why a number of the model was left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is set by reason: what the site's own records say of it would be wrong.
    ByReason,
    /// Too few matches at this level.
    FewMatches,
    /// Too few strangers at this level, or who share such a value.
    FewStrangers,
}

impl Kept {
    /// `by_reason`, `few_matches`, `few_strangers`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ByReason => "by_reason",
            Self::FewMatches => "few_matches",
            Self::FewStrangers => "few_strangers",
        }
    }
}

/// What became of one number of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learned {
    /// The number with its value before.
    pub setting: Setting,
    /// Its value now. One that was kept may be said anew for another average frequency, which changes no decision.
    pub value: f64,
    /// Expected matches at this level; `None` for frequencies, and for what is not estimated.
    pub matches: Option<f64>,
    /// Their share of all matches in which both sides say something of the fact: m.
    pub share: Option<f64>,
    /// Why it was left as it is.
    pub kept: Option<Kept>,
}

/// What one kind of blocks has shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockResult {
    /// The kind.
    pub blocking: Blocking,
    /// Pairs compared.
    pub pairs: u64,
    /// How many of them are expected to be one patient.
    pub matches: f64,
    /// Steps until the estimates settled.
    pub iterations: u32,
}

/// A model made of a site's own records.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// The model.
    pub model: Model,
    /// Its weights and frequencies beside those before, in the order of the configuration file.
    pub learned: Vec<Learned>,
    /// The blocks.
    pub blocks: Vec<BlockResult>,
}

impl Training {
    /// How many numbers were estimated.
    pub fn estimated(&self) -> usize {
        self.learned.iter().filter(|learned| learned.kept.is_none()).count()
    }
}

/// The average frequencies that are counted.
const FREQUENCIES: [(&str, TermKind); 5] = [
    ("name", TermKind::Name),
    ("sound", TermKind::Sound),
    ("surname", TermKind::Surname),
    ("phone", TermKind::Phone),
    ("address", TermKind::Address),
];

/// The value whose frequency takes the place of the average one at this level.
fn term_of(setting: &Setting) -> Option<TermKind> {
    match (setting.section, setting.key) {
        ("weights.name", "exact") => Some(TermKind::Name),
        ("weights.name", "same_sound" | "rendering") => Some(TermKind::Sound),
        ("weights.name", "same_surname") => Some(TermKind::Surname),
        ("weights.phone", "exact") => Some(TermKind::Phone),
        ("weights.address", "exact") => Some(TermKind::Address),
        _ => None,
    }
}

/// The fact that a setting weighs, as its place in [`FACTS`].
fn fact_of(setting: &Setting) -> Option<usize> {
    let name = match setting.section.strip_prefix("weights.")? {
        "name" => FactKind::Name,
        "birth_date" => FactKind::BirthDate,
        "identity_number" => FactKind::IdentityNumber,
        "card" => FactKind::Card,
        "phone" => FactKind::Phone,
        "address" => FactKind::Address,
        "sex" => FactKind::Sex,
        _ => return None,
    };
    FACTS.iter().position(|fact| *fact == name)
}

fn is_by_reason(fact: FactKind) -> bool {
    matches!(fact, FactKind::IdentityNumber | FactKind::Card)
}

/// How often strangers are at a level, and the pairs that say so.
#[derive(Debug, Clone, Copy, Default)]
struct Strangers {
    share: f64,
    is_known: bool,
}

/// All that stays fixed while the blocks are looked at; indexed by the place of a setting.
struct Frame {
    settings: Vec<Setting>,
    facts: Vec<Option<usize>>,
    strangers: Vec<Strangers>,
    /// u, of all levels of a fact 1 together.
    u: Vec<f64>,
    /// Where m begins.
    begin: Vec<f64>,
    household_cap: f64,
    same_surname: Option<usize>,
}

impl Frame {
    fn new(model: &Model, sample: &Sample) -> Self {
        let settings: Vec<Setting> = model.settings().collect();
        let facts: Vec<Option<usize>> = settings.iter().map(fact_of).collect();
        let mut met = vec![0.0; settings.len()];
        for (pattern, count) in &sample.strangers {
            pattern.iter().flatten().for_each(|place| met[*place] += *count as f64);
        }
        let of_fact = |fact: usize| facts.iter().zip(&met).filter(move |(of, _)| **of == Some(fact));
        let strangers: Vec<Strangers> = settings
            .iter()
            .zip(&facts)
            .zip(&met)
            .map(|((setting, fact), met)| {
                let Some(fact) = fact else { return Strangers::default() };
                let (share, pairs) = match term_of(setting) {
                    Some(kind) => sample.shared(kind),
                    None if (setting.section, setting.key) == ("weights.birth_date", "exact") => {
                        squares(sample.born.values().copied(), sample.born.values().sum())
                    }
                    None => {
                        let all: f64 = of_fact(*fact).map(|(_, met)| met).sum();
                        let share = (met + 0.5) / (all + 1.0);
                        return Strangers { share, is_known: *met >= FEWEST_STRANGERS };
                    }
                };
                let mixed = if setting.key == "rendering" { sample.mixed() } else { 1.0 };
                Strangers { share: share * mixed, is_known: pairs * mixed >= FEWEST_SHARED }
            })
            .collect();
        let mut u: Vec<f64> = strangers.iter().map(|found| found.share.max(1e-12)).collect();
        normalise(&mut u, &facts);
        let mut begin: Vec<f64> =
            u.iter().zip(&settings).map(|(u, setting)| (u * setting.value.exp2()).max(1e-12)).collect();
        normalise(&mut begin, &facts);
        let value = |section: &str, key: &str| {
            settings.iter().position(|setting| setting.section == section && setting.key == key)
        };
        let household_cap = value("decide", "household_cap").map_or(f64::INFINITY, |place| settings[place].value);
        let same_surname = value("weights.name", "same_surname");
        Self { facts, strangers, u, begin, household_cap, same_surname, settings }
    }

    /// log2 of the odds that pairs of this pattern are one patient, but for the share of matches among all.
    fn bits(&self, blocking: Blocking, pattern: &Pattern, m: &[f64], others: &[f64]) -> f64 {
        let (mut bits, mut household) = (0.0, 0.0);
        for (fact, place) in FACTS.iter().zip(pattern) {
            let Some(place) = place.filter(|_| !blocking.leaves_out(*fact)) else { continue };
            let weight = match is_by_reason(*fact) {
                true => self.settings[place].value,
                false => (m[place] / others[place]).log2(),
            };
            bits += weight;
            if matches!(fact, FactKind::Phone | FactKind::Address) || Some(place) == self.same_surname {
                household += weight.max(0.0);
            }
        }
        bits - (household - self.household_cap).max(0.0)
    }

    fn estimate(&self, blocking: Blocking, patterns: &BTreeMap<(Pattern, Option<bool>), u64>) -> Estimate {
        let pairs: u64 = patterns.values().sum();
        let (mut m, mut others) = (self.begin.clone(), self.u.clone());
        let mut share: f64 = 0.5;
        let mut iterations = 0;
        loop {
            iterations += 1;
            let (mut same, mut different) = (vec![0.0; m.len()], vec![0.0; m.len()]);
            let mut matches = 0.0;
            let prior = (share / (1.0 - share)).log2();
            for ((pattern, decided), count) in patterns {
                let likely = match decided {
                    Some(is_same) => f64::from(u8::from(*is_same)),
                    None => probability(prior + self.bits(blocking, pattern, &m, &others)),
                };
                let count = *count as f64;
                matches += count * likely;
                for (fact, place) in FACTS.iter().zip(pattern) {
                    if let Some(place) = place.filter(|_| !blocking.leaves_out(*fact)) {
                        same[place] += count * likely;
                        different[place] += count * (1.0 - likely);
                    }
                }
            }
            let next = self.shares(&same, &self.begin, 1.0);
            if blocking.is_of_relatives() {
                others = self.shares(&different, &self.u, RELATIVES_ASSUMED);
            }
            let moved = next.iter().zip(&m).map(|(next, before)| (next - before).abs()).fold(0.0, f64::max);
            m = next;
            share = (matches + 0.5) / (pairs as f64 + 1.0);
            if moved < SETTLED || iterations == MOST_ITERATIONS {
                let result = BlockResult { blocking, pairs, matches, iterations };
                return Estimate { result, same };
            }
        }
    }

    /// Counts as shares of their fact, with `assumed` standing for so many pairs.
    fn shares(&self, counts: &[f64], assumed: &[f64], pairs: f64) -> Vec<f64> {
        let mut shares: Vec<f64> = counts.iter().zip(assumed).map(|(count, share)| count + pairs * share).collect();
        normalise(&mut shares, &self.facts);
        shares
    }
}

/// Makes the levels of each fact 1 together.
fn normalise(shares: &mut [f64], facts: &[Option<usize>]) {
    let mut sums = [0.0; FACTS.len()];
    for (share, fact) in shares.iter().zip(facts) {
        if let Some(fact) = fact {
            sums[*fact] += share;
        }
    }
    for (share, fact) in shares.iter_mut().zip(facts) {
        if let Some(fact) = fact {
            *share /= sums[*fact];
        }
    }
}

struct Estimate {
    result: BlockResult,
    /// Expected matches by level.
    same: Vec<f64>,
}

/// Estimates the weights of `model` anew from `sample`; the new model is called `version`. Thresholds, prior, limits and vetoes stay.
pub fn train(model: &Model, sample: &Sample, version: &str) -> Training {
    let frame = Frame::new(model, sample);
    let estimates: Vec<Estimate> =
        sample.blocks.iter().map(|(blocking, patterns)| frame.estimate(*blocking, patterns)).collect();
    let mut same = vec![0.0; frame.settings.len()];
    for estimate in &estimates {
        same.iter_mut().zip(&estimate.same).for_each(|(sum, found)| *sum += found);
    }
    // Each block's m weighs as much as the matches that it is made of.
    let m = frame.shares(&same, &frame.begin, 1.0);
    let mut trained = model.clone();
    version.clone_into(&mut trained.version);
    let frequencies: BTreeMap<TermKind, (f64, f64)> = FREQUENCIES
        .iter()
        .filter_map(|(key, kind)| {
            let setting =
                frame.settings.iter().find(|setting| setting.section == "frequency" && setting.key == *key)?;
            let (share, pairs) = sample.shared(*kind);
            let after = if pairs >= FEWEST_SHARED { two_digits(share) } else { setting.value };
            Some((*kind, (setting.value, after.clamp(setting.range.0, setting.range.1))))
        })
        .collect();
    let mut learned = Vec::new();
    for (place, setting) in frame.settings.iter().enumerate() {
        let of_frequency = FREQUENCIES.iter().find(|(key, _)| setting.section == "frequency" && setting.key == *key);
        let (value, matches, kept) = match (frame.facts[place], of_frequency) {
            (Some(fact), _) if is_by_reason(FACTS[fact]) => (setting.value, None, Some(Kept::ByReason)),
            (Some(_), _) => {
                let (before, after) =
                    term_of(setting).and_then(|kind| frequencies.get(&kind).copied()).unwrap_or((1.0, 1.0));
                let kept = if same[place] < FEWEST_MATCHES {
                    Some(Kept::FewMatches)
                } else if !frame.strangers[place].is_known {
                    Some(Kept::FewStrangers)
                } else {
                    None
                };
                let value = match kept {
                    // The same for any frequency, in terms of the new average.
                    Some(_) => setting.value + (before / after).log2(),
                    None => (m[place] / frame.strangers[place].share).log2(),
                };
                (rounded(value).clamp(setting.range.0, setting.range.1), Some(same[place]), kept)
            }
            (None, Some((_, kind))) => {
                let kept = (sample.shared(*kind).1 < FEWEST_SHARED).then_some(Kept::FewStrangers);
                (frequencies.get(kind).map_or(setting.value, |(_, after)| *after), None, kept)
            }
            // The same mother speaks for, and another one against nothing: there is no level to hold its share against.
            (None, None) if setting.section.starts_with("weights.") => (setting.value, None, Some(Kept::ByReason)),
            (None, None) => continue,
        };
        trained.set(setting.section, setting.key, value);
        let share = matches.map(|_| m[place]);
        learned.push(Learned { setting: *setting, value, matches, share, kept });
    }
    Training { model: trained, learned, blocks: estimates.into_iter().map(|estimate| estimate.result).collect() }
}

/// To tenths of a bit: more is not known, and never `-0`.
fn rounded(bits: f64) -> f64 {
    (bits * 10.0).round() / 10.0 + 0.0
}

fn two_digits(share: f64) -> f64 {
    let text = format!("{share:.1e}");
    text.parse().unwrap_or(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::json;

    /// Shares by fact and level: of one patient's records (m), of strangers (u), of relatives.
    const LEVELS: [(&str, &str, f64, f64, f64); 13] = [
        ("weights.name", "exact", 0.93, 1e-4, 0.002),
        ("weights.name", "same_sound", 0.03, 1e-3, 0.003),
        ("weights.name", "same_surname", 0.02, 0.04, 0.6),
        ("weights.name", "different", 0.02, 0.9589, 0.395),
        ("weights.birth_date", "exact", 0.95, 1e-4, 0.005),
        ("weights.birth_date", "near", 0.03, 0.002, 0.005),
        ("weights.birth_date", "different", 0.02, 0.9979, 0.99),
        ("weights.phone", "exact", 0.6, 1e-4, 1.0),
        ("weights.phone", "different", 0.4, 0.9999, 0.0),
        ("weights.address", "exact", 0.7, 1e-3, 0.9),
        ("weights.address", "different", 0.3, 0.999, 0.1),
        ("weights.sex", "equal", 0.998, 0.5, 0.4),
        ("weights.sex", "different", 0.002, 0.5, 0.6),
    ];

    /// Numbers that look drawn by chance, the same each time: an LCG of Knuth's, its high bits.
    struct Dice {
        state: u64,
        /// Fact and place of each of [`LEVELS`].
        places: Vec<(usize, usize)>,
    }

    impl Dice {
        fn new(seed: u64) -> Self {
            let settings: Vec<Setting> = Model::default().settings().collect();
            let place = |(section, key, ..): &(&str, &str, f64, f64, f64)| {
                let is = |setting: &Setting| (setting.section, setting.key) == (*section, *key);
                let place = settings.iter().position(is).unwrap();
                (fact_of(&settings[place]).unwrap(), place)
            };
            Self { state: seed, places: LEVELS.iter().map(place).collect() }
        }

        fn roll(&mut self) -> f64 {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.state >> 11) as f64 / (1_u64 << 53) as f64
        }

        /// A level for each fact, by the column of [`LEVELS`] that `share` reads.
        fn pattern(&mut self, share: impl Fn(usize) -> f64) -> Pattern {
            let mut pattern = [None; FACTS.len()];
            for (fact, level) in pattern.iter_mut().enumerate() {
                let mut left = self.roll();
                for (row, (_, place)) in self.places.iter().enumerate().filter(|(_, (of, _))| *of == fact) {
                    left -= share(row);
                    if left <= 0.0 {
                        *level = Some(*place);
                        break;
                    }
                }
            }
            pattern
        }
    }

    /// Values of which each is borne by as many people, so that two people share one with the chance `share`.
    fn bear(sample: &mut Sample, kind: TermKind, share: f64) {
        let groups = (1.0 / share).round() as u64;
        for term in 0..groups {
            sample.bearers.insert((kind, term), 40);
        }
        sample.with.insert(kind, groups * 40);
    }

    fn synthetic(seed: u64, pairs: usize) -> Sample {
        let mut sample = Sample { people: 10_000, ..Sample::default() };
        for (kind, share) in [
            (TermKind::Name, 1e-4),
            (TermKind::Sound, 1e-3),
            (TermKind::Surname, 0.04),
            (TermKind::Phone, 1e-4),
            (TermKind::Address, 1e-3),
        ] {
            bear(&mut sample, kind, share);
        }
        for day in 0..10_000 {
            sample.born.insert(format!("{day:010}"), 40);
        }
        let mut dice = Dice::new(seed);
        for _ in 0..20 * pairs {
            let pattern = dice.pattern(|row| LEVELS[row].3);
            *sample.strangers.entry(pattern).or_default() += 1;
        }
        for (blocking, matches) in
            [(Blocking::NameBirthDate, 0.6), (Blocking::Phone, 0.4), (Blocking::IdentityNumber, 0.95)]
        {
            for _ in 0..pairs {
                let is_match = dice.roll() < matches;
                let pattern = dice.pattern(|row| match (is_match, blocking) {
                    (true, _) => LEVELS[row].2,
                    (false, Blocking::Phone) => LEVELS[row].4,
                    (false, _) => LEVELS[row].3,
                });
                *sample.blocks.entry(blocking).or_default().entry((pattern, None)).or_default() += 1;
            }
        }
        sample
    }

    fn found<'t>(training: &'t Training, section: &str, key: &str) -> &'t Learned {
        let is = |learned: &&Learned| (learned.setting.section, learned.setting.key) == (section, key);
        training.learned.iter().find(is).unwrap()
    }

    #[test]
    fn known_weights_are_found_again() {
        let training = train(&Model::default(), &synthetic(7, 20_000), "site");
        for (section, key, m, u, _) in LEVELS {
            let learned = found(&training, section, key);
            assert_eq!(learned.kept, None, "{learned:?}");
            let expected = (m / u).log2();
            assert!((learned.value - expected).abs() < 0.35, "{section}.{key}: {} for {expected}", learned.value);
        }
        for (block, share) in training.blocks.iter().zip([0.6, 0.95, 0.4]) {
            assert!((block.matches / block.pairs as f64 - share).abs() < 0.02, "{block:?}");
            assert!(block.iterations < MOST_ITERATIONS, "{block:?}");
        }
    }

    #[test]
    fn the_same_sample_gives_the_same_model_and_only_weights_and_frequencies_change() {
        let before = Model::default();
        let (one, other) = (synthetic(3, 2_000), synthetic(3, 2_000));
        let training = train(&before, &one, "site-2026-01-02");
        assert_eq!(training, train(&before, &other, "site-2026-01-02"));
        assert_eq!(training.model.version, "site-2026-01-02");
        let mut changed = 0;
        for (was, is) in before.settings().zip(training.model.settings()) {
            let may = was.section.starts_with("weights.") || FREQUENCIES.iter().any(|(key, _)| *key == was.key);
            let is_by_reason =
                matches!(was.section, "weights.identity_number" | "weights.card" | "weights.mother_identifier");
            assert!(was.value == is.value || may && !is_by_reason, "{was:?} {is:?}");
            assert!((is.range.0..=is.range.1).contains(&is.value), "{is:?}");
            changed += usize::from(was.value != is.value);
        }
        assert!(changed > 5, "{changed}");
    }

    #[test]
    fn what_was_seen_too_rarely_is_left_as_it_is() {
        let nothing = train(&Model::default(), &Sample::default(), "site");
        assert_eq!(nothing.estimated(), 0);
        let mut model = Model::default();
        model.version = "site".to_owned();
        assert_eq!(nothing.model, model, "the name is all that changes");
        // A third of the matches below, and two thirds above the limit.
        for (pairs, estimated) in [(50, 0), (100, 1)] {
            let mut sample = Sample::default();
            let place = |key: &str| {
                let is = |setting: &Setting| (setting.section, setting.key) == ("weights.sex", key);
                Some(model.settings().position(|setting| is(&setting)).unwrap())
            };
            let of = |level: Option<usize>| {
                let mut pattern = [None; FACTS.len()];
                pattern[6] = level;
                pattern
            };
            sample.strangers = BTreeMap::from([(of(place("equal")), 500), (of(place("different")), 500)]);
            let decided = [((of(place("equal")), Some(true)), pairs - 1), ((of(place("different")), Some(true)), 1)];
            sample.blocks.insert(Blocking::Reviews, BTreeMap::from(decided));
            let training = train(&model, &sample, "site");
            assert_eq!(training.estimated(), estimated, "{pairs}");
            let different = found(&training, "weights.sex", "different");
            assert_eq!((different.value, different.kept), (-6.0, Some(Kept::FewMatches)));
        }
    }

    #[test]
    fn a_decision_of_people_weighs_more_than_what_is_likely() {
        // By their numbers no match: two valid ones that differ, and nothing alike.
        let facts = |name: &str, number: &str| {
            let identifiers = json!([{"type": "resident_id", "value": number}]);
            let record = json!({"name": name, "birth_date": "1990-03-07", "identifiers": identifiers, "sex": "male"});
            PatientFacts::of(record.as_object().unwrap())
        };
        let compared =
            super::super::compare(&facts("张伟", "110101199003073458"), &facts("李娜", "11010519491231002X"));
        let matches = |decided| {
            let mut sample = Sample::default();
            sample.add_pair(Blocking::Phone, &compared, decided);
            train(&Model::default(), &sample, "site").blocks[0].matches
        };
        assert!(matches(None) < 0.5);
        assert_eq!((matches(Some(true)), matches(Some(false))), (1.0, 0.0));
    }

    #[test]
    fn people_are_counted_not_records_and_a_weight_is_kept_whatever_average_it_is_said_for() {
        let person = |name: &str| {
            let record = json!({"name": name, "birth_date": "1990-03-07"});
            PatientFacts::of(record.as_object().unwrap())
        };
        let mut sample = Sample::default();
        for _ in 0..11 {
            sample.add_person(&[person("张伟"), person("张伟")]);
        }
        sample.add_person(&[person("李娜")]);
        let (share, pairs) = sample.shared(TermKind::Name);
        assert_eq!((share, pairs), (55.0 / 66.0, 55.0));
        let training = train(&Model::default(), &sample, "site");
        let (typical, exact) = (found(&training, "frequency", "name"), found(&training, "weights.name", "exact"));
        assert_eq!((typical.value, typical.kept, exact.kept), (0.83, None, Some(Kept::FewMatches)));
        let bits = |learned: &Learned, typical: &Learned, now: bool| {
            if now {
                learned.value + typical.value.log2()
            } else {
                learned.setting.value + typical.setting.value.log2()
            }
        };
        assert!((bits(exact, typical, true) - bits(exact, typical, false)).abs() < 0.06, "{exact:?} {typical:?}");
    }
}
