//! AA means kept: before an answer leaves, the commit that holds its message has reached the disk.
//!
//! `kill -9` cannot show a missing fsync, because the kernel keeps what was written; the order of the system calls can.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::eventually;
use crate::support::hl7::registration;
use crate::support::site::{Site, ended};

const MESSAGES: usize = 20;

#[test]
fn every_answer_follows_a_flush_of_the_log() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: strace is not installed, the order of flush and answer was not seen");
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    let trace = site.path("trace.txt");
    let mut tracer = Command::new("strace")
        .args(["-f", "-y", "-s", "8", "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg", "-o"])
        .arg(&trace)
        .args(["-p", &daemon.id().to_string()])
        .stderr(std::fs::File::create(site.path("strace.log")).unwrap())
        .spawn()
        .unwrap();
    let attached = || std::fs::read_to_string(site.path("strace.log")).unwrap();
    eventually("strace to attach or give up", || {
        (attached().contains("attached") || tracer.try_wait().unwrap().is_some()).then_some(())
    });
    if !attached().contains("attached") {
        eprintln!("SKIPPED: strace may not attach here: {}", attached());
        return;
    }
    let mut connection = daemon.connect("his");
    for index in 0..MESSAGES {
        let id = format!("C{index}");
        assert_eq!(connection.ask(registration(&id, &id, "张^伟")).code(), "AA");
    }
    drop(connection);
    daemon.kill();
    ended(&mut tracer, Duration::from_secs(10)).expect("strace ends with what it traces");
    let calls = std::fs::read_to_string(trace).unwrap();
    let (mut flushed, mut answers) = (false, 0);
    for call in calls.lines() {
        // A call that another thread interrupts is written in two lines; the flush counts from its return.
        let returned = call.trim_end().ends_with("= 0");
        if call.contains("sync(") && call.contains("-wal") && returned || call.contains("sync resumed>") && returned {
            flushed = true;
        } else if call.contains("\"\\vMSH") {
            assert!(flushed, "an answer left before a flush of the log:\n{calls}");
            (flushed, answers) = (false, answers + 1);
        }
    }
    assert_eq!(answers, MESSAGES, "the answers are seen in the trace:\n{calls}");
}
