//! What agreement is worth: the weights, limits and thresholds of matching, after Fellegi and Sunter (1969).
//!
//! Weights are in bits, log2(m/u): how much more often a level is met in records of one patient than of two. They add up, with the
//! prior, to the odds that two records are one patient. Where an agreeing value is rare or common, its own frequency takes the place of
//! the average one (Winkler 1989; the term frequency adjustment of Splink). What one side does not say weighs nothing.
//!
//! All numbers are settings: [`Model::settings`] is the one table of them, from which the configuration file is read, written and
//! checked. A link rests on the model that was in force; a new one moves nobody.

use serde::{Deserialize, Serialize};

use super::compare::{
    AddressLevel, BirthDateLevel, CardLevel, Comparison, NameLevel, NumberLevel, PhoneLevel, SexLevel, Term,
};

/// One number of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Table of the configuration file.
    pub section: &'static str,
    /// Key within it.
    pub key: &'static str,
    /// Its value.
    pub value: f64,
    /// The least and the greatest that make sense.
    pub range: (f64, f64),
    /// One line of meaning.
    pub meaning: &'static str,
}

/// Weights, limits and thresholds, with the name of the version.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Name of the version; stands with every decision.
    pub version: String,
    values: [f64; COUNT],
}

macro_rules! settings {
    ($($name:ident $section:literal $key:literal $default:literal $least:literal $greatest:literal $meaning:literal)*) => {
        #[derive(Debug, Clone, Copy)]
        enum Id { $($name),* }
        const IDS: &[Id] = &[$(Id::$name),*];
        const COUNT: usize = IDS.len();
        const DEFAULTS: [Setting; COUNT] = [$(Setting {
            section: $section, key: $key, value: $default, range: ($least, $greatest), meaning: $meaning,
        }),*];
    };
}

