//! The field classes: what every field that can leave is, and what a policy may do with it.
//!
//! One table for each document, by path. A field that has no line here never leaves, whatever the policy says; tests walk every field of
//! every schema, so a new field is noticed before a release and not by a consumer.

use crate::record::Value;

/// What a policy does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Treatment {
    /// It does not leave.
    Omit,
    /// A keyed stand-in: equal where the value is equal, and nothing of the value.
    Pseudonym,
    /// A part of it, by the rules in `mask`.
    Mask,
    /// Something wider that it lies in: year, day, district, ICD category.
    Generalise,
    /// As it is.
    Clear,
}

impl Treatment {
    /// All, from least to most disclosed.
    pub const ALL: [Treatment; 5] = [Self::Omit, Self::Pseudonym, Self::Mask, Self::Generalise, Self::Clear];

    /// As policy files write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Omit => "omit",
            Self::Pseudonym => "pseudonym",
            Self::Mask => "mask",
            Self::Generalise => "generalise",
            Self::Clear => "clear",
        }
    }
}

use Treatment::{Clear, Generalise, Mask, Pseudonym};

macro_rules! classes {
    ($($variant:ident $text:literal [$($treatment:ident)*] $meaning:literal)*) => {
        /// What a field is, as policies name it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FieldClass {
            /// What a consumer cannot keep anything without, and what says nothing of a patient: One IDs, versions. Always sent, in no policy.
            Key,
            $(#[doc = $meaning] $variant,)*
        }

        impl FieldClass {
            /// Every class that a policy may name, in the order of the documentation.
            pub const ALL: &'static [FieldClass] = &[$(FieldClass::$variant,)*];

            /// As policy files write it.
            pub fn name(self) -> &'static str {
                match self { FieldClass::Key => "key", $(FieldClass::$variant => $text,)* }
            }

            /// One line of meaning.
            pub fn meaning(self) -> &'static str {
                match self { FieldClass::Key => "One IDs and versions, always sent", $(FieldClass::$variant => $meaning,)* }
            }

            /// What a policy may do with it, beside leaving it out.
            pub fn treatments(self) -> &'static [Treatment] {
                match self { FieldClass::Key => &[Clear], $(FieldClass::$variant => &[$($treatment),*],)* }
            }
        }
    };
}

classes! {
    Name "name" [Clear Mask] "the patient's name"
    OtherNames "other_names" [Clear Mask] "former names, aliases, other scripts"
    Sex "sex" [Clear] "sex"
    BirthDate "birth_date" [Clear Generalise] "date of birth; generalise: the year, of the oldest one year for all"
    Death "death" [Clear Generalise] "that and when the patient died; generalise: only that"
    Phone "phone" [Clear Mask] "the patient's phone numbers"
    Email "email" [Clear Mask] "e-mail addresses"
    Address "address" [Clear Generalise] "addresses; generalise: province, city, district"
    IdentityNumber "identity_number" [Clear Mask Pseudonym] "identity numbers: resident number, passport, permits, and numbers of an unknown kind"
    HospitalNumber "hospital_number" [Clear Mask Pseudonym] "medical record numbers, visit cards, accounts"
    Insurance "insurance" [Clear Mask Pseudonym] "insurances and their numbers, health cards"
    Relatives "relatives" [Clear Mask] "next of kin with phones, the mother's number, order of birth"
    Social "social" [Clear] "marital status, nationality, occupation, language"
    Ethnicity "ethnicity" [Clear] "ethnic group"
    Vip "vip" [Clear] "treated as VIP"
    Origin "origin" [Clear] "names of sources, versions of mappings, numbers of messages"
    RecordTime "record_time" [Clear Generalise] "when a source last said something; generalise: the day"
    VisitNumber "visit_number" [Clear Pseudonym] "visit and stay numbers"
    VisitStatus "visit_status" [Clear] "class and status of a visit; without it no visit.* event is sent"
    VisitTime "visit_time" [Clear Generalise] "when a visit was, or is to be; generalise: the day"
    Disposition "disposition" [Clear] "discharge disposition"
    Facility "facility" [Clear] "facility"
    Department "department" [Clear] "departments"
    Bed "bed" [Clear] "ward, room, bed"
    Staff "staff" [Clear Mask] "doctors and other staff; mask: the name, masked"
    VisitReason "visit_reason" [Clear] "reason for the visit, in words"
    Diagnosis "diagnosis" [Clear Generalise] "diagnoses; generalise: the ICD category (three characters)"
    Procedure "procedure" [Clear] "procedures"
    ReportNumber "report_number" [Clear Pseudonym] "report and order numbers"
    ReportStatus "report_status" [Clear] "kind and status of a report; without it no lab.* event is sent"
    ReportTime "report_time" [Clear Generalise] "when it was ordered, taken, reported; generalise: the day"
    Test "test" [Clear] "what was asked for and examined"
    Result "result" [Clear] "measured values with unit and range"
    Abnormal "abnormal" [Clear] "that something is abnormal or critical; without it no lab.critical is sent"
    ReportText "report_text" [Clear] "conclusions, notes and results in words"
    Evidence "evidence" [Clear] "why records are one patient's: weights, decisions, reasons"
    Consent "consent" [Clear] "consents, of whatever purpose"
}

