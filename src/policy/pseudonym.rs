//! Keyed stand-ins for numbers: HMAC-SHA-256 (RFC 2104, FIPS 180-4). Without the key nobody can try out numbers, of which there are few
//! (a bare hash of an identity number is found by trying some 10^11).

use aws_lc_rs::hmac;

/// Characters of a stand-in: 128 bits in hexadecimal.
const LENGTH: usize = 32;

/// The key of a store.
#[derive(Clone)]
pub struct PseudonymKey(hmac::Key);

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PseudonymKey")
    }
}

impl PseudonymKey {
    /// For one consumer: what two consumers get for one number differs, so that they cannot join what each may have.
    pub fn new(secret: &[u8], consumer: &str) -> Self {
        let store = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self(hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&store, consumer.as_bytes()).as_ref()))
    }

    /// The stand-in of a value among those of its kind.
    pub fn pseudonym(&self, kind: &str, value: &str) -> String {
        let mut text = kind.as_bytes().to_vec();
        text.push(0);
        text.extend_from_slice(value.as_bytes());
        let tag = hmac::sign(&self.0, &text);
        let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("p-{}", &digits[..LENGTH])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_is_the_same_for_the_same_number_kind_key_and_consumer_only() {
        let key = PseudonymKey::new(b"secret", "crm");
        let own = key.pseudonym("visit_number", "his:1");
        assert_eq!(own, key.clone().pseudonym("visit_number", "his:1"));
        assert_eq!(own.len(), 34);
        for other in [
            key.pseudonym("visit_number", "his:2"),
            key.pseudonym("hospital_number", "his:1"),
            PseudonymKey::new(b"other", "crm").pseudonym("visit_number", "his:1"),
            PseudonymKey::new(b"secret", "ads").pseudonym("visit_number", "his:1"),
        ] {
            assert_ne!(own, other);
        }
    }
}
