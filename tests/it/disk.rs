//! A full disk: nothing is acknowledged that was not kept, nothing kept is lost, and the work goes on when there is room.

use std::process::{Command, Stdio};

use crate::support::PATIENCE;
use crate::support::daemon::{Daemon, column};
use crate::support::eventually;
use crate::support::hl7::registration;
use crate::support::http::request;
use crate::support::mllp::Received;
use crate::support::mllp::framed;
use crate::support::site::Site;

/// Mounts a small file system for the store alone, fills half of it, and becomes the daemon.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=6m heyi data && head -c 3000000 /dev/zero > data/ballast &&
"$0" --config config/heyi.toml token create crm --role consumer --json > token.json &&
exec "$0" --config config/heyi.toml serve
"#;

fn namespaces() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command
}

#[test]
fn a_full_disk_is_told_to_the_sender_and_loses_nothing() {
    let possible = namespaces().arg("mount -t tmpfs none /mnt").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no file system can be mounted here (unshare), a full disk was not tried");
        return;
    }
    let site = Site::new();
    std::fs::create_dir(site.path("data")).unwrap();
    let mut command = namespaces();
    command.arg(SCRIPT).arg(env!("CARGO_BIN_EXE_heyi")).current_dir(site.path(""));
    let mut daemon = Daemon::of(&site, command);
    let made = std::fs::read_to_string(site.path("token.json")).unwrap();
    let token: serde_json::Value = serde_json::from_str(&made).unwrap();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let kept = |daemon: &Daemon<'_>| -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), "start".to_owned());
        loop {
            let target = format!("/v1/feed?after={after}&limit=1000");
            let page = request(daemon.address("http"), "GET", &target, &[("Authorization", &bearer)], b"").ok().json();
            let events = page["events"].as_array().unwrap();
            names.extend(column(events, "subject").into_iter().map(str::to_owned));
            after = page["next"].as_str().unwrap().to_owned();
            if page["next"] == page["head"] {
                return names;
            }
        }
    };
    // Names that do not compress: the disk is full after some hundred messages.
    let message = |index: usize| {
        let noise: String = (0..2000_usize)
            .map(|place| char::from_u32(0x4E00 + ((index * 7919 + place * 104_729) % 20_000) as u32).unwrap())
            .collect();
        registration(&format!("C{index}"), &format!("P{index}"), &format!("{noise}^{index}"))
    };
    let mut connection = daemon.connect("his");
    let mut acknowledged = 0;
    let refusal = loop {
        assert!(acknowledged < 5000, "the disk never filled");
        let answer = connection.ask(message(acknowledged));
        assert_eq!(answer.control_id(), format!("C{acknowledged}"));
        if answer.code() != "AA" {
            break answer;
        }
        acknowledged += 1;
    };
    assert!(["AE", "AR"].contains(&refusal.code()) && refusal.has_error(), "{}", refusal.text());
    assert!(acknowledged > 20, "{acknowledged} before the disk was full");
    assert!(daemon.is_alive());
    assert_eq!(kept(&daemon).len(), acknowledged, "what was acknowledged, and nothing else");
    // Still full: still told, still alive.
    assert_ne!(connection.ask(message(acknowledged)).code(), "AA");
    std::fs::remove_file(format!("/proc/{}/root{}", daemon.id(), site.path("data/ballast").display())).unwrap();
    eventually("the work to go on", || {
        connection.write(&framed(message(acknowledged).as_bytes()));
        match connection.receive(PATIENCE) {
            Received::Frame(content) => (crate::support::hl7::Ack::parse(&content).code() == "AA").then_some(()),
            other => panic!("no answer: {other:?}"),
        }
    });
    assert_eq!(kept(&daemon).len(), acknowledged + 1);
}
