//! Signatures of Standard Webhooks 1.0, with one secret or two: while a secret is replaced, both sign.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a symmetric secret begins with (Standard Webhooks 1.0, "Signature scheme").
const PREFIX: &str = "whsec_";

/// Bytes of a secret (same place).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Secrets in force at a time: the new one and the one before.
const SECRETS: usize = 2;

/// The largest file that is looked at: two secrets, not the wrong file.
const FILE_BYTES: u64 = 4 * 1024;

/// The secrets of one consumer. Never printed.
pub struct Secrets(Vec<hmac::Key>);

/// Why a file holds no usable secrets; it never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", .file.display())]
pub struct SecretError {
    /// Which file.
    pub file: PathBuf,
    /// What is wrong and what to do.
    pub reason: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secrets([redacted])")
    }
}

impl Secrets {
    /// Reads the file: one secret or two, each on a line of its own, which only the file's owner may read.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn read(file: &Path) -> Result<Self, SecretError> {
        let wrong = |reason: String| SecretError { file: file.to_owned(), reason };
        let metadata = std::fs::metadata(file).map_err(|error| wrong(format!("cannot be read ({error})")))?;
        if metadata.len() > FILE_BYTES {
            return Err(wrong("is too large to hold secrets; give a file with nothing else in it".to_owned()));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(wrong(format!("others may read it (mode {mode:o}); chmod 600")));
            }
        }
        let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("cannot be read ({error})")))?;
        Self::parse(&text).map_err(|reason| wrong(reason.to_owned()))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "holds no usable secret: expected lines of whsec_ and the Base64 of 24 to 64 random bytes \
            (echo \"whsec_$(openssl rand -base64 32)\")";
        let mut keys = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let bytes = line.strip_prefix(PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok()).ok_or(EXPECTED)?;
            if !SECRET_BYTES.contains(&bytes.len()) {
                return Err(EXPECTED);
            }
            keys.push(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
        }
        match keys.len() {
            0 => Err(EXPECTED),
            1..=SECRETS => Ok(Self(keys)),
            _ => Err("holds more than two secrets: the new one and the one before, each on a line of its own"),
        }
    }

    /// A secret that nobody was given, for rehearsals of what must be refused.
    pub fn unknown() -> Self {
        Self(vec![hmac::Key::new(hmac::HMAC_SHA256, &[b'x'; 32])])
    }

    /// The `webhook-signature` of a message: one `v1,…` for each secret, separated by blanks. `timestamp` in seconds since the epoch.
    pub fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signed = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{timestamp}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        self.0.iter().map(signed).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_published_example_is_signed_as_published() {
        let secrets = Secrets::parse(SECRET).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signature = secrets.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_sign_both() {
        let other = format!("whsec_{}", STANDARD.encode([7; 64]));
        let both = Secrets::parse(&format!("{other}\n\n {SECRET} \n")).unwrap().signature("1", 2, b"{}");
        let alone = [other.as_str(), SECRET].map(|one| Secrets::parse(one).unwrap().signature("1", 2, b"{}"));
        assert_eq!(both, alone.join(" "));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_never_quoted() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        let three = [SECRET; 3].join("\n");
        for text in ["", "\n", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!", &short, &long, &three] {
            let reason = Secrets::parse(text).unwrap_err();
            assert!(!reason.contains("MfKQ"), "{text}");
        }
        assert_eq!(format!("{:?}", Secrets::parse(SECRET).unwrap()), "Secrets([redacted])");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("crm.secret");
        assert!(Secrets::read(&file).unwrap_err().to_string().contains("crm.secret: cannot be read"));
        std::fs::write(&file, SECRET).unwrap();
        for (mode, expected) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Secrets::read(&file).is_ok(), expected, "{mode:o}");
        }
    }
}
