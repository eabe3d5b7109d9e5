//! Every way in which a FHIR server is known to fail, through the whole program: while it fails nothing that was known is lost and `/v1/sources`
//! says what is wrong; once it is over, all is as on the server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fhir::{Emr, encounter, fill, known, observation, values, visit_becomes};
use crate::fhir_server::{Fault, Manner, Paging, Reply};
use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::http::request;
use crate::support::site::Site;

/// Faults at once, each with a daemon of its own.
const AT_ONCE: usize = 4;

/// The visit of who asks too early.
const TOO_EARLY: &str = "too-early";

/// The query of a redirect that nobody should follow.
const ELSEWHERE: &str = "elsewhere=1";

/// What is wrong, and how it shows.
struct Case {
    name: &'static str,
    breaks: fn(&Emr),
    /// A word of the last failure, or a remark.
    shows: &'static str,
}

fn fails(emr: &Emr, fault: Fault) {
    emr.server.shared().hook = Some(Box::new(move |_, _| fault.clone()));
}

fn status(emr: &Emr, status: u16) {
    fails(emr, Fault::Status(status, None));
}

/// It is to be left alone for a second: whoever asks before sees a visit that there is not.
fn waits(emr: &Emr, status: u16, retry_after: &str) {
    let fault = Fault::Status(status, Some(("Retry-After", retry_after.to_owned())));
    let mut last: Option<Instant> = None;
    emr.server.shared().hook = Some(Box::new(move |_, model| {
        // A little less, for what the answer took on its way.
        if last.is_some_and(|last| last.elapsed() < Duration::from_millis(900)) {
            model.put("Encounter", TOO_EARLY, encounter(TOO_EARLY, "planned", "Patient/1"));
        }
        last = Some(Instant::now());
        fault.clone()
    }));
}

/// Until a time by the server's clock, which goes on only as things happen there: who asks too early the client's own tests see.
fn waits_until(emr: &Emr) {
    let date = in_a_second(emr);
    fails(emr, Fault::Status(503, Some(("Retry-After", date))));
}

/// To the same server, by a name that makes it another origin.
fn redirects(emr: &Emr) {
    let elsewhere = format!("http://localhost:{}/fhir/Patient?{ELSEWHERE}", emr.server.address.port());
    fails(emr, Fault::Redirect(elsewhere));
}

fn pages(emr: &Emr, paging: Paging) {
    emr.server.shared().manner.paging = paging;
}

