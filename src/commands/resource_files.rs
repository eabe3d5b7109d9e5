//! Files of FHIR resources, read for who imports, explains or counts them. Blocking.
//!
//! Bytes that are no text spoil the resource that they are in, and no other.
//!
//! A file of lines (`.ndjson`) is read line by line, however large it is; any other as a whole.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::fhir::documents::{self, Found, Unreadable};
use crate::source::fhir;

/// Bytes of a file without lines: a Bundle is read as a whole, with all its resources.
const DOCUMENT_BYTES: u64 = 1 << 30;

/// Hands the resources of a file to `take`, in order, until it gives `false`. `limit`: bytes of one line.
///
/// # Errors
/// Those of the system.
pub(super) fn each(path: &Path, limit: usize, take: &mut impl FnMut(Found<'_>) -> bool) -> std::io::Result<()> {
    let file = File::open(path)?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ndjson")) {
        return each_line(BufReader::new(file), limit, take);
    }
    if file.metadata()?.len() > DOCUMENT_BYTES {
        let problem = "it is larger than 1 GiB: give NDJSON (.ndjson), a resource on each line";
        take(Err(Unreadable::new("the file", problem)));
        return Ok(());
    }
    let mut text = Vec::new();
    file.take(DOCUMENT_BYTES).read_to_end(&mut text)?;
    documents::each(&fhir::as_text(&text), &mut |found| take(found));
    Ok(())
}

fn each_line(mut lines: impl BufRead, limit: usize, take: &mut impl FnMut(Found<'_>) -> bool) -> std::io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        if (&mut lines).take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let is_cut = line.len() >= limit && !line.ends_with(b"\n");
        if is_cut {
            lines.skip_until(b'\n')?;
        }
        let problem = "the line is longer than a resource may be";
        let is_wanted = match is_cut {
            true => take(Err(Unreadable::new(format!("line {number}"), problem))),
            false => documents::line(&fhir::as_text(&line), number, &mut |found| take(found)),
        };
        if !is_wanted {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_or_no_resource_costs_itself_alone() {
        let patient = r#"{"resourceType":"Patient","id":"1"}"#;
        let long = format!(r#"{{"resourceType":"Patient","id":"{}"}}"#, "9".repeat(200));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("all.ndjson");
        std::fs::write(&path, format!("\u{feff}{patient}\n\nnot JSON\n{long}\n{patient}")).unwrap();
        let mut found = Vec::new();
        each(&path, 120, &mut |resource| {
            found.push(resource.map_or_else(|problem| problem.to_string(), |resource| resource.place));
            true
        })
        .unwrap();
        assert_eq!(
            found,
            [
                "line 1",
                "line 3, column 2: this is not JSON: a syntax error",
                "line 4: the line is longer than a resource may be",
                "line 5"
            ]
        );
    }
}