/// How a value looks: what `mask` and `generalise` make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Left out unless clear.
    Plain,
    /// Says what kind the value beside it is: sent beside one that is sent, unless its class is left out.
    Label,
    /// Sent unless its class is left out.
    Kept,
    /// A person's name.
    Name,
    /// A phone number.
    Phone,
    /// An e-mail address.
    Email,
    /// A number that names somebody or something.
    Number,
    /// A date of birth.
    BirthDate,
    /// A time, of which the day can be told.
    Time,
    /// A part of an address down to the district.
    District,
    /// A diagnosis code.
    Diagnosis,
    /// An object of any shape: clear as a whole, else only those parts that have a line of their own.
    Subtree,
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The field's path in its document; lists are passed through: `phones.value`.
    pub path: &'static str,
    /// What it is.
    pub class: FieldClass,
    /// How it looks.
    pub form: Form,
}

const fn row(path: &'static str, class: FieldClass, form: Form) -> Row {
    Row { path, class, form }
}

/// What leaves, by its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Document {
    /// A person, and `data` of every `patient.*` event but of consents.
    Person,
    /// A visit.
    Visit,
    /// A report.
    LabReport,
    /// A step of a record's history.
    Link,
    /// A person who may be meant, without the person itself.
    Candidate,
    /// A consent, and `data` of its event.
    Consent,
}

impl Document {
    /// All.
    pub const ALL: [Document; 6] =
        [Self::Person, Self::Visit, Self::LabReport, Self::Link, Self::Candidate, Self::Consent];

    /// As explanations name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Visit => "visit",
            Self::LabReport => "lab_report",
            Self::Link => "history",
            Self::Candidate => "candidate",
            Self::Consent => "consent",
        }
    }

    /// Its lines.
    pub fn rows(self) -> &'static [Row] {
        match self {
            Self::Person => PERSON,
            Self::Visit => VISIT,
            Self::LabReport => LAB_REPORT,
            Self::Link => LINK,
            Self::Candidate => CANDIDATE,
            Self::Consent => CONSENT,
        }
    }

    /// The line of a field.
    pub fn row(self, path: &str) -> Option<&'static Row> {
        self.rows().iter().find(|row| row.path == path)
    }
}

/// Lists of numbers whose class depends on their type.
const TYPED_NUMBERS: [&str; 2] = ["identifiers", "sources.identifiers"];

/// The class of the parts of an object that says itself what it is: a number by its type. `None`: by their own lines.
pub(super) fn own_class(document: Document, path: &str, object: &Value) -> Option<FieldClass> {
    let is_number = document == Document::Person && TYPED_NUMBERS.contains(&path);
    is_number.then(|| identifier_class(object.get("type").and_then(Value::as_str).unwrap_or_default()))
}

/// The class of a patient's number by its type; one of an unknown type may be an identity number.
pub fn identifier_class(kind: &str) -> FieldClass {
    match kind {
        "mrn" | "visit_card" | "account" => FieldClass::HospitalNumber,
        "health_card" | "insurance_card" => FieldClass::Insurance,
        _ => FieldClass::IdentityNumber,
    }
}

use FieldClass as C;

