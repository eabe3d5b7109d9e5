//! `heyi import`: files come in by the same way as live traffic, once.

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::hl7::{admission_of_nobody, adt, gb18030, inpatient, pid, registration};
use crate::support::site::{Run, Site};

fn import(site: &Site, paths: &[&str]) -> Run {
    let full: Vec<String> = paths.iter().map(|path| site.path(path).to_string_lossy().into_owned()).collect();
    let mut arguments = vec!["import", "his"];
    arguments.extend(full.iter().map(String::as_str));
    site.run(&arguments)
}

fn names(daemon: &Daemon<'_>) -> Vec<String> {
    let created = daemon.feed().into_iter().filter(|event| event["type"] == "patient.created");
    let mut names: Vec<String> = created.map(|event| event["data"]["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// A day's files in every form that interfaces leave behind.
fn write_files(site: &Site) -> usize {
    let message = |index: usize| registration(&format!("I{index}"), &format!("P{index}"), "张^伟");
    site.write("in/01-single.hl7", message(1));
    site.write("in/02-concatenated.hl7", format!("{}{}", message(2), message(3)));
    site.write("in/03-batch.hl7", format!("FHS|^~\\&|HIS\rBHS|^~\\&|HIS\r{}{}BTS|2\rFTS|1\r", message(4), message(5)));
    site.write("in/04-newlines.hl7", format!("{}\n{}", message(6), message(7)).replace('\r', "\n"));
    site.write(
        "in/05-windows.hl7",
        format!("{}{}\r\n\r\n", message(8), message(9)).replace('\r', "\r\n").replace("\n\n", "\n"),
    );
    let framed: Vec<u8> =
        [10, 11].iter().flat_map(|&index| crate::support::mllp::framed(message(index).as_bytes())).collect();
    site.write("in/06-framed.hl7", framed);
    site.write("in/07-bom.hl7", format!("\u{feff}{}", message(12)));
    let chinese = message(13).replace("UNICODE UTF-8", "GB 18030-2000").replace("张^伟", "张^瑋珅");
    site.write("in/deeper/08-chinese.hl7", gb18030(&chinese));
    13
}

#[test]
fn every_form_of_file_is_read_and_the_daemon_may_run() {
    let site = Site::new();
    let daemon = site.start();
    let count = write_files(&site);
    import(&site, &["in"]).exits(0);
    let kept = site.messages(&[]);
    assert_eq!(kept.len(), count, "{kept:?}");
    assert!(kept.iter().all(|message| message["state"] == "processed" && message["source"] == "his"), "{kept:?}");
    assert_eq!(daemon.person("HIS|P13")["name"], "张瑋珅");
    let events = daemon.feed();
    assert!(events.iter().all(|event| event["data"]["cause"] == "import"), "{events:?}");
    assert_eq!(names(&daemon).len(), count);
}

#[test]
fn an_import_may_be_repeated_and_goes_on_where_it_was() {
    let site = Site::new();
    let count = write_files(&site);
    import(&site, &["in"]).exits(0);
    import(&site, &["in"]).exits(0);
    site.write("in/99-more.hl7", registration("I99", "P99", "李^娜"));
    import(&site, &["in"]).exits(0);
    let daemon = site.start();
    assert_eq!(site.messages(&[]).len(), count + 1);
    assert_eq!(daemon.feed().len(), count + 1);
    // The same messages live: known already.
    daemon.accept("his", registration("I1", "P1", "张^伟"));
    assert_eq!(daemon.feed().len(), count + 1);
}

#[test]
fn an_import_that_is_killed_is_taken_up_again_without_loss_or_double() {
    let site = Site::new();
    let total = 4000;
    let text: String =
        (0..total).map(|index| registration(&format!("I{index}"), &format!("P{index}"), "张^伟")).collect();
    site.write("in/large.hl7", text);
    let path = site.path("in").to_string_lossy().into_owned();
    for delay in [200, 500] {
        let mut child = site
            .command(&["import", "his", &path])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    import(&site, &["in"]).exits(0);
    let daemon = site.start();
    let events = daemon.feed();
    assert_eq!(events.len(), total);
    let sequences: Vec<Value> = events.iter().map(|event| event["sequence"].clone()).collect();
    assert_eq!(sequences.last().unwrap(), &format!("{total:012}"));
}

#[test]
fn a_bad_message_in_the_middle_is_kept_and_the_rest_goes_on() {
    let site = Site::new();
    let stay = |id: &str, patient: &str| {
        adt("A01", id, "20240305103000", &[pid(patient, "张^伟"), inpatient(id, "ICU^1^1", "20240305103000", "")])
    };
    let bad = admission_of_nobody("BAD");
    site.write("in/1.hl7", format!("{}{bad}{}", stay("G1", "P1"), stay("G2", "P2")));
    let run = import(&site, &["in"]).exits(1);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("张"), "no patient data: {run:?}");
    let failed = site.messages(&["--state", "failed"]);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["control_id"], "BAD");
    assert!(run.stderr.contains("1 failed: `heyi message list --source his --state failed`"), "{run:?}");
    assert_eq!(site.messages(&["--state", "processed"]).len(), 2);
}

#[test]
fn a_file_that_is_not_what_it_says_is_told_each_time() {
    let site = Site::new();
    let message = registration("I1", "P1", "张^伟");
    site.write("in/batch.hl7", format!("FHS|^~\\&|HIS\rBHS|^~\\&|HIS\r{message}BTS|3\rFTS|1\r"));
    for tally in
        ["1 processed, 0 ignored, 0 failed, 0 known before", "0 processed, 0 ignored, 0 failed, 1 known before"]
    {
        let run = import(&site, &["in"]).exits(1);
        assert!(run.stderr.contains("batch.hl7: batch 1 declares 3 messages in BTS-1 and holds 1"), "{run:?}");
        assert!(run.stdout.contains(tally), "{run:?}");
    }
    site.write("in/batch.hl7", format!("not a message\r{message}"));
    let run = import(&site, &["in"]).exits(1);
    assert!(run.stderr.contains("batch.hl7: 13 bytes at offset 0 belong to no message"), "{run:?}");
}

#[test]
fn an_import_of_nothing_is_told() {
    let site = Site::new();
    site.write("garbage.hl7", "PDF and nothing else");
    site.write("empty.hl7", "");
    std::fs::create_dir(site.path("nothing")).unwrap();
    for path in ["garbage.hl7", "empty.hl7", "nothing", "empty.hl7"] {
        let run = import(&site, &[path]).exits(1);
        assert!(run.stderr.contains("nothing was found"), "{run:?}");
    }
}

#[test]
fn what_cannot_be_imported_is_told() {
    let site = Site::new();
    let unknown = site.run(&["import", "nobody", "in"]).exits(2).stderr;
    assert!(unknown.contains("nobody") && unknown.contains("configured: his"), "{unknown}");
    let run = import(&site, &["no-such-directory"]);
    assert!(run.status.code() != Some(0) && run.stderr.contains("no-such-directory"), "{run:?}");
}
