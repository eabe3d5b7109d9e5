//! How much one message, and one frame, may hold.

/// Messages of one frame (a batch, HL7 v2.5.1 chapter 2, 2.10.3), 1 000: all its answers are held until the last is there, and each,
/// with what leads to it, needs far more memory than the 6 bytes that a message has at least. Whole days come as files.
pub const MESSAGES_OF_FRAME: usize = 1_000;

/// Bounds of one message. A message beyond them is refused whole, never cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes as received, 16 MiB: reports with a PDF in base64 (OBX-5 ED) reach about 10.
    pub message_bytes: usize,
    /// Segments, 50 000: some systems send such a PDF as one OBX for each line of 76 characters.
    pub segments: usize,
    /// Fields of one segment, 1 000: the longest segment of the standard has about 70.
    pub fields_of_segment: usize,
    /// Fields of the message, 2 000 000: the index keeps 8 bytes for each.
    pub fields: usize,
    /// Separators of repetitions, components and subcomponents in one field, 100 000: an electrocardiogram in one OBX-5 (NA, MA) has 60 000.
    pub parts_of_field: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 16 << 20,
            segments: 50_000,
            fields_of_segment: 1_000,
            fields: 2_000_000,
            parts_of_field: 100_000,
        }
    }
}
