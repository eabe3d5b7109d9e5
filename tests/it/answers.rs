//! Every frame gets an answer, and what cannot be processed is kept where an engineer finds it.

use crate::support::PATIENCE;
use crate::support::hl7::{
    Ack, admission_of_nobody, adt, gb18030, inpatient, message, person, pid, registration, segment,
};
use crate::support::mllp::Received;
use crate::support::site::{Site, configuration};

fn assert_refused(name: &str, answer: &Ack) {
    assert!(["AE", "AR"].contains(&answer.code()), "{name}: {}", answer.text());
    assert!(answer.has_error(), "{name}: no ERR: {}", answer.text());
}

#[test]
fn unreadable_frames_are_answered_and_the_next_message_works() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    let mislabelled = [
        b"MSH|^~\\&|HIS|MAIN|HEYI|CRM|20240305||ADT^A28|H5|P|2.5.1||||||UNICODE UTF-8\rPID|1||P1^^^HIS||".as_slice(),
        &gb18030("张伟"),
        b"\r",
    ]
    .concat();
    let frames: [(&str, &[u8], &str); 10] = [
        ("nothing", b"", ""),
        ("a carriage return", b"\r", ""),
        ("a word", b"hello", ""),
        ("NULs", b"\0\0\0\0\0\0\0\0", ""),
        ("high bytes", b"\xff\xfe\xfd\xfc", ""),
        ("no MSH", b"PID|1||P1^^^HIS||Zhang^Wei\r", ""),
        ("MSH alone", b"MSH", ""),
        ("repeated delimiters", b"MSH|^^^^|HIS|MAIN|HEYI|CRM|20240305||ADT^A28|H1|P|2.5.1\r", "H1"),
        ("wrong character set", &mislabelled, "H5"),
        ("UTF-16", b"\xff\xfeM\0S\0H\0|\0^\0~\0\\\0&\0|\0", ""),
    ];
    for (index, (name, frame, control_id)) in frames.into_iter().enumerate() {
        let answer = connection.ask(frame);
        assert_refused(name, &answer);
        assert_eq!(answer.control_id(), control_id, "{name}: {}", answer.text());
        let good = connection.ask(registration(&format!("G{index}"), &format!("P{index}"), "Zhang^Wei"));
        assert_eq!(good.code(), "AA", "after {name}: {}", good.text());
    }
    let failed = site.messages(&["--state", "failed"]);
    assert!(failed.len() >= frames.len() - 1, "every frame with content is kept: {}", failed.len());
    for message in &failed {
        assert!(message["error"]["code"].is_string() && message["error"]["text"].is_string(), "{message}");
    }
}

#[test]
fn a_poor_header_is_answered_without_a_guess() {
    let site = Site::new();
    let daemon = site.start();
    let no_type = "MSH|^~\\&|HIS|MAIN|HEYI|CRM|20240305|||C1|P|2.5.1\rPID|1||P1^^^HIS^MR\r";
    let no_number = registration("", "P1", "Zhang^Wei");
    for (text, control_id) in [("MSH|^~\\&\r", ""), (no_type, "C1"), (no_number.as_str(), "")] {
        let answer = daemon.send("his", text);
        // Kept or refused is the product's choice; silence and an invented number are not.
        assert!(["AA", "AE", "AR"].contains(&answer.code()), "{}", answer.text());
        assert_eq!(answer.control_id(), control_id, "{}", answer.text());
    }
    assert_eq!(site.messages(&[]).len(), 3);
}

#[test]
fn a_message_that_says_nothing_of_what_its_type_promises_is_not_taken_in_silence() {
    let site = Site::new();
    let daemon = site.start();
    // An admission of nobody to nowhere, a report of nothing: processed would mean that all is well.
    let at = "20240305103000";
    for (id, text) in [
        ("C1", adt("A01", "C1", at, &[])),
        ("C2", message("ORU^R01", "C2", at, &[])),
        ("C3", adt("A28", "C3", at, &[person("", "张^伟", "19800102", "M", &[(3, "")])])),
    ] {
        assert_refused(id, &daemon.send("his", text));
    }
}

