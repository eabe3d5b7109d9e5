//! What `heyi` carries inside the binary for a site of its own: the mappings.

/// A file and its content.
pub(in crate::commands) struct File {
    /// Its path below its folder.
    pub(in crate::commands) name: &'static str,
    /// Its bytes.
    pub(in crate::commands) content: &'static [u8],
}

macro_rules! files {
    ($folder:literal, $($name:literal)*) => {
        &[$($crate::commands::scratch::File { name: $name, content: include_bytes!(concat!("../../../", $folder, "/", $name)) },)*]
    };
}

pub(in crate::commands) use files;

/// `mappings`, as a site has them.
pub(in crate::commands) const MAPPINGS: &[File] = files! {
    "mappings",
    "emr-v2.toml"
    "emr.toml"
    "fhir-r4.toml"
    "his.toml"
    "hl7v2.toml"
    "lis.toml"
    "ris.toml"
    "tables/abnormal-flag.csv"
    "tables/address-use.csv"
    "tables/consent-mode.csv"
    "tables/consent-purpose.csv"
    "tables/consent-status.csv"
    "tables/diagnosis-kind.csv"
    "tables/document-kind.csv"
    "tables/document-status.csv"
    "tables/emr-class.csv"
    "tables/emr-diagnosis-kind.csv"
    "tables/emr-diagnosis-use.csv"
    "tables/emr-document.csv"
    "tables/emr-identifier-system.csv"
    "tables/emr-report-kind.csv"
    "tables/fhir-address-use.csv"
    "tables/fhir-appointment-status.csv"
    "tables/fhir-class.csv"
    "tables/fhir-diagnosis-use.csv"
    "tables/fhir-identifier-system.csv"
    "tables/fhir-marital.csv"
    "tables/fhir-phone-use.csv"
    "tables/fhir-report-kind.csv"
    "tables/fhir-report-status.csv"
    "tables/fhir-result-status.csv"
    "tables/fhir-single-status.csv"
    "tables/fhir-visit-status.csv"
    "tables/gbt2261-1-sex.csv"
    "tables/gbt2261-2-marital.csv"
    "tables/his-class.csv"
    "tables/his-diagnosis-kind.csv"
    "tables/identifier-type.csv"
    "tables/lis-flag.csv"
    "tables/marital.csv"
    "tables/order-control.csv"
    "tables/order-status.csv"
    "tables/patient-class.csv"
    "tables/phone-use.csv"
    "tables/report-kind-by-code.csv"
    "tables/report-kind.csv"
    "tables/report-status.csv"
    "tables/result-status.csv"
    "tables/ris-section.csv"
    "tables/sex.csv"
    "tables/unit.csv"
    "tables/vip.csv"
    "tables/visit-event.csv"
    "tables/yes-no.csv"
};

#[cfg(test)]
pub(in crate::commands) mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The files below a folder of this repository, by their paths from there.
    pub(in crate::commands) fn present(folder: &str, extension: &[&str]) -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut folders = vec![root.clone()];
        let mut found = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if extension.iter().any(|wanted| path.extension().is_some_and(|found| found == *wanted)) {
                    found.insert(path.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
                }
            }
        }
        found
    }

    pub(in crate::commands) fn names(files: &[File]) -> BTreeSet<String> {
        files.iter().map(|file| file.name.to_owned()).collect()
    }

    #[test]
    fn every_mapping_is_carried() {
        assert_eq!(names(MAPPINGS), present("mappings", &["toml", "csv"]));
    }
}
