//! A policy applied to a document: what may leave of it.

use super::class::{self, Document, FieldClass, Form, Row, Treatment};
use super::file::Policy;
use super::mask;
use super::pseudonym::PseudonymKey;
use super::special::{self, Categories, Category};
use crate::feed::EventKind;
use crate::record::resident_id::ResidentId;
use crate::record::{Fields, Value};

/// Letters of a resident number.
const RESIDENT_NUMBER: usize = 18;
/// When a source last said something.
const UPDATED_AT: &str = "updated_at";

/// One consumer's view.
#[derive(Debug)]
pub struct Lens<'a> {
    policy: &'a Policy,
    withheld: Vec<&'a Category>,
    key: PseudonymKey,
    this_year: i16,
}

impl<'a> Lens<'a> {
    /// `this_year`: by which ages are reckoned.
    pub fn new(policy: &'a Policy, categories: &'a Categories, key: PseudonymKey, this_year: i16) -> Self {
        let withheld = categories.iter().filter(|category| !policy.special.contains(&category.name)).collect();
        Self { policy, withheld, key, this_year }
    }

    /// Whether an event of this type may be known of at all: a type says something by itself.
    pub fn may_know(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::LabCritical => self.may_know_of(Document::LabReport) && !self.policy.omits(FieldClass::Abnormal),
            kind => self.may_know_of(Document::of(kind)),
        }
    }

    /// Whether documents of this kind may be known of at all.
    pub fn may_know_of(&self, document: Document) -> bool {
        match document {
            Document::Visit => !self.policy.omits(FieldClass::VisitStatus),
            Document::LabReport => !self.policy.omits(FieldClass::ReportStatus),
            _ => true,
        }
    }

    /// Whether a visit or report as it is now falls as a whole in a special category that is withheld.
    pub fn withholds(&self, document: Document, record: &Fields) -> bool {
        self.without_special(document, record.clone()).is_none()
    }

    /// What may leave of a document; `None`: nothing, not even that it is there.
    pub fn show(&self, document: Document, record: Fields) -> Option<Fields> {
        let record = self.without_special(document, record)?;
        let mut path = String::new();
        let treated = record.iter().filter_map(|(name, value)| {
            path.clear();
            path.push_str(name);
            Some((name.clone(), self.treat(document, &mut path, value, None)?))
        });
        Some(treated.collect())
    }

    fn without_special(&self, document: Document, record: Fields) -> Option<Fields> {
        match document {
            _ if self.withheld.is_empty() => Some(record),
            Document::Visit => special::visit(&self.withheld, record),
            Document::LabReport => special::lab_report(&self.withheld, record),
            _ => Some(record),
        }
    }

    fn treat(
        &self,
        document: Document,
        path: &mut String,
        value: &Value,
        own_class: Option<FieldClass>,
    ) -> Option<Value> {
        let row = document.row(path);
        if let Some(Row { class, form: Form::Subtree, .. }) = row
            && self.policy.is_clear(*class)
        {
            return Some(value.clone());
        }
        match value {
            Value::Object(fields) => {
                let own_class = class::own_class(document, path, value);
                let length = path.len();
                let mut has_content = false;
                let mut treated = Fields::new();
                for (name, part) in fields {
                    path.push('.');
                    path.push_str(name);
                    if let Some(part) = self.treat(document, path, part, own_class) {
                        has_content |= document.row(path).is_none_or(|row| row.form != Form::Label);
                        treated.insert(name.clone(), part);
                    }
                    path.truncate(length);
                }
                has_content.then_some(Value::Object(treated))
            }
            Value::Array(items) => {
                let treated: Vec<Value> =
                    items.iter().filter_map(|item| self.treat(document, path, item, own_class)).collect();
                let is_clear = row.is_some_and(|row| self.policy.is_clear(row.class));
                (!treated.is_empty() || items.is_empty() && is_clear).then_some(Value::Array(treated))
            }
            leaf => {
                let row = row.filter(|row| row.form != Form::Subtree)?;
                self.leaf(own_class.unwrap_or(row.class), row.form, leaf)
            }
        }
    }

    fn leaf(&self, class: FieldClass, form: Form, value: &Value) -> Option<Value> {
        let mut treatment = self.policy.treatment(class);
        if form == Form::Number && treatment > Treatment::Pseudonym && value.as_str().is_some_and(holds_resident_number)
        {
            treatment = treatment.min(self.policy.treatment(FieldClass::IdentityNumber));
            // What names a visit or report is needed to keep it; its stand-in tells nothing.
            if treatment < Treatment::Clear && matches!(class, FieldClass::VisitNumber | FieldClass::ReportNumber) {
                treatment = Treatment::Pseudonym;
            }
        }
        if treatment == Treatment::Clear {
            return Some(value.clone());
        }
        if !shows(form, treatment) {
            return None;
        }
        if matches!(form, Form::Label | Form::Kept) {
            return Some(value.clone());
        }
        let text = value.as_str()?;
        let shown = match (form, treatment) {
            (Form::Number, Treatment::Pseudonym) => Some(self.key.pseudonym(class.name(), text)),
            (Form::Number, _) => mask::number(text),
            (Form::Name, _) => mask::name(text),
            (Form::Phone, _) => mask::phone(text),
            (Form::Email, _) => mask::email(text),
            (Form::BirthDate, _) => mask::birth_year(text, self.this_year),
            (Form::Time, _) => mask::day(text),
            (Form::District, _) => mask::district(text),
            (Form::Diagnosis, _) => mask::diagnosis(text),
            (Form::Plain | Form::Label | Form::Kept | Form::Subtree, _) => None,
        };
        shown.map(Value::from)
    }

    /// Of the names of changed fields those that may be told; `shown` is what leaves of the document, `before` what left of the version
    /// before, if that is known. A field that is shown in part is named only if that part changed.
    pub fn changes(
        &self,
        document: Document,
        changed: &[Value],
        shown: &Fields,
        before: Option<&Fields>,
    ) -> Vec<Value> {
        let told = |name: &str| match self.extent(document, name) {
            Extent::Nothing => false,
            Extent::Whole => true,
            Extent::Part => before.is_none_or(|before| timeless(before.get(name)) != timeless(shown.get(name))),
        };
        changed.iter().filter(|name| name.as_str().is_some_and(told)).cloned().collect()
    }

    /// Whether [`Lens::changes`] cannot tell without the version before.
    pub fn needs_before(&self, document: Document, changed: &[Value]) -> bool {
        changed.iter().filter_map(Value::as_str).any(|name| self.extent(document, name) == Extent::Part)
    }

    /// How much of a field of the document's first level is shown.
    fn extent(&self, document: Document, name: &str) -> Extent {
        let rows = document
            .rows()
            .iter()
            .filter(|row| row.path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
        let is_special = matches!(name, "diagnoses" | "results" | "abnormal" | "critical") && !self.withheld.is_empty();
        // A number's class is that of its type.
        let typed = document == Document::Person && ["identifiers", "sources"].contains(&name);
        let shows_number = |class| shows(Form::Number, self.policy.treatment(class));
        let numbers = [FieldClass::IdentityNumber, FieldClass::HospitalNumber, FieldClass::Insurance];
        let (mut all, mut any) = (!is_special && !typed, typed && numbers.into_iter().any(shows_number));
        for row in rows {
            let treatment = self.policy.treatment(row.class);
            all &= treatment == Treatment::Clear;
            any |= row.form != Form::Label && shows(row.form, treatment);
        }
        match (any, all) {
            (false, _) => Extent::Nothing,
            (true, true) => Extent::Whole,
            (true, false) => Extent::Part,
        }
    }

    /// The id of an event, which tells its time to the millisecond: a stand-in where times of its kind are hidden.
    pub fn event_id(&self, kind: EventKind, id: &str) -> String {
        if self.tells_time(kind) { id.to_owned() } else { self.key.pseudonym("event", id) }
    }

    /// The time of an event: the day where times of its kind are hidden. That something is sent tells as much.
    pub fn event_time(&self, kind: EventKind, time: &str) -> String {
        match time.get(..10) {
            Some(day) if !self.tells_time(kind) => {
                let offset =
                    if time.ends_with('Z') { "Z" } else { time.get(time.len().saturating_sub(6)..).unwrap_or("Z") };
                format!("{day}T00:00:00{offset}")
            }
            _ => time.to_owned(),
        }
    }

    /// The source of an event without its name, where names of sources are hidden.
    pub fn event_source(&self, source: &str) -> String {
        if self.policy.is_clear(FieldClass::Origin) { source.to_owned() } else { "heyi".to_owned() }
    }

    fn tells_time(&self, kind: EventKind) -> bool {
        self.policy.is_clear(match Document::of(kind) {
            Document::Visit => FieldClass::VisitTime,
            Document::LabReport => FieldClass::ReportTime,
            _ => FieldClass::RecordTime,
        })
    }
}

