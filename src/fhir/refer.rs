//! References, for who reads the JSON of a resource.

use serde_json::Value as Json;

use super::Resource;
use super::unit::Resolved;

impl<'u> Resource<'u> {
    /// `Patient/1`; without an id the type alone.
    pub fn name(self) -> String {
        match self.id() {
            Some(id) => format!("{}/{id}", self.type_name()),
            None => self.type_name().to_owned(),
        }
    }

    /// What a reference in this resource leads to inside the unit: another resource, or one that it contains.
    pub fn referred(self, reference: &str) -> Option<&'u Json> {
        match self.unit().resolve(self, reference)? {
            Resolved::Resource(resource) => Some(resource.json()),
            Resolved::Contained(json) => Some(json),
        }
    }
}
