//! A directory as a source: files are taken once, whole, and put where their fate can be seen.

use crate::support::eventually;
use crate::support::hl7::{admission_of_nobody, gb18030, registration};
use crate::support::site::{Site, configuration};

#[test]
fn files_put_into_a_directory_are_taken_once_and_moved() {
    let source = r#"
[[sources]]
name = "drop"
mapping = "mappings/hl7v2.toml"
files = { directory = "in", interval = "200ms" }
"#;
    let site = Site::configured(&configuration("", source));
    std::fs::create_dir(site.path("in")).unwrap();
    let daemon = site.start();
    let good = [
        registration("C1", "P1", "李^娜").into_bytes(),
        gb18030(&registration("C2", "P2", "张^瑋").replace("UNICODE UTF-8", "GB 18030-2000")),
    ]
    .concat();
    site.write("in/good.hl7", &good);
    site.write("in/mixed.hl7", format!("{}{}", admission_of_nobody("BAD"), registration("C3", "P3", "王^芳")));
    site.write("in/notes.md", "not a message");
    eventually("both files to be moved", || {
        (site.path("in/done/good.hl7").exists() && site.path("in/failed/mixed.hl7").exists()).then_some(())
    });
    assert!(site.path("in/notes.md").exists(), "what is not meant for it stays");
    assert_eq!(std::fs::read(site.path("in/done/good.hl7")).unwrap(), good, "and is not changed");
    for (number, name) in [("P1", "李娜"), ("P2", "张瑋"), ("P3", "王芳")] {
        assert_eq!(daemon.person(&format!("HIS|{number}"))["name"], name);
    }
    assert_eq!(site.messages(&["--source", "drop", "--state", "failed"]).len(), 1);
    let feed = daemon.feed();
    site.write("in/again.hl7", &good);
    eventually("the repeat to be moved", || site.path("in/done/again.hl7").exists().then_some(()));
    assert_eq!(daemon.feed(), feed, "the same messages in another file change nothing");
}