const PERSON: &[Row] = &[
    row("one_id", C::Key, Form::Plain),
    row("version", C::Key, Form::Plain),
    row("merged_into", C::Key, Form::Plain),
    row("erased_at", C::Key, Form::Plain),
    row("retired", C::Key, Form::Plain),
    row("new_one_id", C::Key, Form::Plain),
    row("changed", C::Key, Form::Plain),
    row("cause", C::Key, Form::Plain),
    row("reverses.type", C::Key, Form::Plain),
    row("reverses.id", C::Key, Form::Plain),
    row("records.visits", C::VisitNumber, Form::Number),
    row("records.lab_reports", C::ReportNumber, Form::Number),
    row("basis", C::Evidence, Form::Subtree),
    row("basis.redirected", C::Key, Form::Plain),
    // The class of a number is that of its type: `identifier_class`.
    row("identifiers.type", C::IdentityNumber, Form::Label),
    row("identifiers.system", C::IdentityNumber, Form::Label),
    row("identifiers.value", C::IdentityNumber, Form::Number),
    row("name", C::Name, Form::Name),
    row("family_name", C::Name, Form::Plain),
    row("given_name", C::Name, Form::Plain),
    row("other_names", C::OtherNames, Form::Name),
    row("sex", C::Sex, Form::Plain),
    row("birth_date", C::BirthDate, Form::BirthDate),
    row("deceased", C::Death, Form::Kept),
    row("deceased_at", C::Death, Form::Plain),
    row("phones.use", C::Phone, Form::Label),
    row("phones.value", C::Phone, Form::Phone),
    row("emails", C::Email, Form::Email),
    row("addresses.use", C::Address, Form::Label),
    row("addresses.text", C::Address, Form::Plain),
    row("addresses.province", C::Address, Form::District),
    row("addresses.city", C::Address, Form::District),
    row("addresses.district", C::Address, Form::District),
    row("addresses.street", C::Address, Form::Plain),
    row("addresses.postal_code", C::Address, Form::Plain),
    row("marital_status", C::Social, Form::Plain),
    row("ethnicity", C::Ethnicity, Form::Plain),
    row("nationality", C::Social, Form::Plain),
    row("occupation", C::Social, Form::Plain),
    row("language", C::Social, Form::Plain),
    row("multiple_birth", C::Relatives, Form::Plain),
    row("mother_identifier.system", C::Relatives, Form::Label),
    row("mother_identifier.value", C::Relatives, Form::Number),
    row("contacts.name", C::Relatives, Form::Name),
    row("contacts.relationship", C::Relatives, Form::Label),
    row("contacts.phone", C::Relatives, Form::Phone),
    row("insurance.kind", C::Insurance, Form::Label),
    row("insurance.number", C::Insurance, Form::Number),
    row("vip", C::Vip, Form::Plain),
    row("updated_at", C::RecordTime, Form::Time),
    row("sources.source", C::Origin, Form::Plain),
    row("sources.identifiers.type", C::IdentityNumber, Form::Label),
    row("sources.identifiers.system", C::IdentityNumber, Form::Label),
    row("sources.identifiers.value", C::IdentityNumber, Form::Number),
    row("sources.updated_at", C::RecordTime, Form::Time),
    row("sources.deactivated", C::Origin, Form::Plain),
    row("sources.mapping_version", C::Origin, Form::Plain),
];

