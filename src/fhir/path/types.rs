//! What is known of the result of an expression before any resource is read: types, and the way that led there.

use std::collections::BTreeSet;

use crate::fhir::dictionary::{Dictionary, Shape, TypeId};

/// Most types that a message lists.
const MOST_NAMED: usize = 12;
/// By which JSON says what a resource is; no element of FHIR's own.
pub(super) const RESOURCE_TYPE: &str = "resourceType";
/// More than these are no longer kept apart.
const MAXIMUM: usize = 96;

/// The types that nodes may have, each with the path that leads to it: `HumanName` by `Patient.name`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Types {
    pub(super) kinds: Vec<(TypeId, String)>,
    /// Something else is possible too; the path that leads there, empty at the start of a path.
    pub(super) open: Option<String>,
    /// Where references among them may lead; `None`: anywhere.
    pub(super) targets: Option<BTreeSet<TypeId>>,
    /// The codes that texts among them may be; `None`: any.
    pub(super) codes: Option<BTreeSet<&'static str>>,
    /// A resource may hold several, whichever its version.
    pub(super) several: bool,
}

impl Types {
    /// Anything at all: no element can be checked.
    pub fn any() -> Self {
        Self::open(String::new())
    }

    /// Resources of one type. `None`: FHIR has no such type of resource.
    pub fn resource(name: &str) -> Option<Self> {
        let dictionary = Dictionary::standard();
        dictionary.named(name).filter(|id| dictionary.is_resource(*id)).map(Self::of)
    }

    /// Either's.
    pub fn or(mut self, other: &Self) -> Self {
        self.merge(other);
        self
    }

    pub(super) fn open(path: String) -> Self {
        Self { open: Some(path), ..Self::default() }
    }

    pub(super) fn none() -> Self {
        Self { targets: Some(BTreeSet::new()), codes: Some(BTreeSet::new()), ..Self::default() }
    }

    pub(super) fn of(id: TypeId) -> Self {
        Self { kinds: vec![(id, id.name().to_owned())], ..Self::default() }
    }

    /// The same of one node: what is asked of each is not asked of several.
    pub fn each(mut self) -> Self {
        self.several = false;
        self
    }