/// By the server's clock, which is not ours.
fn in_a_second(emr: &Emr) -> String {
    let at = emr.server.shared().model.now + Duration::from_secs(1);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

const CASES: &[Case] = &[
    Case { name: "401", breaks: |emr| status(emr, 401), shows: "401" },
    Case { name: "403", breaks: |emr| status(emr, 403), shows: "403" },
    Case { name: "404", breaks: |emr| status(emr, 404), shows: "404" },
    Case { name: "410", breaks: |emr| status(emr, 410), shows: "410" },
    Case { name: "429, seconds", breaks: |emr| waits(emr, 429, "1"), shows: "429" },
    Case { name: "503, a date", breaks: waits_until, shows: "503" },
    Case { name: "503 and no more", breaks: |emr| status(emr, 503), shows: "503" },
    Case { name: "500", breaks: |emr| status(emr, 500), shows: "500" },
    Case { name: "silence", breaks: |emr| fails(emr, Fault::Silence), shows: "timeout" },
    Case { name: "closed", breaks: |emr| fails(emr, Fault::Close), shows: "interrupted" },
    Case { name: "cut off", breaks: |emr| fails(emr, Fault::CutOff), shows: "interrupted" },
    Case { name: "cut JSON", breaks: |emr| fails(emr, Fault::CutJson), shows: "interrupted" },
    Case { name: "cut gzip", breaks: |emr| fails(emr, Fault::CutGzip), shows: "interrupted" },
    Case { name: "HTML with 200", breaks: |emr| fails(emr, Fault::Html), shows: "not_fhir" },
    Case { name: "an outcome with 200", breaks: |emr| fails(emr, Fault::Outcome), shows: "operation_outcome" },
    Case { name: "a redirect to somebody else", breaks: redirects, shows: "redirected" },
    Case { name: "a page that leads to itself", breaks: |emr| pages(emr, Paging::ToItself), shows: "restarted" },
    Case { name: "endless pages", breaks: |emr| pages(emr, Paging::Endless), shows: "restarted" },
    Case { name: "pages that shift", breaks: shift, shows: "clock_skew" },
    Case { name: "a time to come", breaks: to_come, shows: "future_last_updated" },
    Case { name: "a wrong clock", breaks: |_| (), shows: "clock_skew" },
];

/// Pages count rows, while rows come in front and go: some are given twice, and some never.
fn shift(emr: &Emr) {
    let mut shared = emr.server.shared();
    shared.manner.paging = Paging::Offset;
    let mut turn = 0;
    shared.hook = Some(Box::new(move |request, model| {
        turn += 1;
        if request.target.contains("_offset") && turn % 2 == 0 {
            model.put("Observation", "2", observation("2951-2", 140.0, "Patient/1"));
        }
        Fault::Nothing
    }));
}

fn to_come(emr: &Emr) {
    let mut shared = emr.server.shared();
    let tomorrow = shared.model.now + Duration::from_secs(86_400);
    shared.model.put_at("Observation", "3", observation("1-1", 1.0, "Patient/1"), tomorrow);
}

fn polling(daemon: &Daemon<'_>) -> Value {
    let sources = daemon.get("/v1/sources", daemon.site.engineer()).ok().json();
    sources["sources"].as_array().unwrap().iter().find(|source| source["name"] == "emr").unwrap()["polling"].clone()
}

/// Whether a word stands in the last failure or among the remarks.
fn shows(polling: &Value, word: &str) -> bool {
    let types = polling["types"].as_object().into_iter().flat_map(|types| types.values());
    std::iter::once(polling).chain(types).any(|part| {
        let error = format!("{} {}", part["last_error"]["kind"], part["last_error"]["text"]);
        error.contains(word) || part["remarks"].as_array().is_some_and(|remarks| remarks.iter().any(|one| one == word))
    })
}

fn walk(case: &Case) {
    let emr = Emr::start(Manner::default());
    fill(&emr);
    let more = ", page_size = 1, timeout = \"1s\", overlap = \"5s\", sweep_interval = \"300ms\"";
    let site = Site::configured(&emr.configuration("200ms", more));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "in_progress");
    let results = |daemon: &Daemon<'_>| known(daemon, "HIS|M1", "lab-reports").unwrap_or_default();
    let whole = |reports: &[Value]| {
        reports.iter().any(|report| report["report_id"] == "emr:1" && values(report) == [4.1, 140.0])
    };
    eventually("the report", || whole(&results(&daemon)).then_some(()));
    (case.breaks)(&emr);
    // What comes while it fails.
    emr.put("Encounter/1", encounter("V1", "finished", "Patient/1"));
    emr.put("Encounter/2", encounter("V2", "planned", "Patient/1"));
    eventually(&format!("{} to show as {}", case.name, case.shows), || {
        shows(&polling(&daemon), case.shows).then_some(())
    });
    let visits = known(&daemon, "HIS|M1", "visits").unwrap();
    assert!(
        visits.iter().any(|visit| visit["visit_id"] == "emr:V1" && visit["status"] != "entered_in_error"),
        "{}",
        case.name
    );
    assert!(whole(&results(&daemon)), "{}", case.name);
    assert_eq!(request(daemon.address("http"), "GET", "/readyz", &[], b"").status, 200, "{}", case.name);
    {
        let mut shared = emr.server.shared();
        shared.hook = None;
        shared.manner = Manner::default();
    }
    emr.delete("Observation/2");
    visit_becomes(&daemon, "HIS|M1", "status", "finished");
    visit_becomes(&daemon, "HIS|M1", "visit_id", "emr:V2");
    eventually(&format!("the deletion after {}", case.name), || {
        results(&daemon).iter().any(|report| report["report_id"] == "emr:1" && values(report) == [4.1]).then_some(())
    });
    {
        let shared = emr.server.shared();
        assert!(shared.model.current("Encounter", TOO_EARLY).is_none(), "{}: asked before the time", case.name);
        assert!(shared.requests.iter().all(|target| !target.contains(ELSEWHERE)), "{}: followed", case.name);
    }
    // No personal data, whatever the server quotes.
    let said = format!("{} {}", polling(&daemon), daemon.log());
    assert!(!said.contains("Wang Xiaoming") && !said.contains("110101199003070011"), "{}", case.name);
}

#[test]
fn during_any_fault_nothing_is_lost_and_after_it_all_is_as_on_the_server() {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = CASES.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    walk(case);
                }
            });
        }
    });
}

#[test]
fn a_token_that_the_server_no_longer_takes_is_renewed_once_and_nothing_waits_for_it() {
    let emr = Emr::start(Manner { authorization: Some("Bearer first".to_owned()), ..Manner::default() });
    let token = |token: &str| {
        let reply =
            Reply::json(200, json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}).to_string());
        emr.server.shared().others = vec![("/token".to_owned(), reply)];
    };
    token("first");
    fill(&emr);
    let auth = format!(
        ", auth = {{ kind = \"client_credentials\", token_url = \"http://{}/token\", client_id = \"heyi\", client_secret_file = \"config/emr.secret\" }}",
        emr.server.address
    );
    let site = Site::configured(&emr.configuration("200ms", &auth));
    site.write("config/emr.secret", "a secret");
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "in_progress");
    token("second");
    emr.server.take_requests();
    emr.server.shared().manner.authorization = Some("Bearer second".to_owned());
    emr.put("Encounter/1", encounter("V1", "finished", "Patient/1"));
    visit_becomes(&daemon, "HIS|M1", "status", "finished");
    let asked = emr.server.take_requests().iter().filter(|target| target.starts_with("POST /token")).count();
    assert_eq!(asked, 1);
}
