//! What was probably meant by a text that is no path: other ways to write one (`PID.3`, `pv1-11`, `OBX-5-1`, `PID3`, `PID-3^1`).

use super::Path;

/// Marks between the numbers of a path in other programs' spellings.
const SEPARATORS: &[char] = &['-', '.', '_', ':', '^', '&', '/', ' '];

impl Path {
    /// The path that a text was probably meant for: the same segment, numbers and brackets in the standard's spelling. `None`: the text
    /// is a path already, or is like none. Whether HL7 v2 has such a segment is not asked.
    pub fn meant_by(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut reader = Spelling { rest: text };
        let name = reader.name()?;
        let occurrence = reader.brackets()?;
        let field = reader.number();
        let repetition = reader.brackets()?;
        let component = reader.number();
        let subcomponent = reader.number();
        if !reader.rest.is_empty() || (field.is_none() && !(repetition.is_empty())) {
            return None;
        }
        // Brackets behind the component choose a repetition of the field as well.
        let mut spelled = name + &occurrence;
        for (mark, number) in [
            ("-", field.map(|field| field.to_owned() + &repetition)),
            (".", component.map(str::to_owned)),
            (".", subcomponent.map(str::to_owned)),
        ] {
            spelled.extend(number.map(|number| mark.to_owned() + &number));
        }
        Self::parse(&spelled).ok().filter(|_| spelled != text)
    }
}

struct Spelling<'s> {
    rest: &'s str,
}

impl<'s> Spelling<'s> {
    /// Three letters or digits, or fewer letters before a separator.
    fn name(&mut self) -> Option<String> {
        let length = self.rest.bytes().take(3).take_while(u8::is_ascii_alphanumeric).count();
        let name =
            self.rest.get(..length).filter(|name| name.starts_with(|first: char| first.is_ascii_alphabetic()))?;
        self.rest = self.rest.get(length..)?;
        Some(name.to_ascii_uppercase())
    }

    fn number(&mut self) -> Option<&'s str> {
        let behind = self.rest.strip_prefix(SEPARATORS).unwrap_or(self.rest);
        let length = behind.bytes().take_while(u8::is_ascii_digit).count();
        let number = behind.get(..length).filter(|number| !number.is_empty())?;
        self.rest = behind.get(length..).unwrap_or_default();
        Some(number)
    }

    /// What stands in brackets, with plain ones around it; empty if there are none.
    fn brackets(&mut self) -> Option<String> {
        let close = match self.rest.chars().next() {
            Some('[') => ']',
            Some('(') => ')',
            _ => return Some(String::new()),
        };
        let end = self.rest.find(close)?;
        let inside = self.rest.get(1..end)?;
        self.rest = self.rest.get(end + 1..)?;
        Some(format!("[{inside}]"))
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn other_spellings_of_a_path_are_recognised() {
        for (written, meant) in [
            ("pv1-11", "PV1-11"),
            ("PID3", "PID-3"),
            ("PID.3", "PID-3"),
            ("PID.3.1", "PID-3.1"),
            ("OBX-5-1", "OBX-5.1"),
            ("PID-3^4&2", "PID-3.4.2"),
            ("pid_3", "PID-3"),
            ("PID 3", "PID-3"),
            ("PID-3(2).1", "PID-3[2].1"),
            ("obx[2].5[*]", "OBX[2]-5[*]"),
            ("PID-3[5=PI]-1", "PID-3[5=PI].1"),
            ("obx", "OBX"),
        ] {
            assert_eq!(Path::meant_by(written).map(|path| path.to_string()).as_deref(), Some(meant), "{written}");
        }
        for written in ["PID-3", "", "3", "PV-11", "PID-3.1.2.3", "name.given", "PID-3[5=", "PID-", "PID-3x", "患者"]
        {
            assert_eq!(Path::meant_by(written), None, "{written}");
        }
    }
}