settings! {
    LinkProbability "decide" "link" 0.999 0.9 1.0 "probability from which a record is linked by itself"
    ReviewProbability "decide" "review" 0.5 0.01 0.999 "probability from which somebody is asked"
    UnionProbability "decide" "union" 0.5 0.01 1.0 "probability from which two persons whom one record fits are taken for one"
    Margin "decide" "margin" 6.0 0.0 40.0 "bits that the best person must be ahead of the second"
    Visit "decide" "visit" 1.0 0.0 1.0 "1: whoever's report names a known visit is its patient, if the names agree; 0: visits tell nothing"
    Prior "decide" "prior" -14.0 -40.0 0.0 "log2 of the odds before any fact, where two records share a number, a phone or an address"
    PriorAlone "decide" "prior_alone" -20.0 -40.0 0.0 "the same where nothing but name, birth date and sex can agree: one in a million, or one in as many people as there are"
    AloneMargin "decide" "alone_margin" 2.0 0.0 40.0 "bits beyond those of a link that name, birth date and sex alone must reach: names go with years and places"
    StrangersDiffer "decide" "strangers_differ" 1.0 1.0 4.0 "of phone, address and card, how many must differ so that name, birth date and sex alone do not link; 4: never"
    HouseholdCap "decide" "household_cap" 12.0 0.0 40.0 "bits that phone, address, mother and surname may give together"
    NamesOfNumber "quarantine" "identity_number_names" 3.0 1.0 64.0 "names under which an identity number may come; one more, and it counts no more"
    NamesOfCard "quarantine" "card_names" 3.0 1.0 64.0 "the same of an insurance, health or other card"
    NamesOfPhone "quarantine" "phone_names" 8.0 1.0 64.0 "the same of a phone number"
    VetoNearNames "veto" "near_names" 1.0 0.0 1.0 "1: Chinese names one character apart, in pinyin a slip apart, without a shared number, or with one and another birth date, are a case for review; 0: are not"
    VetoSoundAlikes "veto" "sound_alikes" 1.0 0.0 1.0 "the same of names that only sound alike"
    VetoNamesInLetters "veto" "names_in_letters" 0.0 0.0 1.0 "1: names in letters that disagree are always a case for review; 0: a number of the patient's own with another fact outweighs them"
    RenamedInLetters "veto" "renamed_in_letters" 30.0 0.0 200.0 "years of age from which names in letters that share the surname are one patient's, renamed, where birthday and home agree: twins have left home; 200: never"
    YearsApart "veto" "years_apart" 1.0 1.0 100.0 "years between the years of birth that forbid a link without a shared number, but for one digit under the same name"
    NameTypical "frequency" "name" 8.6e-5 1e-9 1.0 "share of people with an average name; weights.name.exact holds for it"
    SoundTypical "frequency" "sound" 8.5e-4 1e-9 1.0 "the same of the sound of a name"
    SurnameTypical "frequency" "surname" 0.04 1e-9 1.0 "the same of a surname"
    PhoneTypical "frequency" "phone" 5e-5 1e-9 1.0 "the same of a phone number"
    AddressTypical "frequency" "address" 5.2e-4 1e-9 1.0 "the same of an address"
    FrequencyFloor "frequency" "floor" 1e-7 1e-12 0.1 "no value counts as rarer"
    FrequencyPeople "frequency" "assumed_people" 20000.0 1.0 1e9 "how many people the frequencies assumed beforehand stand for, against those counted here"
    NameExact "weights.name" "exact" 13.5 -40.0 40.0 "the same name"
    NameSameSound "weights.name" "same_sound" 10.2 -40.0 40.0 "characters of the same pinyin"
    NameRendering "weights.name" "rendering" 8.5 -40.0 40.0 "pinyin for characters, a rare one as ? or a box"
    NameOneCharacter "weights.name" "one_character" 7.0 -40.0 40.0 "one of at least three characters differs"
    NameSimilar "weights.name" "similar" 13.0 -40.0 40.0 "Latin names with a slip or two"
    NamePartlyEqual "weights.name" "partly_equal" 7.0 -40.0 40.0 "Latin names that share one part"
    NameSameSurname "weights.name" "same_surname" 1.6 -40.0 40.0 "the surname only"
    NameDifferent "weights.name" "different" -4.7 -40.0 40.0 "different names"
    BirthExact "weights.birth_date" "exact" 13.8 -40.0 40.0 "the same day"
    BirthPartial "weights.birth_date" "partial" 5.0 -40.0 40.0 "equal as far as given: the year, the month"
    BirthNear "weights.birth_date" "near" 6.0 -40.0 40.0 "one digit, or day and month swapped"
    BirthSameYear "weights.birth_date" "same_year" -0.7 -40.0 40.0 "the same year"
    BirthDifferent "weights.birth_date" "different" -3.4 -40.0 40.0 "different dates"
    NumberExact "weights.identity_number" "exact" 28.0 -40.0 40.0 "the same valid identity number"
    NumberOneEdit "weights.identity_number" "one_edit" 14.0 -40.0 40.0 "one edit apart, not both valid"
    NumberTwoEdits "weights.identity_number" "two_edits" 9.0 -40.0 40.0 "two edits apart, not both valid"
    NumberLent "weights.identity_number" "lent" 0.0 -40.0 40.0 "the same number, by the year of birth in it a parent's (forbids a link besides)"
    NumberDifferent "weights.identity_number" "different" -1.0 -40.0 40.0 "different, one of them not valid or of a kind that is renewed"
    NumberConflict "weights.identity_number" "conflict" -3.7 -40.0 40.0 "two valid resident numbers (forbids a link besides)"
    CardOwn "weights.card" "own" 24.0 -40.0 40.0 "the same card of the patient's own: social security, health card"
    CardExact "weights.card" "exact" 17.0 -40.0 40.0 "the same insurance card, which may be a parent's"
    CardOneEdit "weights.card" "one_edit" 13.0 -40.0 40.0 "one edit apart"
    CardDifferent "weights.card" "different" -1.0 -40.0 40.0 "different cards"
    PhoneExact "weights.phone" "exact" 14.3 -40.0 40.0 "the same phone"
    PhoneOneEdit "weights.phone" "one_edit" 10.0 -40.0 40.0 "one digit apart"
    PhoneDifferent "weights.phone" "different" -2.0 -40.0 40.0 "different phones: a quarter of all people has changed it"
    AddressExact "weights.address" "exact" 10.9 -40.0 40.0 "the same address"
    AddressClose "weights.address" "close" 9.0 -40.0 40.0 "alike: abbreviated, a slip"
    AddressSameStreet "weights.address" "same_street" 5.0 -40.0 40.0 "the same street of one town, another house or none"
    AddressSameArea "weights.address" "same_area" 4.0 -40.0 40.0 "the same postal code, or a street alike in one town"
    AddressDifferent "weights.address" "different" -1.0 -40.0 40.0 "different addresses: people move"
    MotherEqual "weights.mother_identifier" "equal" 12.0 -40.0 40.0 "the same mother, by her number under its authority: brothers and sisters have it too"
    SexEqual "weights.sex" "equal" 1.0 -40.0 40.0 "the same"
    SexDifferent "weights.sex" "different" -6.0 -40.0 40.0 "male and female"
}

