//! URLs of a FHIR server: how they are built, whether a link may be followed, and how they are told without telling on patients.

use reqwest::Url;

use super::error::FhirError;

/// Query parameters whose numeric value counts rows: pages that such a link leads to shift when rows change.
const OFFSETS: [&str; 8] = ["offset", "_offset", "page", "_page", "skip", "_skip", "start", "_start"];

/// A server's base.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// Ends with `/`.
    url: Url,
    rebase: bool,
}

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// To the server.
    Here(Url),
    /// To another origin; brought back to the server's own.
    Rebased(Url),
    /// To another origin, or nowhere.
    Foreign,
}

impl Base {
    pub(super) fn new(url: &Url, rebase: bool) -> Result<Self, FhirError> {
        let mut url = url.clone();
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(FhirError::Settings("base_url: expected an http or https URL".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(FhirError::Settings(
                "base_url: credentials, query and fragment do not belong here; give credentials as `auth`".to_owned(),
            ));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self { url, rebase })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The URL of a path below the base, with a query that is written as it is to be sent.
    pub(super) fn at(&self, path: &str, query: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path()));
        url.set_query((!query.is_empty()).then_some(query));
        url
    }

    /// Where a link of an answer from `from` leads.
    pub(super) fn link(&self, from: &Url, text: &str) -> Link {
        let Some(mut url) = self.joined(from, text) else { return Link::Foreign };
        url.set_fragment(None);
        if url.origin() == self.url.origin() && url.username().is_empty() && url.password().is_none() {
            return Link::Here(url);
        }
        if !self.rebase || !matches!(url.scheme(), "http" | "https") {
            return Link::Foreign;
        }
        // The path may be another too (`/fhir` outside, `/hapi/fhir` inside): a path that does not begin with ours is cut behind
        // what could be the inner base, at the resource type or the operation.
        let path = if url.path().starts_with(self.url.path()) || url.path() == self.url.path().trim_end_matches('/') {
            url.path().to_owned()
        } else {
            let below = url.path().split('/').skip_while(|part| !begins_below(part)).collect::<Vec<_>>().join("/");
            format!("{}{below}", self.url.path())
        };
        let mut ours = self.url.clone();
        ours.set_path(&path);
        ours.set_query(url.query());
        Link::Rebased(ours)
    }

    /// A link as a URL. What is relative is so to the base (FHIR R4, `Bundle.link.url`), a query alone to the answer; and where a server leaves
    /// its own base out in front of a type, it is put there.
    fn joined(&self, from: &Url, text: &str) -> Option<Url> {
        let first = text.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default();
        let joined = match (text.starts_with('/'), begins_below(first)) {
            (false, true) => self.url.join(text),
            (true, true) if !text.starts_with("//") && !text.starts_with(self.url.path()) => {
                self.url.join(text.trim_start_matches('/'))
            }
            _ => from.join(text),
        };
        joined.ok()
    }

