//! Compression of what is large: raw messages, and the JSON of states and events.
//!
//! LZ4: it takes a fifth of the time of zstd's fastest level on the few kilobytes of a report, and the writer is one thread.

use lz4_flex::block::{compress_prepend_size, decompress_size_prepended};
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::StoreError;

/// Shorter texts (persons, patients, visits) stay as they are: the writer would spend its time on saving a few hundred bytes in
/// rows that are rewritten all the time.
const TEXT_FROM: usize = 2048;

/// No stored value is larger when unpacked; guards against a damaged length.
const UNPACKED_LIMIT: u32 = 256 * 1024 * 1024;

/// Bytes as they are stored. Pack them before the job: it takes longer than storing them, and there is one writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedBytes {
    pub(super) compressed: bool,
    pub(super) bytes: Vec<u8>,
}

impl PackedBytes {
    /// Compresses where that makes them smaller.
    pub fn pack(plain: &[u8]) -> Self {
        match compress(plain) {
            Some(bytes) => Self { compressed: true, bytes },
            None => Self { compressed: false, bytes: plain.to_vec() },
        }
    }

    /// The bytes as they came.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when they cannot be decompressed.
    pub fn unpack(self) -> Result<Vec<u8>, StoreError> {
        if self.compressed { decompress(&self.bytes, "message_content.bytes") } else { Ok(self.bytes) }
    }
}

/// Text for a column of type ANY: text, or compressed as a blob.
pub(super) enum PackedText<'t> {
    Plain(&'t str),
    Compressed(Vec<u8>),
}

impl<'t> PackedText<'t> {
    pub(super) fn pack(text: &'t str) -> Self {
        let compressed = if text.len() < TEXT_FROM { None } else { compress(text.as_bytes()) };
        compressed.map_or(Self::Plain(text), Self::Compressed)
    }
}

impl ToSql for PackedText<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Plain(text) => ValueRef::Text(text.as_bytes()),
            Self::Compressed(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The text that [`PackedText`] stored in the column `what`.
pub(super) fn unpack_text(value: ValueRef<'_>, what: &'static str) -> Result<String, StoreError> {
    let bytes = match value {
        ValueRef::Text(bytes) => bytes.to_vec(),
        ValueRef::Blob(bytes) => decompress(bytes, what)?,
        _ => return Err(StoreError::Damaged { what }),
    };
    String::from_utf8(bytes).map_err(|_| StoreError::Damaged { what })
}

/// `None` when it would not be smaller.
fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    Some(compress_prepend_size(plain)).filter(|packed| packed.len() < plain.len())
}

fn decompress(packed: &[u8], what: &'static str) -> Result<Vec<u8>, StoreError> {
    let size = packed.first_chunk().map(|size| u32::from_le_bytes(*size));
    if size.is_none_or(|size| size > UNPACKED_LIMIT) {
        return Err(StoreError::Damaged { what });
    }
    decompress_size_prepended(packed).map_err(|_| StoreError::Damaged { what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_back_as_they_were(plain in proptest::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert_eq!(PackedBytes::pack(&plain).unpack().unwrap(), plain);
        }

        #[test]
        fn texts_come_back_as_they_were(text in ".{0,40}", times in 0_usize..200) {
            let text = text.repeat(times);
            let packed = PackedText::pack(&text);
            let ToSqlOutput::Borrowed(value) = packed.to_sql().unwrap() else { panic!("borrowed") };
            prop_assert_eq!(unpack_text(value, "test").unwrap(), text);
        }
    }

    #[test]
    fn a_damaged_value_is_an_error_by_name() {
        let packed = PackedBytes::pack(&[7; 4000]);
        assert!(packed.compressed);
        for bytes in [&packed.bytes[..packed.bytes.len() - 3], b"", b"nothing", b"\xff\xff\xff\xff\x10a"] {
            let damaged = PackedBytes { compressed: true, bytes: bytes.to_vec() };
            assert_eq!(damaged.unpack(), Err(StoreError::Damaged { what: "message_content.bytes" }));
        }
    }
}