impl Document {
    /// What `data` of an event of this type is.
    pub fn of(kind: EventKind) -> Self {
        match (kind, kind.family()) {
            (EventKind::PatientConsentChanged, _) => Self::Consent,
            (_, "visit") => Self::Visit,
            (_, "lab") => Self::LabReport,
            _ => Self::Person,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Nothing,
    Part,
    Whole,
}

/// Whether something of a value of this form is left.
fn shows(form: Form, treatment: Treatment) -> bool {
    match treatment {
        Treatment::Omit => false,
        Treatment::Clear => true,
        Treatment::Pseudonym => matches!(form, Form::Number | Form::Label | Form::Kept),
        Treatment::Mask => {
            matches!(form, Form::Name | Form::Phone | Form::Email | Form::Number | Form::Label | Form::Kept)
        }
        Treatment::Generalise => {
            matches!(form, Form::BirthDate | Form::Time | Form::District | Form::Diagnosis | Form::Label | Form::Kept)
        }
    }
}

/// Whether a valid resident number stands in a text: systems use it as card, account and visit number.
fn holds_resident_number(text: &str) -> bool {
    let parts = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    let mut parts = parts.filter(|part| part.len() >= 15 && part.is_ascii());
    ResidentId::read(text).is_some()
        || parts.any(|part| {
            let windows = part.as_bytes().windows(RESIDENT_NUMBER);
            part.len() == 15 && ResidentId::read(part).is_some()
                || windows
                    .filter_map(|window| std::str::from_utf8(window).ok())
                    .any(|part| ResidentId::read(part).is_some())
        })
}

/// A value without the times at which sources last said it: they move with every update, whatever it was about.
fn timeless(value: Option<&Value>) -> Option<Value> {
    let mut value = value?.clone();
    for entry in value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        entry.remove(UPDATED_AT);
    }
    Some(value)
}

/// Whether a list of changed names says anything: that something was said later is no news.
pub fn is_news(changed: &[Value]) -> bool {
    changed.iter().any(|name| name.as_str() != Some(UPDATED_AT))
}

/// The names in `changed` of an event's data.
pub fn changed_names(data: &Fields) -> &[Value] {
    data.get("changed").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::diagnostic::SourceFile;
    use crate::record::json;

    fn policy(text: &str) -> Policy {
        let file = SourceFile { name: "policies/own.toml".to_owned(), text: text.to_owned() };
        let (policy, problems) = Policy::read("own", &file, &Categories::shipped());
        assert_eq!(problems, []);
        policy.unwrap()
    }

    fn shown(fields: &str, document: Document, record: Value) -> Value {
        let (policy, categories) =
            (policy(&format!("[fields]\n{}", fields.replace(", ", "\n"))), Categories::shipped());
        let lens = Lens::new(&policy, &categories, PseudonymKey::new(b"key", "crm"), 2026);
        lens.show(document, record.as_object().unwrap().clone()).map_or(Value::Null, Value::Object)
    }

    #[test]
    fn of_numbers_that_are_all_hidden_a_change_is_not_named_although_the_version_before_is_gone() {
        let categories = Categories::shipped();
        let changed = ["identifiers", "sources"].map(Value::from);
        let told = |text: &str| {
            let policy = policy(text);
            let lens = Lens::new(&policy, &categories, PseudonymKey::new(b"key", "crm"), 2026);
            lens.changes(Document::Person, &changed, &Fields::new(), None)
        };
        assert_eq!(told(super::super::shipped("marketing").unwrap()), Vec::<Value>::new());
        assert_eq!(told("[fields]\norigin = \"clear\"\n"), [Value::from("sources")]);
        assert_eq!(told("[fields]\ninsurance = \"pseudonym\"\n"), changed);
    }

    #[test]
    fn the_code_of_another_system_goes_the_way_of_the_code_beside_it() {
        let alternate = |code: &str| json!({"code": code, "system": "I10", "name": "another name"});
        let visit = json!({
            "status": "finished",
            "diagnoses": [
                {"code": "I20.0", "system": "ICD10CN", "name": "n", "kind": "admitting", "alternate": alternate("I20.1")},
                {"code": "local", "system": "L", "name": "n", "alternate": alternate("E11.9")},
                {"code": "I21.9", "system": "ICD10CN", "name": "n", "alternate": alternate("22298006")},
            ],
            "procedures": [{"code": "36.0", "name": "n", "alternate": alternate("P1")}],
        });
        assert_eq!(shown("visit_status = \"clear\"", Document::Visit, visit.clone()), json!({"status": "finished"}));
        let category = |code: &str| json!({"code": code, "system": "I10"});
        assert_eq!(
            shown("diagnosis = \"generalise\"", Document::Visit, visit),
            json!({"diagnoses": [
                {"code": "I20", "system": "ICD10CN", "kind": "admitting", "alternate": category("I20")},
                {"system": "L", "alternate": category("E11")},
                {"code": "I21", "system": "ICD10CN"},
            ]})
        );
        let report = json!({
            "status": "final",
            "panel": {"code": "1", "alternate": alternate("2")},
            "conclusion": "words",
            "note": "words",
            "results": [{"code": "3", "alternate": alternate("4"), "note": "words", "status": "final",
                "value_code": {"code": "5", "alternate": alternate("6")}}],
        });
        assert_eq!(shown("report_status = \"clear\"", Document::LabReport, report.clone()), json!({"status": "final"}));
        assert_eq!(
            shown("test = \"clear\"", Document::LabReport, report.clone()),
            json!({
                "panel": {"code": "1", "alternate": alternate("2")},
                "results": [{"code": "3", "alternate": alternate("4"), "status": "final"}],
            })
        );
        assert_eq!(
            shown("result = \"clear\"", Document::LabReport, report),
            json!({"results": [{"value_code": {"code": "5", "alternate": alternate("6")}}]})
        );
    }

    const NUMBER: &str = "11010519491231002X";

    #[test]
    fn what_a_policy_does_not_name_and_what_has_no_class_does_not_leave() {
        let person = json!({"one_id": "P1", "version": 3, "name": "张三丰", "shoe_size": 43, "phones": [{"use": "mobile", "value": "13800138000"}]});
        assert_eq!(shown("", Document::Person, person.clone()), json!({"one_id": "P1", "version": 3}));
        assert_eq!(
            shown("name = \"mask\", phone = \"mask\"", Document::Person, person.clone()),
            json!({"one_id": "P1", "version": 3, "name": "张*丰", "phones": [{"use": "mobile", "value": "138****8000"}]})
        );
        // Not even where everything is clear.
        let full = policy(super::super::shipped("full").unwrap());
        let categories = Categories::shipped();
        let lens = Lens::new(&full, &categories, PseudonymKey::new(b"key", "crm"), 2026);
        let mut expected = person.as_object().unwrap().clone();
        expected.remove("shoe_size");
        assert_eq!(lens.show(Document::Person, person.as_object().unwrap().clone()), Some(expected));
    }

    #[test]
    fn a_number_is_treated_by_its_type_and_an_identity_number_as_one_wherever_it_stands() {
        let person = json!({
            "identifiers": [
                {"type": "mrn", "system": "HIS", "value": "P0001"},
                {"type": "resident_id", "value": NUMBER},
                {"type": "visit_card", "system": "CARD", "value": NUMBER},
                {"type": "other", "value": "777"},
            ],
            "mother_identifier": {"system": "HIS", "value": NUMBER},
        });
        assert_eq!(
            shown("hospital_number = \"clear\"", Document::Person, person.clone()),
            json!({"identifiers": [{"type": "mrn", "system": "HIS", "value": "P0001"}]})
        );
        let masked =
            shown("identity_number = \"mask\", sex = \"clear\", hospital_number = \"clear\"", Document::Person, person);
        assert_eq!(masked["identifiers"][1], json!({"type": "resident_id", "value": "****002X"}));
        assert_eq!(masked["identifiers"][2]["value"], "****002X");
        let visit = json!({"visit_id": format!("his:{NUMBER}-1"), "number": "V1"});
        let fields = "hospital_number = \"clear\", visit_number = \"clear\"";
        let shown = shown(fields, Document::Visit, visit);
        assert!(shown["visit_id"].as_str().unwrap().starts_with("p-"), "{shown}");
        assert_eq!(shown["number"], "V1");
    }

    #[test]
    fn an_object_of_which_only_labels_are_left_does_not_leave() {
        let person = json!({
            "addresses": [
                {"use": "home", "text": "梧桐街七十七号"},
                {"use": "work", "city": "深圳市", "district": "南山区", "street": "科技园路1号", "postal_code": "518057"},
            ],
            "contacts": [{"relationship": "女儿"}],
            "basis": {"by": "zhang", "redirected": ["P7"]},
        });
        assert_eq!(
            shown("address = \"generalise\"", Document::Person, person),
            json!({"addresses": [{"use": "work", "city": "深圳市", "district": "南山区"}], "basis": {"redirected": ["P7"]}})
        );
    }

    #[test]
    fn names_of_hidden_fields_do_not_show_and_one_that_is_shown_in_part_only_if_that_changed() {
        let (policy, categories) = (policy("[fields]\nname = \"mask\"\nsex = \"clear\"\n"), Categories::shipped());
        let lens = Lens::new(&policy, &categories, PseudonymKey::new(b"key", "crm"), 2026);
        let show = |name: &str, phone: &str| {
            let person = json!({"name": name, "family_name": name, "sex": "male", "phones": [{"value": phone}]});
            lens.show(Document::Person, person.as_object().unwrap().clone()).unwrap()
        };
        let changed = json!(["family_name", "name", "phones", "sex"]);
        let changed = changed.as_array().unwrap();
        let check = |before: Option<&Fields>, expected: Value| {
            let told = lens.changes(Document::Person, changed, &show("张四", "13900139000"), before);
            assert_eq!(Value::Array(told), expected);
        };
        assert!(lens.needs_before(Document::Person, changed));
        check(None, json!(["name", "sex"]));
        check(Some(&show("张三", "13800138000")), json!(["sex"]));
        check(Some(&show("李四", "13800138000")), json!(["name", "sex"]));
    }

    #[test]
    fn the_envelope_tells_no_more_of_a_time_than_the_policy() {
        let (day, categories) = (policy("[fields]\nvisit_time = \"generalise\"\n"), Categories::shipped());
        let lens = Lens::new(&day, &categories, PseudonymKey::new(b"key", "crm"), 2026);
        let time = "2026-03-16T16:10:20+08:00";
        assert_eq!(lens.event_time(EventKind::VisitAdmitted, time), "2026-03-16T00:00:00+08:00");
        assert_eq!(lens.event_time(EventKind::VisitAdmitted, "2026-03-16T16:10:20Z"), "2026-03-16T00:00:00Z");
        let id = "01KKTV4AF0EB9P78X9FG92C4B6";
        let own = lens.event_id(EventKind::VisitAdmitted, id);
        assert!(own.starts_with("p-") && own == lens.event_id(EventKind::VisitAdmitted, id), "{own}");
        assert_eq!(lens.event_source("heyi/his"), "heyi");
        let clear = policy("[fields]\nvisit_time = \"clear\"\n");
        let lens = Lens::new(&clear, &categories, PseudonymKey::new(b"key", "crm"), 2026);
        assert_eq!(
            (lens.event_id(EventKind::VisitAdmitted, id), lens.event_time(EventKind::VisitAdmitted, time)),
            (id.to_owned(), time.to_owned())
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[a-z0-9张三区 -]{0,12}".prop_map(|text| Value::from(text.as_str())),
            any::<bool>().prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::vec((prop::sample::select(NAMES), inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    const NAMES: &[&str] =
        &["name", "value", "type", "system", "code", "phones", "identifiers", "basis", "one_id", "surprise"];

    proptest! {
        #[test]
        fn of_any_document_an_empty_policy_shows_only_keys(record in any_value()) {
            let Value::Object(record) = record else { return Ok(()) };
            let (empty, categories) = (policy(""), Categories::default());
            let lens = Lens::new(&empty, &categories, PseudonymKey::new(b"key", "crm"), 2026);
            for document in Document::ALL {
                let shown = lens.show(document, record.clone()).unwrap();
                prop_assert!(shown.keys().all(|name| name == "one_id"), "{shown:?}");
            }
        }
    }
}