    /// Method and URL for people: the path below the base without ids, the query without values.
    pub(super) fn place(&self, method: &str, url: &Url) -> String {
        let below = (url.origin() == self.url.origin()).then(|| url.path().strip_prefix(self.url.path())).flatten();
        let Some(below) = below else {
            return format!("{method} {}", url.origin().ascii_serialization());
        };
        let path: Vec<&str> = below
            .split('/')
            .map(|part| if part.is_empty() || begins_below(part) || part == "metadata" { part } else { "…" })
            .collect();
        let mut names: Vec<String> = Vec::new();
        for (name, _) in url.query_pairs() {
            let plain =
                name.len() <= 30 && name.chars().all(|letter| letter.is_ascii_alphabetic() || "_-:.".contains(letter));
            let name = if plain { name.into_owned() } else { "…".to_owned() };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let query = if names.is_empty() { String::new() } else { format!("?{}", names.join("&")) };
        format!("{method} {}{query}", path.join("/"))
    }
}

/// A resource type, an operation or `_history`: what a path below the base consists of, ids aside.
fn begins_below(part: &str) -> bool {
    let name = part.trim_start_matches(['$', '_']);
    let special = name.len() < part.len();
    let named = special || part.starts_with(|first: char| first.is_ascii_uppercase());
    named
        && name.len() <= 40
        && !name.is_empty()
        && name.chars().all(|letter| letter.is_ascii_alphabetic() || letter == '-' && special)
}

/// Whether a link to a page counts rows instead of naming a place in a list.
pub(super) fn counts_rows(url: &Url) -> bool {
    url.query_pairs().any(|(name, value)| {
        OFFSETS.contains(&name.as_ref()) && !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(rebase: bool) -> Base {
        Base::new(&Url::parse("https://emr.example:8443/fhir").unwrap(), rebase).unwrap()
    }

    #[test]
    fn a_place_tells_neither_ids_nor_values() {
        let base = base(false);
        let place = |text: &str| base.place("GET", &Url::parse(text).unwrap());
        assert_eq!(
            place("https://emr.example:8443/fhir/Observation?patient=4711&_count=5&Wang%20Wei=1"),
            "GET Observation?patient&_count&…"
        );
        assert_eq!(place("https://emr.example:8443/fhir/Patient/4711/_history/2"), "GET Patient/…/_history/…");
        assert_eq!(place("https://emr.example:8443/fhir/$export"), "GET $export");
        assert_eq!(place("https://login.example/token/4711?a=b"), "GET https://login.example");
    }

    #[test]
    fn links_stay_on_the_origin_or_are_brought_back_to_it() {
        let from = base(false).at("Patient", "_count=2");
        let strict = |text| base(false).link(&from, text);
        let rebasing = |text| base(true).link(&from, text);
        let here = base(false).at("Patient", "page=2");
        assert_eq!(strict("https://emr.example:8443/fhir/Patient?page=2"), Link::Here(here.clone()));
        assert_eq!(strict("Patient?page=2"), Link::Here(here.clone()));
        let history = base(false).at("Patient/_history", "_count=2");
        let deeper = base(false).at("Patient/_history", "page=2");
        assert_eq!(base(false).link(&history, "Patient/_history?page=2"), Link::Here(deeper.clone()));
        assert_eq!(base(false).link(&history, "?page=2"), Link::Here(deeper));
        assert_eq!(strict("/Patient?page=2"), Link::Here(here.clone()));
        assert_eq!(strict("/fhir/Patient?page=2"), Link::Here(here.clone()));
        assert_eq!(strict("//other/fhir/Patient?page=2"), Link::Foreign);
        let getpages = Url::parse("https://emr.example:8443/fhir?_getpages=a-b&_getpagesoffset=2").unwrap();
        assert_eq!(strict("/fhir?_getpages=a-b&_getpagesoffset=2"), Link::Here(getpages));
        for foreign in [
            "http://emr.example:8443/fhir/Patient?page=2",
            "https://other/fhir/Patient?page=2",
            "https://u:p@emr.example:8443/fhir/Patient",
            "file:///etc/passwd",
        ] {
            assert_eq!(strict(foreign), Link::Foreign, "{foreign}");
        }
        assert_eq!(rebasing("http://10.0.0.7:8080/fhir/Patient?page=2"), Link::Rebased(here.clone()));
        assert_eq!(rebasing("http://10.0.0.7:8080/hapi/r4/Patient?page=2"), Link::Rebased(here));
        assert_eq!(rebasing("file:///etc/passwd"), Link::Foreign);
    }

    #[test]
    fn a_base_with_credentials_is_refused() {
        for text in ["https://u:p@h/fhir", "https://h/fhir?x=1", "ftp://h/fhir"] {
            assert!(Base::new(&Url::parse(text).unwrap(), false).is_err(), "{text}");
        }
    }
}
