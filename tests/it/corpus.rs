//! Messages of public projects, odd ones included: each is answered under its own number and the daemon lives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::hl7::{Ack, registration};
use crate::support::mllp::{Received, framed};
use crate::support::site::Site;

/// A sender gives up sooner.
const ANSWER: Duration = Duration::from_secs(10);

fn corpus() -> PathBuf {
    let named = std::env::var_os("HEYI_CORPUS").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus")).join("hl7v2")
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

/// The messages of a file: each starts at a line that starts with `MSH`.
fn messages(bytes: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|&at| bytes[at..].starts_with(b"MSH") && (at == 0 || matches!(bytes[at - 1], b'\r' | b'\n' | 0xBF)))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(&start, end)| &bytes[start..end]).collect()
}

/// Field `number` of the header.
fn header(message: &[u8], number: usize) -> String {
    let line = message.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap();
    let field = line.split(|byte| *byte == message[3]).nth(number - 1).unwrap_or_default();
    String::from_utf8_lossy(field).into_owned()
}

#[test]
fn every_message_of_the_corpus_is_answered_under_its_own_number() {
    if !corpus().is_dir() {
        eprintln!("SKIPPED: no corpus at {}; HEYI_CORPUS names one", corpus().display());
        return;
    }
    let site = Site::new();
    let mut daemon = site.start();
    let mut paths = Vec::new();
    files(&corpus(), &mut paths);
    let (mut sent, mut by_family): (usize, BTreeMap<String, (usize, usize)>) = Default::default();
    let (mut refused, mut unanswered) = (Vec::new(), Vec::new());
    for path in &paths {
        let bytes = std::fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for message in messages(&bytes) {
            sent += 1;
            // Enhanced mode may answer twice; a connection for each message keeps the answers apart.
            let mut connection = daemon.connect("his");
            connection.write(&framed(message));
            let Received::Frame(content) = connection.receive(ANSWER) else {
                unanswered.push(format!("{name}: MSH-15 {:?}, MSH-16 {:?}", header(message, 15), header(message, 16)));
                continue;
            };
            let answer = Ack::parse(&content);
            assert_eq!(answer.control_id(), header(message, 10), "{name}");
            let family = header(message, 9).chars().take(3).collect();
            let counted = by_family.entry(family).or_default();
            counted.0 += 1;
            if ["AA", "CA"].contains(&answer.code()) {
                counted.1 += 1;
            } else {
                refused.push(format!("{name}: {}", answer.text()));
            }
        }
    }
    eprintln!("corpus: {sent} messages, by family (all, accepted): {by_family:?}");
    assert!(unanswered.is_empty(), "no answer to:\n{}", unanswered.join("\n"));
    assert!(sent >= 80, "{sent} messages in {} files", paths.len());
    let of_interest = ["ADT", "ORU", "SIU"].iter().filter_map(|family| by_family.get(*family));
    let (all, accepted) = of_interest.fold((0, 0), |sum, counted| (sum.0 + counted.0, sum.1 + counted.1));
    assert!(accepted * 100 >= all * 85, "{accepted} of {all} accepted; refused:\n{}", refused.join("\n"));
    let ours = daemon.send("his", registration("LAST", "P1", "张^伟"));
    assert_eq!((ours.code(), daemon.is_alive()), ("AA", true));
    let kept = site.messages(&["--limit", "1000"]).len();
    assert!(kept > sent * 9 / 10, "{kept} of {sent} are kept; some are repeats of one another");
}