    /// The codes that this may be; `None`: it may be any text, or is none.
    pub fn codes(&self) -> Option<&BTreeSet<&'static str>> {
        self.codes.as_ref().filter(|codes| !codes.is_empty())
    }

    /// Whether it may be something else than the types that are known.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether anything that can be is known to be one of these shapes; also true of what is never there.
    pub(super) fn may_be(&self, wanted: impl Fn(TypeId) -> bool) -> bool {
        self.is_open() || self.kinds.is_empty() || self.kinds.iter().any(|(id, _)| wanted(*id))
    }

    /// Whether this may be a boolean.
    pub fn may_be_boolean(&self) -> bool {
        self.may_be(|id| Dictionary::standard().shape(id) == Shape::Boolean)
    }

    /// Whether all are texts of elements whose names say what they hold: `Patient.gender`, and not `Extension.value`.
    pub fn are_named_texts(&self) -> bool {
        let dictionary = Dictionary::standard();
        let is_named = |(id, path): &(TypeId, String)| {
            let name = path.rsplit('.').next().unwrap_or_default();
            !id.is_system()
                && dictionary.shape(*id) == Shape::String
                && path.contains('.')
                && !matches!(name, "value" | "text")
        };
        !self.is_open() && !self.kinds.is_empty() && self.kinds.iter().all(is_named)
    }

    /// The types by name, each once, in order.
    pub fn type_names(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = Vec::new();
        for (id, _) in &self.kinds {
            if !names.contains(&id.name()) {
                names.push(id.name());
            }
        }
        names
    }

    /// The ways that lead there: `Patient.name`.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.kinds.iter().map(|(_, path)| path).chain(&self.open).map(String::as_str)
    }

    /// The extensions among them that have this URL, in their own ways: `Patient.extension('https://…')`.
    pub(super) fn extensions_of(mut self, url: &str) -> Self {
        let paths = self.kinds.iter_mut().map(|(_, path)| path).chain(&mut self.open);
        paths.for_each(|path| *path = extension_place(path, url));
        self
    }

    /// The names of the types, for messages: `HumanName or string`; of many, as of the value of an extension, only how many.
    pub fn names(&self) -> String {
        let names = self.type_names();
        match names.len() {
            ..=MOST_NAMED => names.join(" or "),
            many => format!("one of {many} types ({}, {}, …)", names[0], names[1]),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for kind in &other.kinds {
            if !self.kinds.contains(kind) {
                self.kinds.push(kind.clone());
            }
        }
        if self.open.is_none() {
            self.open.clone_from(&other.open);
        }
        self.targets = match (self.targets.take(), &other.targets) {
            (Some(mut mine), Some(others)) => {
                mine.extend(others);
                Some(mine)
            }
            _ => None,
        };
        self.codes = match (self.codes.take(), &other.codes) {
            (Some(mut mine), Some(others)) => {
                mine.extend(others);
                Some(mine)
            }
            _ => None,
        };
        self.several |= other.several;
        if self.kinds.len() > MAXIMUM {
            *self = Self::any();
        }
    }

    /// What `name` leads to, and whether it is known that nothing here has such an element.
    pub(super) fn member(&self, name: &str) -> (Self, bool) {
        let dictionary = Dictionary::standard();
        let mut found = Self::none();
        let mut may_have = self.is_open() || self.kinds.is_empty();
        let mut all_repeat = !self.is_open();
        if let Some(path) = &self.open {
            found.merge(&Self::open(joined(path, name)));
        }
        for (id, path) in &self.kinds {
            let path = joined(path, name);
            match dictionary.member(*id, name) {
                Some(element) => {
                    may_have = true;
                    all_repeat &= element.always_repeats;
                    let codes = (!element.codes.is_empty()).then(|| element.codes.iter().copied().collect());
                    let targets = (!element.targets.is_empty()).then(|| element.targets.iter().copied().collect());
                    let no_reference = !element.types.iter().any(|id| id.name() == "Reference");
                    let kinds = element.types.iter().map(|id| (*id, path.clone())).collect();
                    let targets = if no_reference { Some(BTreeSet::new()) } else { targets };
                    found.merge(&Self { kinds, open: None, targets, codes, several: false });
                }
                None if name == RESOURCE_TYPE && dictionary.is_resource(*id) => {
                    (may_have, all_repeat) = (true, false);
                    let codes = (!dictionary.is_abstract(*id)).then(|| [id.name()].into());
                    found.merge(&Self { kinds: vec![(TypeId::STRING, path)], codes, ..Self::default() });
                }
                None if dictionary.is_checked(*id) || id.is_system() => {}
                None => {
                    (may_have, all_repeat) = (true, false);
                    found.merge(&Self::open(path));
                }
            }
        }
        found.several = self.several || (all_repeat && !found.kinds.is_empty());
        (found, !may_have)
    }

    /// What references lead to.
    pub(super) fn resolved(&self) -> Self {
        match &self.targets {
            Some(targets) if !targets.is_empty() => {
                let mut found = Self::none();
                targets.iter().for_each(|id| found.merge(&Self::of(*id)));
                Self { several: self.several, ..found }
            }
            _ => Self { several: self.several, ..Self::open("resolve()".to_owned()) },
        }
    }

    /// Those that are, or may turn out to be, of a type.
    pub(super) fn narrowed(&self, wanted: TypeId) -> Self {
        let dictionary = Dictionary::standard();
        let mut found = Self { kinds: Vec::new(), open: None, ..self.clone() };
        for (id, path) in &self.kinds {
            if dictionary.is_a(*id, wanted) {
                found.kinds.push((*id, path.clone()));
            } else if dictionary.is_a(wanted, *id) {
                let path = if dictionary.is_resource(wanted) { wanted.name().to_owned() } else { path.clone() };
                found.kinds.push((wanted, path));
            }
        }
        if let Some(path) = &self.open {
            let path = if dictionary.is_resource(wanted) { wanted.name() } else { path };
            found.kinds.push((wanted, path.to_owned()));
        }
        found.kinds.dedup();
        found
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The way to the extensions of one URL: `Patient.extension('https://…')`, of `Patient.extension`.
pub fn extension_place(extension: &str, url: &str) -> String {
    format!("{extension}('{url}')")
}
