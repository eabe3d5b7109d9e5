//! `heyi send`: a client that says what came back.

use std::net::TcpListener;

use crate::support::hl7::{admission_of_nobody, gb18030, registration};
use crate::support::site::{Site, configuration};

#[test]
fn files_directories_batches_and_standard_input_are_sent_and_each_answer_is_printed() {
    let site = Site::new();
    let daemon = site.start();
    let address = daemon.address("his").to_string();
    let single = site.write("out/1.hl7", registration("S1", "P1", "张^伟"));
    site.write("out/2.hl7", gb18030(&registration("S2", "P2", "李^娜").replace("UNICODE UTF-8", "GB 18030-2000")));
    let batch = format!(
        "FHS|^~\\&|HIS\rBHS|^~\\&|HIS\r{}{}BTS|2\rFTS|1\r",
        registration("S3", "P3", "王^芳"),
        registration("S4", "P4", "赵^敏")
    );
    let batch = site.write("batch.hl7", batch);
    let (single, directory) = (single.to_string_lossy().into_owned(), site.path("out").to_string_lossy().into_owned());
    let one = site.run(&["send", &address, &single]).exits(0);
    assert!(one.stdout.contains("S1") && one.stdout.contains("AA"), "{}", one.stdout);
    let more = site.run(&["send", &address, &directory, &batch.to_string_lossy()]).exits(0);
    for id in ["S1", "S2", "S3", "S4"] {
        assert!(more.stdout.contains(id), "{id}:\n{}", more.stdout);
    }
    let last = site.run_with(&["send", &address, "-"], registration("S5", "P5", "孙^立").as_bytes()).exits(0);
    assert!(last.stdout.contains("S5"), "{}", last.stdout);
    for (number, name) in [("P1", "张伟"), ("P2", "李娜"), ("P3", "王芳"), ("P4", "赵敏"), ("P5", "孙立")] {
        assert_eq!(daemon.person(&format!("HIS|{number}"))["name"], name);
    }
}

#[test]
fn a_refusal_is_exit_status_one_and_shows_the_error() {
    let site = Site::new();
    let daemon = site.start();
    let file = site.write("bad.hl7", admission_of_nobody("S1"));
    let run = site.run(&["send", &daemon.address("his").to_string(), &file.to_string_lossy()]).exits(1);
    assert!(run.stdout.contains("AE") && run.stdout.contains("S1"), "{run:?}");
}

#[test]
fn nobody_at_the_address_is_told_and_does_not_hang() {
    let site = Site::new();
    let file = site.write("1.hl7", registration("S1", "P1", "张^伟"));
    // Taken and given back: free at this moment, as good as it gets.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = site.run(&["send", &free.to_string(), &file.to_string_lossy()]);
    assert!(matches!(run.status.code(), Some(1 | 2)), "{run:?}");
    assert!(run.stderr.contains(&free.port().to_string()), "{}", run.stderr);
    let daemon = site.start();
    let missing = site.run(&["send", &daemon.address("his").to_string(), "no-such-file.hl7"]);
    assert!(missing.status.code() != Some(0) && missing.stderr.contains("no-such-file.hl7"), "{missing:?}");
}

#[test]
fn messages_travel_under_tls_and_only_with_the_right_authority() {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let tls = r#", tls = { certificate = "config/server.pem", key_file = "config/server.key" }"#;
    let site = Site::configured(&configuration(tls, ""));
    site.write("config/server.pem", own.cert.pem());
    site.write("config/server.key", own.signing_key.serialize_pem());
    let right = site.write("config/right.pem", own.cert.pem());
    let wrong = site.write("config/wrong.pem", other.cert.pem());
    let daemon = site.start();
    let file = site.write("1.hl7", registration("S1", "P1", "张^伟")).to_string_lossy().into_owned();
    let address = format!("localhost:{}", daemon.address("his").port());
    site.run(&["send", &address, "--tls", "--ca", &right.to_string_lossy(), &file]).exits(0);
    assert_ne!(site.run(&["send", &address, "--tls", "--ca", &wrong.to_string_lossy(), &file]).status.code(), Some(0));
    assert_ne!(site.run(&["send", &address, &file]).status.code(), Some(0), "plain text to a TLS listener");
    assert_eq!(site.messages(&[]).len(), 1);
}