const VISIT: &[Row] = &[
    row("visit_id", C::VisitNumber, Form::Number),
    row("one_id", C::Key, Form::Plain),
    row("version", C::Key, Form::Plain),
    row("changed", C::Key, Form::Plain),
    row("cause", C::Key, Form::Plain),
    row("reverses.type", C::Key, Form::Plain),
    row("reverses.id", C::Key, Form::Plain),
    row("source", C::Origin, Form::Plain),
    row("mapping_version", C::Origin, Form::Plain),
    row("number", C::VisitNumber, Form::Number),
    row("stay_number", C::VisitNumber, Form::Number),
    row("class", C::VisitStatus, Form::Plain),
    row("status", C::VisitStatus, Form::Plain),
    row("facility", C::Facility, Form::Plain),
    row("department.code", C::Department, Form::Plain),
    row("department.name", C::Department, Form::Plain),
    row("ward", C::Bed, Form::Plain),
    row("room", C::Bed, Form::Plain),
    row("bed", C::Bed, Form::Plain),
    row("attending.id", C::Staff, Form::Plain),
    row("attending.name", C::Staff, Form::Name),
    row("referring.id", C::Staff, Form::Plain),
    row("referring.name", C::Staff, Form::Name),
    row("scheduled_at", C::VisitTime, Form::Time),
    row("started_at", C::VisitTime, Form::Time),
    row("ended_at", C::VisitTime, Form::Time),
    row("reason", C::VisitReason, Form::Plain),
    row("diagnoses.code", C::Diagnosis, Form::Diagnosis),
    row("diagnoses.system", C::Diagnosis, Form::Label),
    row("diagnoses.name", C::Diagnosis, Form::Plain),
    row("diagnoses.alternate.code", C::Diagnosis, Form::Diagnosis),
    row("diagnoses.alternate.system", C::Diagnosis, Form::Label),
    row("diagnoses.alternate.name", C::Diagnosis, Form::Plain),
    row("diagnoses.kind", C::Diagnosis, Form::Label),
    row("diagnoses.rank", C::Diagnosis, Form::Label),
    row("diagnoses.recorded_at", C::Diagnosis, Form::Plain),
    row("procedures.code", C::Procedure, Form::Plain),
    row("procedures.system", C::Procedure, Form::Label),
    row("procedures.name", C::Procedure, Form::Plain),
    row("procedures.alternate.code", C::Procedure, Form::Plain),
    row("procedures.alternate.system", C::Procedure, Form::Label),
    row("procedures.alternate.name", C::Procedure, Form::Plain),
    row("procedures.performed_at", C::Procedure, Form::Plain),
    row("disposition", C::Disposition, Form::Plain),
    row("first_visit", C::VisitStatus, Form::Plain),
    row("updated_at", C::RecordTime, Form::Time),
];

const LAB_REPORT: &[Row] = &[
    row("report_id", C::ReportNumber, Form::Number),
    row("visit_id", C::VisitNumber, Form::Number),
    row("one_id", C::Key, Form::Plain),
    row("version", C::Key, Form::Plain),
    row("changed", C::Key, Form::Plain),
    row("cause", C::Key, Form::Plain),
    row("reverses.type", C::Key, Form::Plain),
    row("reverses.id", C::Key, Form::Plain),
    row("source", C::Origin, Form::Plain),
    row("mapping_version", C::Origin, Form::Plain),
    row("kind", C::ReportStatus, Form::Plain),
    row("status", C::ReportStatus, Form::Plain),
    row("placer_order_number", C::ReportNumber, Form::Number),
    row("filler_order_number", C::ReportNumber, Form::Number),
    row("specimen", C::Test, Form::Plain),
    row("panel.code", C::Test, Form::Plain),
    row("panel.system", C::Test, Form::Plain),
    row("panel.name", C::Test, Form::Plain),
    row("panel.alternate.code", C::Test, Form::Plain),
    row("panel.alternate.system", C::Test, Form::Plain),
    row("panel.alternate.name", C::Test, Form::Plain),
    row("ordered_at", C::ReportTime, Form::Time),
    row("collected_at", C::ReportTime, Form::Time),
    row("received_at", C::ReportTime, Form::Time),
    row("reported_at", C::ReportTime, Form::Time),
    row("requester.id", C::Staff, Form::Plain),
    row("requester.name", C::Staff, Form::Name),
    row("performer.id", C::Staff, Form::Plain),
    row("performer.name", C::Staff, Form::Name),
    row("department.code", C::Department, Form::Plain),
    row("department.name", C::Department, Form::Plain),
    row("conclusion", C::ReportText, Form::Plain),
    row("note", C::ReportText, Form::Plain),
    row("abnormal", C::Abnormal, Form::Plain),
    row("critical", C::Abnormal, Form::Plain),
    row("results.code", C::Test, Form::Plain),
    row("results.system", C::Test, Form::Plain),
    row("results.name", C::Test, Form::Plain),
    row("results.alternate.code", C::Test, Form::Plain),
    row("results.alternate.system", C::Test, Form::Plain),
    row("results.alternate.name", C::Test, Form::Plain),
    row("results.sub_id", C::Test, Form::Plain),
    row("results.status", C::Test, Form::Label),
    row("results.value_number", C::Result, Form::Plain),
    row("results.value_text", C::ReportText, Form::Plain),
    row("results.value_code.code", C::Result, Form::Plain),
    row("results.value_code.system", C::Result, Form::Plain),
    row("results.value_code.name", C::Result, Form::Plain),
    row("results.value_code.alternate.code", C::Result, Form::Plain),
    row("results.value_code.alternate.system", C::Result, Form::Plain),
    row("results.value_code.alternate.name", C::Result, Form::Plain),
    row("results.comparator", C::Result, Form::Plain),
    row("results.unit", C::Result, Form::Plain),
    row("results.reference_range.low", C::Result, Form::Plain),
    row("results.reference_range.high", C::Result, Form::Plain),
    row("results.reference_range.text", C::Result, Form::Plain),
    row("results.flags", C::Abnormal, Form::Plain),
    row("results.abnormal", C::Abnormal, Form::Plain),
    row("results.critical", C::Abnormal, Form::Plain),
    row("results.observed_at", C::ReportTime, Form::Time),
    row("results.note", C::ReportText, Form::Plain),
    row("updated_at", C::RecordTime, Form::Time),
];