impl Default for Model {
    fn default() -> Self {
        Self { version: "default-1".to_owned(), values: DEFAULTS.map(|setting| setting.value) }
    }
}

/// How common values are, as shares of all people.
pub trait Frequencies {
    /// How many people bear the value beside the two who are compared, and how many people there are in all.
    fn count(&self, term: Term) -> (u64, u64);

    /// How many people there are in all.
    fn people(&self) -> u64 {
        self.count(Term::default()).1
    }

    /// Whether somebody has decided that two records, by the store's numbers, are different patients.
    fn are_parted(&self, _one: i64, _other: i64) -> bool {
        false
    }
}

/// What speaks for or against two records being one patient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The facts that speak either way, in a fixed order.
    pub facts: Vec<Fact>,
    /// Bits before any fact is looked at.
    pub prior: f64,
    /// What phone, address, mother and surname are cut by, for they come from one household; zero or negative.
    pub household: f64,
    /// The sum: log2 of the odds.
    pub bits: f64,
}

/// One compared fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// What was compared: `name`, `birth_date`, `identity_number`, `card`, `phone`, `address`, `sex`, `mother_identifier`.
    pub fact: FactKind,
    /// How far it agrees, as the settings call it.
    pub level: String,
    /// Bits for it.
    pub weight: f64,
    /// The share of people who bear the agreeing value, where that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<f64>,
}

/// The facts that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum FactKind {
    Name,
    BirthDate,
    IdentityNumber,
    Card,
    Phone,
    Address,
    Sex,
    MotherIdentifier,
}

impl Score {
    /// The probability that the two records are one patient.
    pub fn probability(&self) -> f64 {
        probability(self.bits)
    }
}

/// The probability of odds in bits.
pub fn probability(bits: f64) -> f64 {
    1.0 / (1.0 + (-bits).exp2())
}

/// The odds of a probability, in bits.
fn odds(probability: f64) -> f64 {
    (probability / (1.0 - probability)).log2()
}

impl Model {
    /// All numbers with their present values, in the order of the configuration file.
    pub fn settings(&self) -> impl Iterator<Item = Setting> {
        DEFAULTS.iter().zip(self.values).map(|(setting, value)| Setting { value, ..*setting })
    }

    /// Sets one number; `false` if there is none of this name, or the value is out of its range.
    pub fn set(&mut self, section: &str, key: &str, value: f64) -> bool {
        let place = DEFAULTS.iter().position(|setting| setting.section == section && setting.key == key);
        match place {
            Some(place) if (DEFAULTS[place].range.0..=DEFAULTS[place].range.1).contains(&value) => {
                self.values[place] = value;
                true
            }
            _ => false,
        }
    }

    fn value(&self, id: Id) -> f64 {
        self.values[id as usize]
    }

    /// Bits from which a record is linked.
    pub fn link_bits(&self) -> f64 {
        odds(self.value(Id::LinkProbability))
    }

    /// Bits from which a record of this score is linked: more where nothing but name, birth date and sex agrees, which is where the odds
    /// begin lower.
    pub fn link_bits_of(&self, score: &Score) -> f64 {
        let is_alone = score.prior < self.value(Id::Prior);
        self.link_bits() + if is_alone { self.value(Id::AloneMargin) } else { 0.0 }
    }

    /// Bits from which somebody is asked.
    pub fn review_bits(&self) -> f64 {
        odds(self.value(Id::ReviewProbability))
    }

    /// Bits from which two persons who both fit a third record are taken for one.
    pub fn sure_bits(&self) -> f64 {
        odds(self.value(Id::UnionProbability))
    }

    /// Whether a visit that a report names tells whose the report is.
    pub fn links_by_visit(&self) -> bool {
        self.value(Id::Visit) > 0.0
    }

    /// Bits that the best person must be ahead of the second.
    pub fn margin(&self) -> f64 {
        self.value(Id::Margin)
    }

    /// How many of phone, address and card must differ so that name, birth date and sex alone are two people's.
    pub fn strangers_differ(&self) -> usize {
        self.value(Id::StrangersDiffer) as usize
    }

