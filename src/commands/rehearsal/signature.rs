//! Signatures of Standard Webhooks 1.0 as a rehearsal makes them, good and bad ones.

use std::path::Path;

use anyhow::{Context, bail};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a symmetric secret begins with (Standard Webhooks 1.0, "Signature scheme").
const PREFIX: &str = "whsec_";

/// A secret. Never printed.
pub(super) struct Secret(hmac::Key);

impl Secret {
    /// Reads the first secret of a file that holds one or two, each on a line of its own.
    ///
    /// # Errors
    /// It cannot be read, or holds no secret. The error never quotes it.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let bytes = line.strip_prefix(PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok());
        match bytes {
            Some(bytes) if (24..=64).contains(&bytes.len()) => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))),
            _ => bail!("{}: expected whsec_ and the Base64 of 24 to 64 bytes", file.display()),
        }
    }

    /// A secret that nobody was given.
    pub(super) fn other() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &[b'x'; 32]))
    }

    /// The `webhook-signature` of a message.
    pub(super) fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let secret = Secret::read(file.path()).unwrap();
        let signature = secret.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_never_quoted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaQ="] {
            std::fs::write(file.path(), text).unwrap();
            let error = Secret::read(file.path()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("expected whsec_") && !error.contains("MfKQ"), "{error}");
        }
    }
}