const LINK: &[Row] = &[
    row("from", C::Key, Form::Plain),
    row("to", C::Key, Form::Plain),
    row("kind", C::Key, Form::Plain),
    row("record", C::HospitalNumber, Form::Number),
    row("generation", C::HospitalNumber, Form::Label),
    row("source", C::Origin, Form::Plain),
    row("message", C::Origin, Form::Plain),
    row("at", C::RecordTime, Form::Time),
    row("basis", C::Evidence, Form::Subtree),
];

const CANDIDATE: &[Row] = &[
    row("one_id", C::Key, Form::Plain),
    row("score", C::Key, Form::Plain),
    row("probability", C::Key, Form::Plain),
    row("grade", C::Key, Form::Plain),
    row("evidence", C::Evidence, Form::Subtree),
];

/// What a consumer of the purpose itself may always know: it must stop when a consent ends.
const CONSENT: &[Row] = &[
    row("one_id", C::Key, Form::Plain),
    row("purpose", C::Key, Form::Plain),
    row("state", C::Key, Form::Plain),
    row("version", C::Key, Form::Plain),
    row("changed", C::Key, Form::Plain),
    row("cause", C::Key, Form::Plain),
    row("since", C::Consent, Form::Plain),
    row("until", C::Key, Form::Plain),
    row("basis", C::Consent, Form::Plain),
    row("source", C::Origin, Form::Plain),
    row("said_by", C::Consent, Form::Plain),
    row("at", C::Consent, Form::Plain),
    row("records", C::HospitalNumber, Form::Number),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::{self, Field, IDENTIFIER_TYPES, Shape};

    fn walk(document: Document, level: &[Field], prefix: &str, missing: &mut Vec<String>) {
        for field in level.iter().filter(|field| !field.steering) {
            let path = format!("{prefix}{}", field.name);
            match field.shape {
                Shape::Object(inner) | Shape::List(inner) => walk(document, inner, &format!("{path}."), missing),
                _ if document.row(&path).is_none() => missing.push(format!("{} {path}", document.name())),
                _ => {}
            }
        }
    }

    #[test]
    fn every_field_of_every_record_has_a_class() {
        let mut missing = Vec::new();
        walk(Document::Person, schema::PATIENT, "", &mut missing);
        walk(Document::Visit, schema::VISIT, "", &mut missing);
        walk(Document::LabReport, schema::LAB_REPORT, "", &mut missing);
        assert_eq!(missing, Vec::<String>::new(), "give them a line in this file's tables");
        // The walk sees what has none.
        let mut seen = Vec::new();
        walk(Document::Link, schema::PATIENT, "", &mut seen);
        assert!(seen.contains(&"history birth_date".to_owned()));
    }

    #[test]
    fn every_line_is_of_a_field_and_every_class_has_a_field() {
        for document in Document::ALL {
            for (place, row) in document.rows().iter().enumerate() {
                assert!(!document.rows()[..place].iter().any(|other| other.path == row.path), "{}", row.path);
            }
        }
        let used = |class: FieldClass| {
            Document::ALL.iter().any(|document| document.rows().iter().any(|row| row.class == class))
        };
        for class in FieldClass::ALL {
            let is_number = IDENTIFIER_TYPES.iter().any(|kind| identifier_class(kind) == *class);
            assert!(used(*class) || is_number, "{}", class.name());
        }
    }
}
