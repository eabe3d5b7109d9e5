//! Trigger events and what they do to a visit.

/// What a trigger event does to a visit (HL7 v2.5.1 chapters 3, 10); the last do nothing to its course.
pub(crate) const COURSE: [(Option<&str>, &str); 13] = [
    (Some("admitted"), "A01 A06"),
    (Some("arrived"), "A04 A07"),
    (Some("transferred"), "A02 A17"),
    (Some("discharged"), "A03"),
    (Some("scheduled"), "A05 A14 S12"),
    (Some("rescheduled"), "S13"),
    (Some("cancelled"), "A27 A38 S15 S16 S17"),
    (Some("no_show"), "S26"),
    (Some("admit_cancelled"), "A11"),
    (Some("transfer_cancelled"), "A12"),
    (Some("discharge_cancelled"), "A13"),
    (Some("deleted"), "A23"),
    (
        None,
        "A08 A09 A10 A15 A16 A21 A22 A25 A26 A32 A33 A35 A41 A42 A44 A45 A49 A50 A51 A52 A53 A54 A55 A60 A61 A62 S14 S18 S19 S20 \
         S21 S22 S23 S24 S27 R01 R03 R21 R22 R23 R24 R30 R31 R32 R40 W01 W02 O01 O19 O21 O23 O33 O35 O39 T01 T02 T03 T04 T05 T06 \
         T07 T08 T09 T10 T11",
    ),
];

/// A message of a trigger event with a visit in it.
pub(crate) fn of_trigger(trigger: &str) -> String {
    let (kind, rest) = match trigger.as_bytes()[0] {
        b'S' => ("SIU", "SCH|1|2\r"),
        b'R' | b'W' => ("ORU", ""),
        b'O' => ("ORM", ""),
        b'T' => ("MDM", ""),
        _ => ("ADT", ""),
    };
    format!(
        "MSH|^~\\&|||||20240305103000||{kind}^{trigger}|1|P|2.5.1\rEVN|{trigger}|20240305103000\r{rest}PID|1||P1\rPV1|1|I|||||||||||||||||V1\r"
    )
}
