//! Records as consumers see them: a projected record with its ids, owner and version.

use serde_json::json;

use crate::record::Fields;

/// A visit with `visit_id` and `source`.
pub fn visit(mut record: Fields, source: &str, number: &str) -> Fields {
    record.insert("visit_id".to_owned(), json!(format!("{source}:{number}")));
    record.insert("source".to_owned(), json!(source));
    record
}

/// A report with `report_id`, `source` and `visit_id`.
pub fn lab_report(mut record: Fields, source: &str, number: &str, visit_id: Option<&str>) -> Fields {
    record.insert("report_id".to_owned(), json!(format!("{source}:{number}")));
    record.insert("source".to_owned(), json!(source));
    if let Some(visit_id) = visit_id {
        record.insert("visit_id".to_owned(), json!(visit_id));
    }
    record
}

/// Any record with `one_id` and `version`.
pub fn versioned(mut record: Fields, one_id: &str, version: u64) -> Fields {
    record.insert("one_id".to_owned(), json!(one_id));
    record.insert("version".to_owned(), json!(version));
    record
}
