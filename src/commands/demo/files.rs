//! What the demo carries inside the binary: the day's messages.

use crate::commands::scratch::{File, files};

// A message of the day is called `NUMBER-SENDER-EVENT-what-happens.hl7`, what changes in the medical record `….json`.
impl File {
    /// The source that it is sent to.
    pub(super) fn sender(&self) -> &'static str {
        self.name.split('-').nth(1).unwrap_or_default()
    }

    /// What is sent: the trigger event, or the method of a transaction.
    pub(super) fn event(&self) -> &'static str {
        self.name.split('-').nth(2).unwrap_or_default()
    }

    /// Whether it is a Bundle of FHIR resources, and no message of HL7 v2.
    pub(super) fn is_fhir(&self) -> bool {
        self.name.ends_with(".json")
    }

    /// What happens, in words.
    pub(super) fn happening(&self) -> String {
        let stem = self.name.rsplit_once('.').map_or(self.name, |(stem, _)| stem);
        stem.splitn(4, '-').last().unwrap_or_default().replace('-', " ")
    }
}

/// The chapters of the day, by the first two digits of a message's name.
pub(super) const CHAPTERS: &[(&str, &str)] = &[
    ("01", "The windows open 窗口"),
    ("02", "Appointments 预约"),
    ("03", "The wards 病区"),
    ("04", "The laboratory 检验"),
    ("05", "Noon 中午"),
    ("06", "One patient, two numbers 合并"),
    ("07", "Going home 出院"),
    ("08", "What goes wrong 异常"),
    ("09", "The medical record, over FHIR 电子病历"),
];

/// `fixtures/hospital-day`, in the order of sending.
pub(super) const DAY: &[File] = files! {
    "fixtures/hospital-day",
    "0101-his-A28-new-patient.hl7"
    "0102-his-A04-emergency.hl7"
    "0103-his-A04-outpatient.hl7"
    "0104-his-A04-outpatient.hl7"
    "0105-his-A04-outpatient-without-id-card.hl7"
    "0106-his-A04-unknown-patient.hl7"
    "0201-his-S12-appointment.hl7"
    "0202-his-S12-appointment.hl7"
    "0203-his-S13-rescheduled.hl7"
    "0204-his-S15-appointment-cancelled.hl7"
    "0301-his-A01-admission.hl7"
    "0302-his-A01-day-surgery.hl7"
    "0303-his-A01-admission.hl7"
    "0304-his-A01-admission-of-the-wrong-patient.hl7"
    "0305-his-A11-admission-cancelled.hl7"
    "0306-his-A02-transfer.hl7"
    "0307-his-A12-transfer-cancelled.hl7"
    "0308-his-A08-phone-cleared.hl7"
    "0401-lis-R01-preliminary.hl7"
    "0402-lis-R01-critical.hl7"
    "0403-lis-R01-final.hl7"
    "0404-lis-R01-corrected.hl7"
    "0405-lis-R01-glucose.hl7"
    "0406-lis-R01-autoimmune.hl7"
    "0407-lis-R01-blood-count.hl7"
    "0408-lis-R01-pathology.hl7"
    "0501-his-A02-transfer.hl7"
    "0502-his-A01-newborn.hl7"
    "0503-lis-R01-newborn.hl7"
    "0504-his-A08-newborn-named.hl7"
    "0505-his-A08-unknown-patient-identified.hl7"
    "0601-his-A28-registered-twice.hl7"
    "0602-his-A40-merge.hl7"
    "0603-lis-R01-old-number.hl7"
    "0701-his-A03-discharge.hl7"
    "0702-his-A13-discharge-cancelled.hl7"
    "0703-his-A03-discharge-before-its-admission.hl7"
    "0704-his-S26-no-show.hl7"
    "0705-his-A01-late-admission.hl7"
    "0706-his-A08-update-after-discharge.hl7"
    "0707-his-A03-discharge-again.hl7"
    "0801-his-A03-resend.hl7"
    "0802-his-A08-mislabelled-charset.hl7"
    "0803-lis-R01-unknown-status.hl7"
    "0804-his-text-no-message.hl7"
    "0805-his-O01-order.hl7"
    "0806-his-A08-control-id-used-twice.hl7"
    "0901-emr-PUT-nutrition-clinic.json"
    "0902-emr-PUT-imaging-of-a-stay.json"
    "0903-emr-PUT-glucose-at-the-bedside.json"
    "0904-emr-PUT-one-result-corrected.json"
    "0905-emr-PUT-clinic-visit-over.json"
    "0906-emr-DELETE-clinic-visit-of-another-patient.json"
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::scratch::tests::{names, present};

    #[test]
    fn every_message_is_carried() {
        let mut day = present("fixtures/hospital-day", &["hl7", "json"]);
        day.retain(|name| !name.starts_with("expected/"));
        assert_eq!(names(DAY), day);
    }

    #[test]
    fn the_day_is_in_order_and_every_message_has_its_chapter() {
        assert!(DAY.is_sorted_by_key(|file| file.name));
        for file in DAY {
            assert!(CHAPTERS.iter().any(|(number, _)| file.name.starts_with(number)), "{}", file.name);
        }
    }
}
