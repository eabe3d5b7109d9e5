//! Evidence as people read it: what a weighing starts from, what each fact adds, and what it comes to.

use serde_json::Value;

use super::output;

/// Bits with their sign: `+13.50`.
pub(super) fn bits(value: &Value) -> String {
    value.as_f64().map_or_else(String::new, |bits| format!("{bits:+.2}"))
}

/// A probability: `99.37 %`; never 100 %.
pub(super) fn percent(value: &Value) -> String {
    // Rounded down: what is not certain must not look so.
    value.as_f64().map_or_else(String::new, |share| format!("{:.2} %", (share * 10_000.0).floor() / 100.0))
}

/// The vetoes, ties and gates in one cell.
pub(super) fn remarks(evidence: &Value) -> String {
    let vetoes = evidence["vetoes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut remarks: Vec<String> = vetoes.map(|veto| format!("forbidden: {veto}")).collect();
    remarks.extend(evidence["tie"].as_str().map(|tie| format!("tied: {tie}")));
    if evidence["gate"] == true {
        remarks.push("identity number with name and birth date".to_owned());
    }
    remarks.join(", ")
}

/// The waterfall from the prior to the total, then what forbids a link or makes it without weighing.
pub(super) fn waterfall(evidence: &Value) -> anyhow::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |name: &str, level: String, value: &Value, note: String| vec![name.to_owned(), level, bits(value), note];
    let none = String::new;
    let mut rows = vec![row("prior", none(), &evidence["prior"], none())];
    for fact in evidence["facts"].as_array().into_iter().flatten() {
        let share = fact["frequency"].as_f64().filter(|share| *share > 0.0);
        let note = share.map_or_else(String::new, |share| format!("1 in {:.0} people bears it", 1.0 / share));
        rows.push(row(fact["fact"].as_str().unwrap_or_default(), text(&fact["level"]), &fact["weight"], note));
    }
    if evidence["household"].as_f64().is_some_and(|cut| cut != 0.0) {
        rows.push(row(
            "household",
            none(),
            &evidence["household"],
            "phone, address and surname are capped together".to_owned(),
        ));
    }
    let probability = format!("probability {}, model {}", percent(&evidence["probability"]), text(&evidence["model"]));
    rows.push(row("total", none(), &evidence["bits"], probability));
    output::table(&["FACT", "AGREES", "BITS", ""], &rows)?;
    let remarks = remarks(evidence);
    if remarks.is_empty() { Ok(()) } else { output::line(remarks) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_certain_does_not_look_so() {
        for (share, shown) in [(0.999_99, "99.99 %"), (0.5, "50.00 %"), (0.000_01, "0.00 %"), (1.0, "100.00 %")] {
            assert_eq!(percent(&json!(share)), shown);
        }
        assert_eq!(
            (bits(&json!(13.5)), bits(&json!(-0.7)), bits(&Value::Null)),
            ("+13.50".to_owned(), "-0.70".to_owned(), String::new())
        );
    }
}
