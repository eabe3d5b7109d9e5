//! What a server says that it can do. It is believed only where it costs nothing to be wrong: everything is tried and watched anyway.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::bundle::trimmed;
use super::sink::FhirVersion;

/// Of a CapabilityStatement (STU3 to R5) what matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) version: Option<FhirVersion>,
    /// It named a version, known here or not.
    pub(super) says_version: bool,
    /// Product and version.
    pub(super) software: Option<String>,
    /// Bulk Data export of the whole server.
    pub(super) export: bool,
    types: BTreeMap<String, TypeCapabilities>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct TypeCapabilities {
    says_interactions: bool,
    history: bool,
    includes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    resource_type: String,
    fhir_version: Option<String>,
    software: Option<Software>,
    #[serde(default)]
    rest: Vec<Rest>,
}

#[derive(Deserialize)]
struct Software {
    name: Option<String>,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Rest {
    #[serde(default)]
    resource: Vec<Resource>,
    #[serde(default)]
    operation: Vec<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(rename = "type")]
    name: String,
    interaction: Option<Vec<Interaction>>,
    #[serde(default)]
    search_include: Vec<String>,
}

#[derive(Deserialize)]
struct Interaction {
    code: Option<String>,
}

impl Capabilities {
    /// Reads a CapabilityStatement; `None` if it is none.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let statement: Statement = serde_json::from_slice(trimmed(body)).ok()?;
        if statement.resource_type != "CapabilityStatement" {
            return None;
        }
        let software = statement.software.and_then(|software| {
            let name = software.name?;
            Some(software.version.map_or_else(|| name.clone(), |version| format!("{name} {version}")))
        });
        let mut known = Self {
            version: statement.fhir_version.as_deref().and_then(FhirVersion::parse),
            says_version: statement.fhir_version.is_some(),
            software: software.map(|text| text.chars().filter(|letter| !letter.is_control()).take(80).collect()),
            ..Self::default()
        };
        for rest in statement.rest {
            let named = |name: &str| name.trim_start_matches('$') == "export" || name == "system-export";
            known.export |= rest.operation.iter().any(|operation| operation.name.as_deref().is_some_and(named));
            for resource in rest.resource {
                let interactions = resource.interaction.as_deref().unwrap_or_default();
                let history = interactions.iter().any(|one| one.code.as_deref() == Some("history-type"));
                let says_interactions = !interactions.is_empty();
                let includes = resource.search_include;
                known.types.insert(resource.name, TypeCapabilities { says_interactions, history, includes });
            }
        }
        Some(known)
    }

    /// Whether the type has a history; `None`: not said.
    pub(super) fn history(&self, resource_type: &str) -> Option<bool> {
        let known = self.types.get(resource_type)?;
        known.says_interactions.then_some(known.history)
    }

    /// The `_include` that brings a resource's patient along, if the server has one.
    pub(super) fn patient_include(&self, resource_type: &str) -> Option<String> {
        let listed = &self.types.get(resource_type)?.includes;
        ["patient", "subject"]
            .into_iter()
            .map(|parameter| format!("{resource_type}:{parameter}"))
            .find(|include| listed.iter().any(|one| one == include || one.strip_suffix(":Patient") == Some(include)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_tells_version_history_includes_and_export() {
        let body = br#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","software":{"name":"X","version":"2"},
            "rest":[{"operation":[{"name":"export"}],"resource":[
            {"type":"Encounter","interaction":[{"code":"read"},{"code":"history-type"}],"searchInclude":["Encounter:subject","Encounter:location"]},
            {"type":"Patient","interaction":[{"code":"read"}]},{"type":"Basic"}]}]}"#;
        let known = Capabilities::parse(body).unwrap();
        assert_eq!(
            (known.version, known.software.as_deref(), known.export),
            (Some(FhirVersion::R4), Some("X 2"), true)
        );
        assert_eq!(known.history("Encounter"), Some(true));
        assert_eq!(known.history("Patient"), Some(false));
        assert_eq!(known.history("Basic"), None);
        assert_eq!(known.patient_include("Encounter").as_deref(), Some("Encounter:subject"));
        assert_eq!(known.patient_include("Patient"), None);
        assert_eq!(Capabilities::parse(br#"{"resourceType":"Conformance"}"#), None);
    }
}
