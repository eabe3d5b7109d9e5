//! The 64-bit fingerprints under which values are blocked and counted.
//!
//! They are stored on disk: what is computed here must never change between versions and machines. It is FNV-1a over the
//! parts' UTF-8, each part closed by a byte that UTF-8 never holds, and the finaliser of MurmurHash3 (both public domain), which
//! spreads the last bytes over all 64 bits. It protects no one: a short value can be guessed from its fingerprint.

/// Fingerprint of a list of texts.
pub(super) fn fingerprint(parts: &[&str]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const CLOSED: u8 = 0xff;
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([CLOSED]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_the_same_for_ever() {
        for (parts, expected) in [
            (&[][..], 0xefd0_1f60_ba99_2926),
            (&["张伟"][..], 0x7a15_8510_0723_f19b),
            (&["ab", "c"][..], 0x04f3_60e5_0ae8_8219),
            (&["a", "bc"][..], 0x0b1a_b3f8_db79_4b96),
        ] {
            assert_eq!(fingerprint(parts), expected, "{parts:?}");
        }
    }
}
