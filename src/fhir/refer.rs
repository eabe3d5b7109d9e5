//! References, for who reads the JSON of a resource.

use serde_json::Value as Json;

use super::Resource;
use super::unit::Resolved;

/// The ids of the Patients that replace this one (`Patient.link` of type `replaced-by`; LinkType, the same in STU3, R4 and R5), in its
/// order. Whether they are the same server's the reference alone does not tell.
pub fn replaced_by(patient: &[u8]) -> Vec<String> {
    let Ok(patient) = super::read_resource(patient) else { return Vec::new() };
    let links = patient.get("link").and_then(Json::as_array).into_iter().flatten();
    let replacing = links.filter(|link| link.get("type").and_then(Json::as_str) == Some("replaced-by"));
    let references = replacing.filter_map(|link| link.pointer("/other/reference").and_then(Json::as_str));
    let ids = references.filter_map(|reference| {
        let reference = reference.split_once("/_history/").map_or(reference, |(reference, _)| reference);
        let (kind, id) = reference.rsplit_once('/')?;
        (kind.rsplit('/').next() == Some("Patient")).then(|| id.to_owned())
    });
    ids.collect()
}

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

#[cfg(test)]
mod tests {
    use super::replaced_by;

    #[test]
    fn who_replaces_a_patient_is_told_by_the_links_of_that_type_alone() {
        let patient = br#"{"resourceType":"Patient","id":"1","link":[
            {"type":"seealso","other":{"reference":"Patient/2"}},{"type":"replaced-by","other":{"reference":"Patient/3/_history/7"}},
            {"type":"replaces","other":{"reference":"Patient/4"}},{"type":"replaced-by","other":{"reference":"http://h/fhir/Patient/5"}},
            {"type":"replaced-by","other":{"reference":"RelatedPerson/6"}},{"type":"replaced-by","other":{"display":"who"}}]}"#;
        assert_eq!(replaced_by(patient), ["3", "5"]);
        assert_eq!(replaced_by(b"{\"resourceType\":\"Patient\",\"id\":\"1\",\"link\":7}"), Vec::<String>::new());
        assert_eq!(replaced_by(b"no JSON"), Vec::<String>::new());
    }
}