#[test]
fn an_oversized_message_is_answered_from_its_head_and_the_connection_goes_on() {
    let site = Site::configured(&configuration(r#", max_message = "64KiB""#, ""));
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    let large = registration("BIG", "P1", &"x".repeat(200 * 1024));
    let answer = connection.ask(&large);
    assert_refused("200 KiB", &answer);
    assert_eq!(answer.control_id(), "BIG");
    assert_eq!(connection.ask(registration("C2", "P2", "Li^Na")).code(), "AA");
    let just_fits = registration("C3", "P3", &"x".repeat(60 * 1024));
    assert!(just_fits.len() < 64 * 1024);
    assert_eq!(connection.ask(just_fits).control_id(), "C3");
}

#[test]
fn sender_and_receiver_are_swapped() {
    let site = Site::new();
    let daemon = site.start();
    let answer = daemon.send("his", registration("C1", "P1", "Zhang^Wei"));
    let header: Vec<&str> = (3..=6).map(|field| answer.field("MSH", field)).collect();
    assert_eq!(header, ["HEYI", "CRM", "HIS", "MAIN"]);
    assert_eq!((answer.code(), answer.control_id()), ("AA", "C1"));
    assert!(answer.field("MSH", 9).starts_with("ACK"), "{}", answer.text());
    assert_eq!(answer.field("MSH", 11), "P");
    assert!(!answer.field("MSH", 7).is_empty() && !answer.field("MSH", 10).is_empty(), "{}", answer.text());
}

#[test]
fn every_version_is_answered_in_its_own_form() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    for version in ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.2"] {
        let in_version = |text: String| text.replace("|P|2.5.1|", &format!("|P|{version}|"));
        let good = connection.ask(in_version(registration(&format!("G{version}"), version, "Zhang^Wei")));
        assert_eq!((good.code(), good.field("MSH", 12)), ("AA", version), "{}", good.text());
        let bad = connection.ask(in_version(admission_of_nobody(&format!("B{version}"))));
        assert_refused(version, &bad);
        assert_eq!(bad.control_id(), format!("B{version}"));
        // ERR was one field until 2.4; from 2.5 on the code stands in ERR-3 and the severity in ERR-4.
        let modern = !["2.1", "2.2", "2.3", "2.3.1", "2.4"].contains(&version);
        assert_eq!(!bad.field("ERR", 3).is_empty(), modern, "{version}: {}", bad.text());
        assert_eq!(!bad.field("ERR", 4).is_empty(), modern, "{version}: {}", bad.text());
        assert_eq!(!bad.field("ERR", 1).is_empty(), !modern, "{version}: {}", bad.text());
    }
}

#[test]
fn the_senders_delimiters_are_understood_and_used_in_the_answer() {
    let site = Site::new();
    let daemon = site.start();
    for (index, delimiters) in ["|^~\\&#", "|^~\\&", "|^~\\", "|^~", "|^", "$%*!@", "#:;/+"].into_iter().enumerate() {
        let number = format!("P{index}");
        let standard = registration(&format!("C{index}"), &number, "Zhang^Wei");
        let mut text = String::new();
        for character in standard.replace("|^~\\&|", "|").chars() {
            match "|^~\\&".chars().position(|known| known == character) {
                Some(place) => text.push(delimiters.chars().nth(place).unwrap_or(character)),
                None => text.push(character),
            }
        }
        let separator = delimiters.chars().next().expect("a separator");
        let text = text.replacen("MSH", &format!("MSH{delimiters}"), 1);
        assert!(text.starts_with(&format!("MSH{delimiters}{separator}HIS")), "{text}");
        let answer = daemon.send("his", &text);
        assert_eq!((answer.code(), answer.control_id()), ("AA", format!("C{index}").as_str()), "{}", answer.text());
        assert_eq!(answer.delimiters, delimiters, "{}", answer.text());
        assert_eq!(daemon.person(&format!("HIS|{number}"))["family_name"], "Zhang", "{delimiters}");
    }
}

#[test]
fn the_answer_is_in_the_senders_character_set() {
    let site = Site::new();
    let daemon = site.start();
    let text = registration("C1", "P1", "张^伟").replace("|HIS|MAIN|", "|门诊系统|珅院|");
    let chinese = gb18030(&text.replace("UNICODE UTF-8", "GB 18030-2000"));
    let answer = daemon.send("his", &chinese);
    assert_eq!((answer.code(), answer.field("MSH", 18)), ("AA", "GB 18030-2000"), "{}", answer.text());
    assert!(answer.raw.windows(8).any(|bytes| bytes == gb18030("门诊系统")), "{}", answer.text());
    assert_eq!((answer.field("MSH", 5), answer.field("MSH", 6)), ("门诊系统", "珅院"));
    let answer = daemon.send("his", text.replace("|C1|", "|C2|"));
    assert_eq!((answer.field("MSH", 5), answer.field("MSH", 18)), ("门诊系统", "UNICODE UTF-8"));
    assert!(std::str::from_utf8(&answer.raw).is_ok());
}