    /// Names under which an identity number may come before it counts no more.
    pub fn names_of_number(&self) -> usize {
        self.value(Id::NamesOfNumber) as usize
    }

    /// The same of a card.
    pub fn names_of_card(&self) -> usize {
        self.value(Id::NamesOfCard) as usize
    }

    /// The same of a phone number.
    pub fn names_of_phone(&self) -> usize {
        self.value(Id::NamesOfPhone) as usize
    }

    /// Whether names that are nearly the same on the same birth date are a case for review.
    pub fn vetoes_near_names(&self) -> bool {
        self.value(Id::VetoNearNames) > 0.0
    }

    /// Whether names that only sound alike on the same birth date are a case for review.
    pub fn vetoes_sound_alikes(&self) -> bool {
        self.value(Id::VetoSoundAlikes) > 0.0
    }

    /// Whether names in letters that disagree are a case for review whatever else agrees.
    pub fn vetoes_names_in_letters(&self) -> bool {
        self.value(Id::VetoNamesInLetters) > 0.0
    }

    /// Years of age from which names in letters that share the surname only are one patient's where birthday and home agree.
    pub fn renamed_in_letters(&self) -> u16 {
        self.value(Id::RenamedInLetters) as u16
    }

    /// Years between the years of birth that forbid a link without a shared number.
    pub fn years_apart(&self) -> u16 {
        self.value(Id::YearsApart) as u16
    }

    /// Weighs a comparison; `assumed` gives the share of people with the compared name (or sound, or surname) that is assumed
    /// beforehand, `counted` what was counted here.
    pub fn score(&self, compared: &Comparison, counted: &dyn Frequencies) -> Score {
        let mut facts = Vec::with_capacity(7);
        let mut note = |fact, level: &str, weight: f64, frequency| {
            facts.push(Fact { fact, level: level.to_owned(), weight, frequency });
            weight
        };
        let prior = if compared.shares_belongings() {
            self.value(Id::Prior)
        } else {
            // Before anything is known, somebody is one of all who are here.
            self.value(Id::PriorAlone).min(-(counted.people().max(1) as f64).log2())
        };
        let mut bits = prior;
        // Of what a household shares.
        let mut shared = 0.0;

        if let Some((id, typical)) = name(compared.name) {
            let (weight, frequency) = self.adjusted(id, typical, compared.name_term, compared.name_frequency, counted);
            note(FactKind::Name, DEFAULTS[id as usize].key, weight, frequency);
            bits += weight;
            if compared.name == NameLevel::SameSurname {
                shared += weight.max(0.0);
            }
        }
        let plain: [(FactKind, Option<Id>); 4] = [
            (FactKind::BirthDate, birth_date(compared.birth_date)),
            (FactKind::IdentityNumber, number(compared.number)),
            (FactKind::Card, card(compared)),
            (FactKind::Sex, sex(compared.sex)),
        ];
        for (fact, id) in plain {
            if let Some(id) = id {
                bits += note(fact, DEFAULTS[id as usize].key, self.value(id), None);
            }
        }
        let household = [
            (FactKind::Phone, phone(compared.phone), Id::PhoneTypical, compared.phone_term),
            (FactKind::Address, address(compared.address), Id::AddressTypical, compared.address_term),
        ];
        for (fact, id, typical, term) in household {
            if let Some(id) = id {
                let (weight, frequency) = self.adjusted(id, Some(typical), term, None, counted);
                bits += note(fact, DEFAULTS[id as usize].key, weight, frequency);
                shared += weight.max(0.0);
            }
        }
        if compared.same_mother {
            let weight = note(FactKind::MotherIdentifier, "equal", self.value(Id::MotherEqual), None);
            bits += weight;
            shared += weight.max(0.0);
        }
        let household = (self.value(Id::HouseholdCap) - shared).min(0.0);
        bits += household;
        Score { facts, prior, household, bits }
    }

    /// The weight of a level whose agreeing value is `term`, and that value's frequency.
    fn adjusted(
        &self,
        id: Id,
        typical: Option<Id>,
        term: Option<Term>,
        assumed: Option<f64>,
        counted: &dyn Frequencies,
    ) -> (f64, Option<f64>) {
        let weight = self.value(id);
        let (Some(typical), Some(term)) = (typical, term) else { return (weight, None) };
        let typical = self.value(typical);
        let (count, people) = counted.count(term);
        let stand_for = self.value(Id::FrequencyPeople);
        let frequency = (count as f64 + stand_for * assumed.unwrap_or(typical)) / (people as f64 + stand_for);
        let frequency = frequency.max(self.value(Id::FrequencyFloor));
        (weight + (typical / frequency).log2(), Some(frequency))
    }
}

