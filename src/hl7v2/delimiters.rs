//! MSH-1 and MSH-2: which characters separate what (HL7 v2.5.1 chapter 2, 2.5.4).

/// The delimiters of one message. Each is one printable ASCII character that is no letter and no digit, and no two are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiters {
    /// MSH-1, usually `|`.
    pub field: u8,
    /// First character of MSH-2, usually `^`.
    pub component: u8,
    /// Second, usually `~`. `None`: fields do not repeat.
    pub repetition: Option<u8>,
    /// Third, usually `\`. `None`: nothing is escaped.
    pub escape: Option<u8>,
    /// Fourth, usually `&`. `None`: components are not divided.
    pub subcomponent: Option<u8>,
    /// Fifth, usually `#`, since v2.7: marks a value that was cut. It separates nothing.
    pub truncation: Option<u8>,
}

/// Why MSH-1 and MSH-2 cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DelimitersError {
    /// No `MSH` and separator at the start.
    #[error("the message does not start with MSH and a field separator; it is no HL7 v2 message in ER7 form")]
    NoHeader,
    /// MSH-2 is empty or longer than five characters.
    #[error("MSH-2 has {0} characters, 1 to 5 are allowed, usually ^~\\&; correct the sender")]
    Length(usize),
    /// A letter, digit, blank, quote, control character or something outside ASCII.
    #[error("MSH-1 and MSH-2 must be ASCII punctuation other than the quote, usually |^~\\&; correct the sender")]
    Unusable,
    /// One character with two duties.
    #[error("MSH-1 and MSH-2 use one character for two purposes; correct the sender")]
    Duplicate,
}

impl Delimiters {
    /// `|^~\&`, what the standard recommends.
    pub const STANDARD: Self = Self {
        field: b'|',
        component: b'^',
        repetition: Some(b'~'),
        escape: Some(b'\\'),
        subcomponent: Some(b'&'),
        truncation: None,
    };

    /// Reads MSH-1 and MSH-2 at the start of a message. MSH-2 reaches to the next field separator or line end, so a fifth
    /// character, or only two, do not shift the fields after it.
    ///
    /// A doubled escape character (`^~\\&`, written by software that escaped the text once more) is read as one.
    pub fn read(message: &[u8]) -> Result<Self, DelimitersError> {
        let rest = message.strip_prefix(b"MSH").ok_or(DelimitersError::NoHeader)?;
        let (&field, rest) = rest.split_first().ok_or(DelimitersError::NoHeader)?;
        if !usable(field) {
            // `MSHA|` is another segment's name or text, not a header with a strange separator.
            return Err(DelimitersError::NoHeader);
        }
        let end = rest.iter().position(|&byte| byte == field || byte == b'\r' || byte == b'\n').unwrap_or(rest.len());
        let mut characters = [None; 5];
        let mut count = 0;
        for (index, &byte) in rest[..end].iter().enumerate() {
            if index == 3 && rest[2] == byte && end == 5 {
                continue;
            }
            if let Some(slot) = characters.get_mut(count) {
                *slot = Some(byte);
            }
            count += 1;
        }
        let [component, repetition, escape, subcomponent, truncation] = characters;
        let Some(component) = component.filter(|_| count <= characters.len()) else {
            return Err(DelimitersError::Length(end));
        };
        let found = Self { field, component, repetition, escape, subcomponent, truncation };
        let all: Vec<u8> = found.all().collect();
        if !all.iter().all(|&byte| usable(byte)) {
            return Err(DelimitersError::Unusable);
        }
        if (1..all.len()).any(|index| all[..index].contains(&all[index])) {
            return Err(DelimitersError::Duplicate);
        }
        Ok(found)
    }

    /// Whether a message starts here: MSH with delimiters that can be used, or at least with the usual separator. Text such as
    /// `MSH-3 is wrong` does not.
    pub(super) fn start_message(bytes: &[u8]) -> bool {
        bytes.starts_with(b"MSH|") || Self::read(bytes).is_ok()
    }

    /// MSH-2 as text.
    pub fn encoding_characters(&self) -> String {
        self.all().skip(1).map(char::from).collect()
    }

    /// What separates inside a field: component, repetition, subcomponent.
    pub(super) fn inside_fields(&self) -> [u8; 3] {
        [self.component, self.repetition.unwrap_or(self.component), self.subcomponent.unwrap_or(self.component)]
    }

    /// Whether `byte` is one of them.
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.all().any(|delimiter| delimiter == byte)
    }

    fn all(&self) -> impl Iterator<Item = u8> {
        let optional = [self.repetition, self.escape, self.subcomponent, self.truncation];
        [self.field, self.component].into_iter().chain(optional.into_iter().flatten())
    }
}

/// The quote is excluded because `""` is HL7's null.
fn usable(byte: u8) -> bool {
    byte.is_ascii_punctuation() && byte != b'"'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, expected: Result<&str, DelimitersError>) {
        let found = Delimiters::read(message.as_bytes()).map(|found| found.encoding_characters());
        assert_eq!(found, expected.map(str::to_owned), "{message}");
    }

    #[test]
    fn msh_2_reaches_to_the_next_separator() {
        check(r"MSH|^~\&|HIS", Ok(r"^~\&"));
        check(r"MSH|^~\&#|HIS", Ok(r"^~\&#"));
        check(r"MSH|^~\|HIS", Ok(r"^~\"));
        check("MSH|^|HIS", Ok("^"));
        check("MSH|^~\\&\rPID|1", Ok(r"^~\&"));
        check(r"MSH$%*!@$HIS", Ok("%*!@"));
        check(r"MSH|^~\\&|HIS", Ok(r"^~\&"));
    }

    #[test]
    fn unusable_delimiters_are_refused() {
        check("", Err(DelimitersError::NoHeader));
        check("MSH", Err(DelimitersError::NoHeader));
        check("PID|1", Err(DelimitersError::NoHeader));
        check("MSHA^~", Err(DelimitersError::NoHeader));
        check("MSH||HIS", Err(DelimitersError::Length(0)));
        check(r"MSH|^~\&#+|HIS", Err(DelimitersError::Length(6)));
        check(r"MSH|^~\a|HIS", Err(DelimitersError::Unusable));
        check(r"MSH|^~ &|HIS", Err(DelimitersError::Unusable));
        check("MSH|^~\\\"|HIS", Err(DelimitersError::Unusable));
        check("MSH|^~名|HIS", Err(DelimitersError::Unusable));
        check(r"MSH|^^\&|HIS", Err(DelimitersError::Duplicate));
        check(r"MSH|^~\~|HIS", Err(DelimitersError::Duplicate));
    }
}