#[test]
fn what_no_mapping_covers_is_answered_aa_and_kept_as_ignored() {
    let site = Site::new();
    let daemon = site.start();
    for (index, kind) in ["ADT^Z99", "MFN^M02", "VXU^V04", "DFT^P03", "ZZZ^Z01"].into_iter().enumerate() {
        let answer =
            daemon.send("his", message(kind, &format!("C{index}"), "20240305103000", &[pid("P1", "Zhang^Wei")]));
        assert_eq!(answer.code(), "AA", "{kind}: {}", answer.text());
    }
    let ignored = site.messages(&["--state", "ignored"]);
    assert_eq!(ignored.len(), 5, "{ignored:?}");
    assert_eq!(daemon.feed(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_message_that_cannot_be_processed_is_kept_with_the_place_and_the_reason() {
    let site = Site::new();
    let daemon = site.start();
    assert_refused("nobody", &daemon.send("his", admission_of_nobody("C1")));
    let failed = site.messages(&["--state", "failed"]);
    assert_eq!(failed.len(), 1, "{failed:?}");
    let kept = &failed[0];
    assert_eq!((kept["source"].as_str(), kept["state"].as_str()), (Some("his"), Some("failed")));
    assert_eq!((kept["type"].as_str(), kept["control_id"].as_str()), (Some("ADT^A01"), Some("C1")));
    assert!(kept["received_at"].is_string() && kept["error"]["location"].is_string(), "{kept}");
    assert_eq!(daemon.feed(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_message_that_fails_leaves_nothing_of_its_good_parts() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("lis", registration("C1", "P1", "Zhang^Wei"));
    // A new patient, a visit and a first report are all right; the second report has nothing that could name it.
    let good = segment("OBR", &[(3, "F1"), (4, "CBC^Blood count^L"), (25, "F")]);
    let nameless = segment("OBR", &[(4, "CBC^Blood count^L"), (25, "F")]);
    let visit = inpatient("V9", "ICU^1^1", "20240305103000", "");
    let text = message("ORU^R01", "C2", "20240305110000", &[pid("P9", "Li^Na"), visit, good, nameless]);
    assert_refused("a report without any number", &daemon.send("lis", text));
    assert_eq!(daemon.json("/v1/persons?identifier=HIS%7CP9")["persons"], serde_json::json!([]));
    assert_eq!(daemon.feed().len(), 1);
    assert_eq!(site.messages(&["--state", "failed"]).len(), 1, "but the message is kept");
}

#[test]
fn a_site_may_answer_ar_or_acknowledge_what_is_only_kept() {
    let site = Site::configured(&configuration(r#", on_error = "AR""#, ""));
    let daemon = site.start();
    assert_eq!(daemon.send("his", admission_of_nobody("C1")).code(), "AR");
    drop(daemon);
    let site = Site::configured(&configuration(r#", acknowledge = "received""#, ""));
    let daemon = site.start();
    assert_eq!(daemon.send("his", admission_of_nobody("C1")).code(), "AA");
    assert_eq!(site.messages(&["--state", "failed"]).len(), 1);
    // Not even kept as text: still no reason to be silent, and no reason to say that it is fine.
    assert_eq!(daemon.send("his", registration("C2", "P2", "Li^Na")).code(), "AA");
}

/// A registration that asks for enhanced mode with these MSH-15 and MSH-16.
fn enhanced(id: &str, accept: &str, application: &str) -> String {
    registration(id, &format!("P{id}"), "Zhang^Wei")
        .replace("|P|2.5.1|||||", &format!("|P|2.5.1|||{accept}|{application}|"))
}

#[test]
fn enhanced_mode_gets_the_acknowledgements_it_asks_for() {
    let site = Site::new();
    let daemon = site.start();
    for (id, accept, application, expected) in [
        ("C1", "AL", "NE", vec!["CA"]),
        ("C2", "AL", "AL", vec!["CA", "AA"]),
        ("C3", "NE", "AL", vec!["AA"]),
        ("C4", "SU", "NE", vec!["CA"]),
        ("C5", "AL", "ER", vec!["CA"]),
        ("C6", "AL", "", vec!["CA"]),
        // Who asks for silence is answered once all the same: without an answer, kept and lost would look alike.
        ("C7", "NE", "NE", vec!["AA"]),
        ("C8", "ER", "ER", vec!["CA"]),
    ] {
        let mut connection = daemon.connect("his");
        connection.write(&crate::support::mllp::framed(enhanced(id, accept, application).as_bytes()));
        let mut codes = Vec::new();
        connection.finish_writing();
        while let Received::Frame(content) = connection.receive(PATIENCE) {
            let answer = Ack::parse(&content);
            assert_eq!(answer.control_id(), id, "{}", answer.text());
            codes.push(answer.code().to_owned());
        }
        assert_eq!(codes, expected, "MSH-15 {accept}, MSH-16 {application}");
        assert_eq!(daemon.person(&format!("HIS|P{id}"))["family_name"], "Zhang");
    }
}

#[test]
fn enhanced_mode_says_ca_for_kept_and_ae_for_not_processed() {
    let site = Site::new();
    let daemon = site.start();
    let nobody = admission_of_nobody("C1").replace("|P|2.5.1|||||", "|P|2.5.1|||AL|AL|");
    let mut connection = daemon.connect("his");
    let accepted = connection.ask(&nobody);
    assert_eq!((accepted.code(), accepted.control_id()), ("CA", "C1"), "safely kept: {}", accepted.text());
    assert_refused("application acknowledgement", &connection.answer());
    assert_eq!(site.messages(&["--state", "failed"]).len(), 1);
}
