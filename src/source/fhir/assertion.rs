//! The signed assertion of SMART Backend Services (RFC 7523 `private_key_jwt`), and the key set that a server verifies it with.
//!
//! RS384 and ES384 only: the two that the SMART specification asks for. The signing is aws-lc-rs's, as in TLS; a JWT library would bring a
//! second ASN.1 reader and big-number code for what are a hundred lines around one signature.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA384};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::error::FhirError;

/// How long an assertion is valid, in seconds: the specification allows 300, and clocks differ.
const LIFETIME: i64 = 240;

/// The shortest RSA key that is taken: RFC 7518 §3.3 asks for 2048 bits.
const RSA_BYTES: usize = 256;

/// A private key.
pub(super) enum SigningKey {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
}

impl SigningKey {
    /// Reads a PEM file: PKCS #8, PKCS #1 or SEC 1.
    pub(super) fn read(file: &Path) -> Result<Self, FhirError> {
        let refused = |reason: &str| FhirError::SecretFile { file: file.to_owned(), reason: reason.to_owned() };
        let pem = std::fs::read(file).map_err(|error| refused(&format!("cannot be read ({error})")))?;
        // The decoder's error is dropped on purpose: it can quote a line of the file.
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            refused("holds no usable private key; expected unencrypted PEM text with BEGIN PRIVATE KEY")
        })?;
        let rsa = match &key {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok(),
            _ => None,
        };
        if let Some(key) = rsa {
            if key.public_modulus_len() < RSA_BYTES {
                return Err(refused("is an RSA key of less than 2048 bits; make a longer one"));
            }
            return Ok(Self::Rsa(Box::new(key)));
        }
        EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_FIXED_SIGNING, key.secret_der())
            .map(Self::Ec)
            .map_err(|_| refused("is neither an RSA key (RS384) nor an EC key on P-384 (ES384)"))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS384",
            Self::Ec(_) => "ES384",
        }
    }

    /// The assertion that `client_id` is who asks `audience` for a token. `now` in seconds since 1970; `unique` is never used twice.
    pub(super) fn assertion(
        &self,
        client_id: &str,
        key_id: &str,
        audience: &str,
        now: i64,
        unique: &str,
    ) -> Result<String, FhirError> {
        let header = json!({"alg": self.algorithm(), "kid": key_id, "typ": "JWT"});
        // `iat` although optional: Keycloak 26 refuses an `exp` more than 60 s away without it.
        let claims = json!({
            "iss": client_id, "sub": client_id, "aud": audience,
            "iat": now, "exp": now.saturating_add(LIFETIME), "jti": unique,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self
            .sign(signed.as_bytes())
            .ok_or_else(|| FhirError::Settings("auth: the private key does not sign; is it damaged?".to_owned()))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn sign(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA384, &random, bytes, &mut signature).ok()?;
                Some(signature)
            }
            Self::Ec(key) => key.sign(&random, bytes).ok().map(|signature| signature.as_ref().to_vec()),
        }
    }

    /// The public half as a JSON Web Key.
    fn public(&self, key_id: &str) -> Option<Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let common = json!({"kid": key_id, "alg": self.algorithm(), "use": "sig", "key_ops": ["verify"]});
        let mut key = match self {
            Self::Rsa(key) => {
                let (modulus, exponent) = rsa_numbers(key.public_key().as_ref())?;
                json!({"kty": "RSA", "n": text(modulus), "e": text(exponent)})
            }
            Self::Ec(key) => {
                // An uncompressed point (SEC 1 §2.3.3): 4, x, y.
                let point = key.public_key().as_ref().strip_prefix(&[4])?;
                let (x, y) = point.split_at_checked(48)?;
                json!({"kty": "EC", "crv": "P-384", "x": text(x), "y": text(y)})
            }
        };
        key.as_object_mut()?.extend(common.as_object()?.clone());
        Some(key)
    }
}

/// The JSON Web Key Set of these key files with their key ids: what is published, or given to a server's administrator. While a key is being
/// replaced, both are in it.
///
/// # Errors
/// A file that holds no usable key.
pub fn key_set(keys: &[(&str, &Path)]) -> Result<Value, FhirError> {
    let mut set = Vec::new();
    for (key_id, file) in keys {
        let key = SigningKey::read(file)?.public(key_id).ok_or_else(|| FhirError::SecretFile {
            file: (*file).to_owned(),
            reason: "has no public half that could be told".to_owned(),
        })?;
        set.push(key);
    }
    Ok(json!({"keys": set}))
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 A.1.1: a sequence of two integers), without the zeros that keep them positive.
fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, rest) = element(der, 0x30)?;
    let (modulus, after) = element(sequence, 0x02)?;
    let (exponent, end) = element(after, 0x02)?;
    (rest.is_empty() && end.is_empty()).then(|| (unsigned(modulus), unsigned(exponent)))
}

fn unsigned(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The content of the DER element with this tag at the start of `bytes`, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
        let length = digits.iter().try_fold(0_usize, |sum, &digit| sum.checked_mul(256)?.checked_add(digit.into()))?;
        (length, rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA384, UnparsedPublicKey};

    use super::*;

    fn decoded(text: &Value) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
    }

    fn rsa_pem() -> String {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    /// Signs with a new key, and verifies with nothing but the published key set.
    fn check(name: &str) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pem");
        let pem = match name {
            "ES384" => rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem(),
            _ => rsa_pem(),
        };
        std::fs::write(&file, pem).unwrap();
        let token = SigningKey::read(&file).unwrap().assertion("heyi", "k1", "https://a/token", 1_000, "j").unwrap();
        let set = key_set(&[("k1", &file)]).unwrap();
        let public = &set["keys"][0];

        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        if name == "ES384" {
            let point = [vec![4], decoded(&public["x"]), decoded(&public["y"])].concat();
            let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point);
            key.verify(signed.as_bytes(), &signature).unwrap();
        } else {
            let key = PublicKeyComponents { n: decoded(&public["n"]), e: decoded(&public["e"]) };
            key.verify(&RSA_PKCS1_2048_8192_SHA384, signed.as_bytes(), &signature).unwrap();
        }
        let (header, claims) = signed.split_once('.').unwrap();
        let part = |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
        assert_eq!(part(header), json!({"alg": name, "kid": "k1", "typ": "JWT"}));
        let expected =
            json!({"iss": "heyi", "sub": "heyi", "aud": "https://a/token", "iat": 1000, "exp": 1240, "jti": "j"});
        assert_eq!(part(claims), expected);
    }

    #[test]
    fn an_assertion_is_verified_by_the_published_key() {
        check("ES384");
        check("RS384");
    }

    #[test]
    fn a_key_that_smart_does_not_allow_is_refused_without_being_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pem");
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        std::fs::write(&file, key.serialize_pem()).unwrap();
        let error = SigningKey::read(&file).err().unwrap().to_string();
        assert!(error.contains("P-384"), "{error}");
        std::fs::write(&file, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n").unwrap();
        let error = SigningKey::read(&file).err().unwrap().to_string();
        assert!(!error.contains("c2Vj"), "{error}");
    }
}
