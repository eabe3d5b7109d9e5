//! Compression of what is large: raw messages, and the JSON of states and events. Each thread reuses its contexts.

use std::cell::RefCell;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

use super::StoreError;

/// zstd level: 1 takes a third of the time of 3 on messages of one or two kilobytes, for a few percent of size.
const LEVEL: i32 = -3;

/// Shorter texts (persons, patients, visits) stay as they are: the writer would spend a tenth of its time on saving a few hundred
/// bytes in rows that are rewritten all the time.
const TEXT_FROM: usize = 2048;

/// No stored value is larger when unpacked; guards against a damaged length.
const UNPACKED_LIMIT: u64 = 256 * 1024 * 1024;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

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
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Compressor::new(LEVEL).ok();
        }
        slot.as_mut()?.compress(plain).ok().filter(|packed| packed.len() < plain.len())
    })
}

fn decompress(packed: &[u8], what: &'static str) -> Result<Vec<u8>, StoreError> {
    let damaged = StoreError::Damaged { what };
    let size = match get_frame_content_size(packed) {
        Ok(Some(size)) if size <= UNPACKED_LIMIT => usize::try_from(size).unwrap_or(usize::MAX),
        _ => return Err(damaged),
    };
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Decompressor::new().ok();
        }
        let plain = slot.as_mut().and_then(|decompressor| decompressor.decompress(packed, size).ok());
        plain.filter(|plain| plain.len() == size).ok_or(damaged)
    })
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
        for bytes in [&packed.bytes[..packed.bytes.len() - 3], b"", b"nothing"] {
            let damaged = PackedBytes { compressed: true, bytes: bytes.to_vec() };
            assert_eq!(damaged.unpack(), Err(StoreError::Damaged { what: "message_content.bytes" }));
        }
    }
}