/// The facts in the order of [`levels`].
pub(super) const FACTS: [FactKind; 7] = [
    FactKind::Name,
    FactKind::BirthDate,
    FactKind::IdentityNumber,
    FactKind::Card,
    FactKind::Phone,
    FactKind::Address,
    FactKind::Sex,
];

/// The level of each of [`FACTS`] as the place of its weight among [`Model::settings`]; `None` where a side says nothing.
pub(super) fn levels(compared: &Comparison) -> [Option<usize>; FACTS.len()] {
    let ids = [
        name(compared.name).map(|(id, _)| id),
        birth_date(compared.birth_date),
        number(compared.number),
        card(compared),
        phone(compared.phone),
        address(compared.address),
        sex(compared.sex),
    ];
    ids.map(|id| id.map(|id| id as usize))
}

/// The level, and the average frequency that its weight holds for.
fn name(level: NameLevel) -> Option<(Id, Option<Id>)> {
    match level {
        NameLevel::Exact => Some((Id::NameExact, Some(Id::NameTypical))),
        NameLevel::SameSound => Some((Id::NameSameSound, Some(Id::SoundTypical))),
        NameLevel::Rendering => Some((Id::NameRendering, Some(Id::SoundTypical))),
        NameLevel::OneCharacter => Some((Id::NameOneCharacter, None)),
        NameLevel::Similar => Some((Id::NameSimilar, None)),
        NameLevel::PartlyEqual => Some((Id::NamePartlyEqual, None)),
        NameLevel::SameSurname => Some((Id::NameSameSurname, Some(Id::SurnameTypical))),
        NameLevel::Missing => None,
        NameLevel::Different => Some((Id::NameDifferent, None)),
    }
}

fn birth_date(level: BirthDateLevel) -> Option<Id> {
    match level {
        BirthDateLevel::Exact => Some(Id::BirthExact),
        BirthDateLevel::Partial => Some(Id::BirthPartial),
        BirthDateLevel::Near => Some(Id::BirthNear),
        BirthDateLevel::SameYear => Some(Id::BirthSameYear),
        BirthDateLevel::Missing => None,
        BirthDateLevel::Different => Some(Id::BirthDifferent),
    }
}

fn number(level: NumberLevel) -> Option<Id> {
    match level {
        NumberLevel::Exact => Some(Id::NumberExact),
        NumberLevel::OneEdit => Some(Id::NumberOneEdit),
        NumberLevel::TwoEdits => Some(Id::NumberTwoEdits),
        NumberLevel::Lent => Some(Id::NumberLent),
        NumberLevel::Missing => None,
        NumberLevel::Different => Some(Id::NumberDifferent),
        NumberLevel::Conflict => Some(Id::NumberConflict),
    }
}

fn card(compared: &Comparison) -> Option<Id> {
    match compared.card {
        CardLevel::Exact if compared.is_own_card => Some(Id::CardOwn),
        CardLevel::Exact => Some(Id::CardExact),
        CardLevel::OneEdit => Some(Id::CardOneEdit),
        CardLevel::Missing => None,
        CardLevel::Different => Some(Id::CardDifferent),
    }
}

fn phone(level: PhoneLevel) -> Option<Id> {
    match level {
        PhoneLevel::Exact => Some(Id::PhoneExact),
        PhoneLevel::OneEdit => Some(Id::PhoneOneEdit),
        PhoneLevel::Missing => None,
        PhoneLevel::Different => Some(Id::PhoneDifferent),
    }
}

fn address(level: AddressLevel) -> Option<Id> {
    match level {
        AddressLevel::Exact => Some(Id::AddressExact),
        AddressLevel::Close => Some(Id::AddressClose),
        AddressLevel::SameStreet => Some(Id::AddressSameStreet),
        AddressLevel::SameArea => Some(Id::AddressSameArea),
        AddressLevel::Missing => None,
        AddressLevel::Different => Some(Id::AddressDifferent),
    }
}

fn sex(level: SexLevel) -> Option<Id> {
    match level {
        SexLevel::Equal => Some(Id::SexEqual),
        SexLevel::Missing => None,
        SexLevel::Different => Some(Id::SexDifferent),
    }
}
