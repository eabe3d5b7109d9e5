//! What files hold for a source's mapping: messages of HL7 v2 one after the other, or the units that the resources of all files make
//! together, for what one resource refers to may be in another file.
//!
//! A file or a part of one that cannot be read costs itself alone.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::app::{FILE_EXTENSIONS, RESOURCE_EXTENSIONS};
use crate::commands::{WrongUsage, output, resource_files};
use crate::fhir::compose::{Cut, Set};
use crate::fhir::documents::{self, Found};
use crate::hl7v2::batch::Piece;
use crate::mapping::Format;
use crate::pipeline::Source;
use crate::source::files::{FilesError, MessageReader, walk};

/// Which message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// Of a file, counted from 1.
    File { path: PathBuf, number: u64 },
    /// A part of a file, or all of it: `line 3`.
    Part { path: PathBuf, part: String },
    /// Made of resources; where its focal one is.
    Unit { focal: String, path: PathBuf, part: String },
    /// Of the store.
    Stored { id: i64 },
}

impl Place {
    pub(super) fn document(&self) -> Value {
        match self {
            Self::File { path, number } => json!({"file": path, "number": number}),
            Self::Part { path, part } => json!({"file": path, "place": part}),
            Self::Unit { focal, path, part } => json!({"unit": focal, "file": path, "place": part}),
            Self::Stored { id } => json!({"message": id}),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, number: 1 } => write!(formatter, "{}", path.display()),
            Self::File { path, number } => write!(formatter, "{}, message {number}", path.display()),
            Self::Part { path, part } => write!(formatter, "{}, {part}", path.display()),
            Self::Unit { focal, path, part } => write!(formatter, "{focal} ({}, {part})", path.display()),
            Self::Stored { id } => write!(formatter, "message {id}"),
        }
    }
}

/// What stands at a place.
pub(super) enum Content {
    /// Bytes of a message, or of a unit.
    Bytes(Vec<u8>),
    /// Nothing that can be read, and why.
    Unreadable(String),
}

/// Standard input, where a file may be named.
const STANDARD_INPUT: &str = "-";

/// What of the resources of some files is in no unit: how many of each type.
pub(super) type Unused = BTreeMap<String, u64>;

/// Hands what `paths` hold to `take`, in order: files, the files in directories and below, or standard input (`-`).
///
/// # Errors
/// A path that is named and is not there; what `take` says.
pub(super) fn each(
    source: &Source,
    paths: &[PathBuf],
    mut take: impl FnMut(Place, Content) -> anyhow::Result<()>,
) -> anyhow::Result<Unused> {
    match source.mapping.format() {
        Format::Hl7v2 => each_message(source, paths, &mut take).map(|()| Unused::new()),
        Format::Fhir => each_unit(source, paths, &mut take),
    }
}

/// The files; what cannot be read below a directory is handed to `take`.
fn files(
    paths: &[PathBuf],
    extensions: &[&str],
    take: &mut impl FnMut(Place, Content) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == STANDARD_INPUT {
            found.push(path.clone());
            continue;
        }
        let extensions: Vec<String> = extensions.iter().map(|&extension| extension.to_owned()).collect();
        for file in walk(std::slice::from_ref(path), &extensions) {
            match file {
                // What is expected of a case is no case.
                Ok(file) if file != *path && file.to_string_lossy().ends_with(".expected.json") => {}
                Ok(file) => found.push(file),
                Err(FilesError::Unreadable { path: file, .. } | FilesError::NotAFile { path: file })
                    if file == *path =>
                {
                    let text = format!("{}: there is no such file or directory, or it cannot be read", path.display());
                    return Err(WrongUsage(text).into());
                }
                Err(error) => {
                    let part = "the file".to_owned();
                    take(Place::Part { path: path.clone(), part }, Content::Unreadable(error.to_string()))?;
                }
            }
        }
    }
    if found.is_empty() && !paths.is_empty() {
        let endings = extensions.iter().map(|extension| format!(".{extension}")).collect::<Vec<_>>().join(", ");
        output::complain(&format!("no file was found: of directories those are read that end in {endings}"));
    }
    Ok(found)
}

