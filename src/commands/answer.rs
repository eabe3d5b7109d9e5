//! An acknowledgement, as people read it.

use crate::hl7v2::{CharsetSetting, Message};

/// What a listener answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// MSA-1; empty where the answer is no HL7 message.
    pub(super) code: String,
    /// What its ERR segments say: place and text.
    pub(super) errors: Vec<String>,
    /// Its segments, or nothing.
    pub(super) segments: Vec<String>,
}

impl Answer {
    /// The message is kept, and processed unless the source asks for less.
    pub(super) fn is_positive(&self) -> bool {
        matches!(self.code.as_str(), "AA" | "CA")
    }
}

/// Reads an acknowledgement of any version.
pub(super) fn read(bytes: &[u8]) -> Answer {
    let Ok((message, _)) = Message::read(bytes, &CharsetSetting::Auto, &Default::default()) else {
        return Answer {
            code: String::new(),
            errors: vec!["the answer is no HL7 message".to_owned()],
            segments: Vec::new(),
        };
    };
    let code = message.segments_named("MSA").next().map(|segment| segment.field(1).to_owned()).unwrap_or_default();
    let told = message.segments_named("MSA").next().map(|segment| segment.field(3).to_owned()).unwrap_or_default();
    let errors = message.segments_named("ERR").map(|error| {
        // ERR-2, ERR-7 and ERR-8 came with v2.5; an older answer has its text in MSA-3.
        let text = [8, 7].into_iter().map(|number| error.field(number)).find(|text| !text.is_empty()).unwrap_or(&told);
        [error.field(2), text].join(" ").trim().to_owned()
    });
    let errors = errors.collect();
    Answer { code, errors, segments: message.segments().map(|segment| segment.text().to_owned()).collect() }
}
