//! The messages of a busy hospital, each of which must change something: stays that are opened, updated and closed, and
//! laboratory reports with ten results.

use std::fmt::Write;

use crate::support::hl7::{resident_number, segment};

const FAMILY: [&str; 16] =
    ["王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "欧阳", "上官", "诸葛"];
const GIVEN: [&str; 16] = [
    "伟", "芳", "娜", "敏", "静", "秀兰", "建国", "志远", "雨桐", "子涵", "浩然", "思齐", "明哲", "若曦", "文博",
    "晓琳",
];
const BLOOD_COUNT: [(&str, &str, &str, &str); 10] = [
    ("WBC", "白细胞", "10*9/L", "3.5-9.5"),
    ("RBC", "红细胞", "10*12/L", "4.3-5.8"),
    ("HGB", "血红蛋白", "g/L", "130-175"),
    ("HCT", "红细胞压积", "%", "40-50"),
    ("MCV", "平均红细胞体积", "fL", "82-100"),
    ("MCH", "平均血红蛋白量", "pg", "27-34"),
    ("MCHC", "平均血红蛋白浓度", "g/L", "316-354"),
    ("PLT", "血小板", "10*9/L", "125-350"),
    ("NEUT", "中性粒细胞百分比", "%", "40-75"),
    ("LYMPH", "淋巴细胞百分比", "%", "20-50"),
];
/// Patients of the hospital; each connection draws from all of them.
const PATIENTS: u64 = 10_000;

/// Writes messages for one connection; the same seed and connection give the same ones.
pub(crate) struct Messages {
    connection: usize,
    sent: u64,
    state: u64,
    /// Patient of the stay that is open on this connection.
    patient: u64,
}

impl Messages {
    pub(crate) fn new(connection: usize, seed: u64) -> Self {
        Self {
            connection,
            sent: 0,
            state: seed.wrapping_mul(0x9E37_79B9).wrapping_add(connection as u64 + 1),
            patient: 0,
        }
    }

    /// Knuth's linear congruential generator: enough to choose patients and values.
    fn draw(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    /// The next message into `text`, and its control id.
    pub(crate) fn next(&mut self, text: &mut String) -> String {
        let number = self.sent;
        self.sent += 1;
        let id = format!("{}-{number}", self.connection);
        // One second a message from the start of 2026; never the thirty-second of a month.
        let at = format!(
            "202601{:02}{:02}{:02}{:02}",
            number / 86_400 % 28 + 1,
            number / 3600 % 24,
            number / 60 % 60,
            number % 60
        );
        text.clear();
        if number.is_multiple_of(2) {
            self.movement(text, &id, &at, number / 2);
        } else {
            self.report(text, &id, &at);
        }
        id
    }

    /// One step of a stay: admission, update, discharge, and the next patient's.
    fn movement(&mut self, text: &mut String, id: &str, at: &str, step: u64) {
        let (trigger, ended) = match step % 3 {
            0 => ("A01", ""),
            1 => ("A08", ""),
            _ => ("A03", at),
        };
        if trigger == "A01" {
            self.patient = self.draw(PATIENTS);
        }
        let stay = step / 3;
        header(text, &format!("ADT^{trigger}"), id, at);
        let _ = write!(text, "EVN|{trigger}|{at}\r");
        self.person(text, self.patient);
        let place = format!("心内科^{:03}^{}", stay % 40 + 1, step % 3 + 1);
        let visit = format!("V{}-{stay}", self.connection);
        let stay = segment(
            "PV1",
            &[(2, "I"), (3, &place), (7, "D017^陈^志远"), (19, &visit), (44, "20260101000000"), (45, ended)],
        );
        let _ = write!(
            text,
            "NK1|1|王^秀兰|SPO^配偶|建设路12号|13900000001\r{stay}\rDG1|1||I20.0^不稳定型心绞痛^ICD-10||{at}|A\r"
        );
    }

    fn report(&mut self, text: &mut String, id: &str, at: &str) {
        let patient = self.draw(PATIENTS);
        header(text, "ORU^R01", id, at);
        self.person(text, patient);
        let _ = write!(
            text,
            "ORC|RE|O{id}|L{id}\rOBR|1|O{id}|L{id}|CBC^血常规^L|||{at}|||||||||D017^陈^志远||||||{at}||HM|F\r"
        );
        for (index, (code, name, unit, range)) in BLOOD_COUNT.into_iter().enumerate() {
            let value = self.draw(4000);
            let flag = if value > 3000 { "H" } else { "N" };
            let _ = write!(
                text,
                "OBX|{}|NM|{code}^{name}^L||{}.{}|{unit}|{range}|{flag}|||F|||{at}\r",
                index + 1,
                value / 10,
                value % 10
            );
        }
    }

    /// PID of a patient, the same in every message.
    fn person(&self, text: &mut String, patient: u64) {
        let (family, given) = (FAMILY[(patient % 16) as usize], GIVEN[(patient / 16 % 16) as usize]);
        let birth = format!("{}{:02}{:02}", 1930 + patient % 90, patient % 12 + 1, patient % 28 + 1);
        // Odd numbers are men's, in a resident number as well.
        let order = (patient / 90) as u16;
        let resident = resident_number(&birth, order);
        let _ = write!(
            text,
            "PID|1||{patient:07}^^^HIS^MR~{resident}^^^^NI||{family}^{given}||{birth}|{}|||\
             建设路{}号^^某市^^100000||139{:08}\r",
            if order.is_multiple_of(2) { "F" } else { "M" },
            patient % 200 + 1,
            patient * 10,
        );
    }
}

fn header(text: &mut String, kind: &str, id: &str, at: &str) {
    let _ = write!(text, "MSH|^~\\&|HIS|MAIN|HEYI|CRM|{at}||{kind}|{id}|P|2.5.1|||||CHN|UNICODE UTF-8\r");
}