fn each_message(
    source: &Source,
    paths: &[PathBuf],
    take: &mut impl FnMut(Place, Content) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let limit = source.limits.message_bytes;
    for path in files(paths, &FILE_EXTENSIONS, take)? {
        if path.as_os_str() == STANDARD_INPUT {
            messages_of(MessageReader::new(std::io::stdin(), limit), &path, limit, take)?;
            continue;
        }
        match MessageReader::open(&path, limit) {
            Ok(pieces) => messages_of(pieces, &path, limit, take)?,
            Err(error) => take(Place::File { path, number: 1 }, Content::Unreadable(error.to_string()))?,
        }
    }
    Ok(())
}

fn messages_of<R: Read>(
    mut pieces: MessageReader<R>,
    path: &Path,
    limit: usize,
    take: &mut impl FnMut(Place, Content) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut number = 0;
    for piece in &mut pieces {
        number += 1;
        let content = match piece {
            Ok(Piece::Message(raw)) => Content::Bytes(raw),
            Ok(Piece::TooLarge { length, .. }) => {
                Content::Unreadable(format!("the message has {length} bytes, the limit is {limit}"))
            }
            Err(error) => Content::Unreadable(error.to_string()),
        };
        take(Place::File { path: path.to_owned(), number }, content)?;
    }
    // A file without a message is none that was looked at.
    if number == 0 {
        let is_of_resources = RESOURCE_EXTENSIONS.iter().any(|known| path.extension().is_some_and(|own| own == *known));
        let text = match is_of_resources {
            true => "its name is that of a file of FHIR resources, and the source's mapping has format = \"hl7v2\"",
            false => "it holds no HL7 v2 message: none begins with MSH",
        };
        take(Place::File { path: path.to_owned(), number: 1 }, Content::Unreadable(text.to_owned()))?;
        // Of such a file it says nothing that its bytes belong to no message.
        return Ok(());
    }
    for note in pieces.notes() {
        output::complain(&format!("{}: {note}", path.display()));
    }
    Ok(())
}

fn each_unit(
    source: &Source,
    paths: &[PathBuf],
    take: &mut impl FnMut(Place, Content) -> anyhow::Result<()>,
) -> anyhow::Result<Unused> {
    let mut set = Set::default();
    // Where a resource was first found, by its name.
    let mut found_in: HashMap<String, (PathBuf, String)> = HashMap::new();
    for path in files(paths, &RESOURCE_EXTENSIONS, take)? {
        let (mut any, mut problems) = (false, Vec::new());
        let mut add = |found: Found<'_>| {
            any = true;
            let added = found.and_then(|stated| Ok((set.add(&stated)?, stated.place)));
            match added {
                Ok((name, place)) => drop(found_in.entry(name).or_insert_with(|| (path.clone(), place))),
                Err(problem) => problems.push(problem),
            }
            true
        };
        let read = if path.as_os_str() == STANDARD_INPUT {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).map(|_| documents::each(&text, &mut add))
        } else {
            resource_files::each(&path, source.limits.message_bytes, &mut add)
        };
        for problem in problems {
            let place = Place::Part { path: path.clone(), part: problem.place };
            take(place, Content::Unreadable(problem.problem.into_owned()))?;
        }
        let whole = |reason: String| (Place::Part { path: path.clone(), part: "the file".to_owned() }, reason);
        let trouble = match read {
            Err(error) => Some(whole(error.to_string())),
            Ok(()) if !any => Some(whole("it holds no FHIR resource".to_owned())),
            Ok(()) => None,
        };
        if let Some((place, reason)) = trouble {
            take(place, Content::Unreadable(reason))?;
        }
    }
    let Cut { units, unused } = set.ready().cut();
    for (name, bundle) in units {
        let (path, part) = found_in.remove(&name).unwrap_or_default();
        let has_id = bundle.pointer("/entry/0/resource/id").is_some();
        let place = Place::Unit { focal: name, path, part };
        if !has_id {
            output::complain(&format!(
                "{place}: it has no id; from a server or by `heyi import` nothing is taken without one"
            ));
        }
        take(place, Content::Bytes(serde_json::to_vec(&bundle)?))?;
    }
    Ok(unused)
}
