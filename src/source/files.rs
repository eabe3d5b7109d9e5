//! Reading messages from files: single ones, concatenated ones, batches, of any size. For `heyi import`, `heyi send` and
//! [`super::directory`]. Blocking: call it where blocking is allowed.
//!
//! Invariants
//! - Of a file one chunk and the messages that end in it are in memory, never the whole.
//! - The order is the order of the arguments, then of the names, then of the file: two runs read the same.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::{fs, io, vec};

use crate::hl7v2::batch::{BatchNote, Piece, Splitter};

/// Bytes per read: large enough that the system call does not count, small beside a large message.
const CHUNK: usize = 64 * 1024;

/// Why a path gives no messages.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It is missing or may not be read.
    #[error("{}: cannot be read ({source}); check the path and the rights of the service's user", .path.display())]
    Unreadable {
        /// Which path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Reading it could wait for ever.
    #[error("{}: neither a file nor a directory; give files or directories", .path.display())]
    NotAFile {
        /// Which path.
        path: PathBuf,
    },
}

/// The messages of one file or stream, in order.
///
/// An error ends it: what follows a gap is not read as if the gap were not there.
pub struct MessageReader<R> {
    source: R,
    chunk: Vec<u8>,
    splitter: Option<Splitter>,
    ready: vec::IntoIter<Piece>,
    notes: Vec<BatchNote>,
}

impl<R: Read> MessageReader<R> {
    /// Reads messages of at most `limit` bytes from `source`; of larger ones only the head is given.
    pub fn new(source: R, limit: usize) -> Self {
        let splitter = Some(Splitter::new(limit));
        Self { source, chunk: vec![0; CHUNK], splitter, ready: Vec::new().into_iter(), notes: Vec::new() }
    }

    /// What there is to say of the stream as a whole, once it has ended: junk, counts that do not fit.
    pub fn notes(&self) -> &[BatchNote] {
        &self.notes
    }
}

impl MessageReader<fs::File> {
    /// Reads the messages of a file.
    pub fn open(path: &Path, limit: usize) -> Result<Self, FilesError> {
        let file = fs::File::open(path).map_err(|source| FilesError::Unreadable { path: path.to_owned(), source })?;
        Ok(Self::new(file, limit))
    }
}

impl<R: Read> Iterator for MessageReader<R> {
    type Item = io::Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(piece) = self.ready.next() {
                return Some(Ok(piece));
            }
            let mut splitter = self.splitter.take()?;
            let mut pieces = Vec::new();
            match self.source.read(&mut self.chunk) {
                Ok(0) => self.notes = splitter.finish(&mut pieces),
                Ok(count) => {
                    splitter.push(&self.chunk[..count], &mut pieces);
                    self.splitter = Some(splitter);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => self.splitter = Some(splitter),
                Err(error) => return Some(Err(error)),
            }
            self.ready = pieces.into_iter();
        }
    }
}

/// The files below some paths.
#[derive(Debug)]
pub struct Walk {
    /// Last one first.
    left: Vec<PathBuf>,
    /// How many of `left`, counted from the front, were named by the caller.
    named: usize,
    extensions: Vec<String>,
}

/// The files that `paths` name: a file whatever it is called, a directory's files of the given `extensions` with those of its
/// subdirectories, sorted by name. Links to directories are followed only where named, so there are no loops.
pub fn walk(paths: &[PathBuf], extensions: &[String]) -> Walk {
    Walk { left: paths.iter().rev().cloned().collect(), named: paths.len(), extensions: extensions.to_vec() }
}

impl Iterator for Walk {
    type Item = Result<PathBuf, FilesError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let path = self.left.pop()?;
            let named = self.left.len() < self.named;
            self.named = self.named.min(self.left.len());
            match self.visit(&path, named) {
                Ok(true) => return Some(Ok(path)),
                Ok(false) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Walk {
    /// Whether `path` is a file to read; the content of a directory is put in line instead.
    fn visit(&mut self, path: &Path, named: bool) -> Result<bool, FilesError> {
        let unreadable = |source| FilesError::Unreadable { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            if named || !path.is_symlink() {
                let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
                let mut inside: Vec<_> = entries.map_err(unreadable)?.iter().map(fs::DirEntry::path).collect();
                inside.sort_unstable_by(|left, right| right.cmp(left));
                self.left.append(&mut inside);
            }
            return Ok(false);
        }
        if !named && !has_extension(path, &self.extensions) {
            return Ok(false);
        }
        if metadata.is_file() { Ok(true) } else { Err(FilesError::NotAFile { path: path.to_owned() }) }
    }
}

/// Whether a file's name ends in one of `extensions`, in whatever case. Hidden files never do: programs use them for what is
/// not finished.
pub(super) fn has_extension(path: &Path, extensions: &[String]) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && extension.is_some_and(|extension| extensions.iter().any(|one| one.eq_ignore_ascii_case(extension)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_order_of_arguments_then_names() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("in/b")).unwrap();
        for name in ["last.txt", "in/c.hl7", "in/a.HL7", "in/b/1.hl7", "in/b/0.hl7", "in/.hidden.hl7", "in/x.tmp"] {
            fs::write(at(name), "MSH|").unwrap();
        }
        std::os::unix::fs::symlink(at("in"), at("in/b/loop")).unwrap();
        let found: Vec<_> = walk(&[at("last.txt"), at("in"), at("last.txt")], &["hl7".to_owned()])
            .map(|path| path.unwrap().strip_prefix(directory.path()).unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(found, ["last.txt", "in/a.HL7", "in/b/0.hl7", "in/b/1.hl7", "in/c.hl7", "last.txt"]);
    }

    /// Gives its chunks one at a time, then fails.
    struct Failing(Vec<&'static [u8]>);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::Error::other("the disk is gone"));
            }
            self.0.remove(0).read(buffer)
        }
    }

    #[test]
    fn an_error_ends_the_stream_without_a_half_message() {
        let chunks = vec![&b"MSH|^~\\&|1\rPID|1\rMS"[..], b"H|^~\\&|2\rPI"];
        let pieces: Vec<_> = MessageReader::new(Failing(chunks), 1000).collect();
        let (last, whole) = pieces.split_last().unwrap();
        assert!(last.is_err());
        for piece in whole {
            assert!(matches!(piece, Ok(Piece::Message(bytes)) if bytes.starts_with(b"MSH|^~\\&|1\rPID|1")));
        }
    }

    #[test]
    fn messages_are_found_across_reads() {
        let file: Vec<u8> =
            (0..20_000).flat_map(|number| format!("MSH|^~\\&|{number}|\rPID|1\r").into_bytes()).collect();
        assert!(file.len() > 4 * CHUNK);
        let found = MessageReader::new(file.as_slice(), 1000).map(|piece| match piece {
            Ok(Piece::Message(bytes)) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        });
        let numbers: Vec<usize> = found.map(|text| text.split('|').nth(2).unwrap().parse().unwrap()).collect();
        assert_eq!(numbers, (0..20_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_path_that_is_missing_is_named_and_the_others_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.hl7");
        fs::write(&file, "MSH|").unwrap();
        let found: Vec<_> = walk(&[directory.path().join("missing"), file], &[]).collect();
        assert!(found[0].as_ref().unwrap_err().to_string().contains("missing"), "{found:?}");
        assert!(found[1].is_ok());
    }
}
