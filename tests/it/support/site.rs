//! A hospital's installation on disk: configuration, mappings, store, all in a directory of its own.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::daemon::Daemon;

/// A command that has not ended by then hangs.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

/// See the module. Everything is removed when it is dropped.
pub(crate) struct Site {
    root: TempDir,
    consumer: OnceLock<String>,
    engineer: OnceLock<String>,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Checks the exit status.
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.stdout))
    }
}

/// The tests' standard configuration: sources `his` and `lis`, both read by the base mapping, on free ports.
/// `mllp` is added to the listener of `his` (`, charset = "GB18030"`), `more` to the end.
pub(crate) fn configuration(mllp: &str, more: &str) -> String {
    format!(
        r#"
[store]
path = "data/heyi.db"

[http]
listen = "127.0.0.1:0"

[[sources]]
name = "his"
mapping = "mappings/hl7v2.toml"
time_zone = "Asia/Shanghai"
authorities = ["HIS"]
mllp = {{ listen = "127.0.0.1:0"{mllp} }}

[[sources]]
name = "lis"
mapping = "mappings/hl7v2.toml"
time_zone = "Asia/Shanghai"
mllp = {{ listen = "127.0.0.1:0" }}

{more}
"#
    )
}

impl Site {
    /// With the standard configuration.
    pub(crate) fn new() -> Self {
        Self::configured(&configuration("", ""))
    }

    /// With `configuration` as `config/heyi.toml` and the mappings and policies that ship.
    pub(crate) fn configured(configuration: &str) -> Self {
        let site = Self {
            root: tempfile::Builder::new().prefix("heyi-test-").tempdir().expect("a temporary directory"),
            consumer: OnceLock::new(),
            engineer: OnceLock::new(),
        };
        for folder in ["mappings", "policies"] {
            copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &site.path(folder));
        }
        site.write("config/heyi.toml", configuration);
        site
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Writes a file below the site and gives its path.
    pub(crate) fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().expect("a file in a directory")).expect("a directory");
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// `heyi` with this site's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heyi"));
        command.arg("--config").arg(self.path("config/heyi.toml")).args(arguments);
        command.current_dir(self.root.path()).env_remove("HEYI_CONFIG").env_remove("RUST_LOG");
        command
    }

    /// Runs `heyi` with `arguments` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, b"")
    }

    /// As [`Site::run`], with `input` on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Run {
        finish(self.command(arguments), input, &arguments.join(" "))
    }

    /// Runs a command that succeeds and prints JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.run(arguments).exits(0).json()
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn start(&self) -> Daemon<'_> {
        Daemon::start(self, &[])
    }

    /// As [`Site::start`], with arguments before `serve`, such as `--log`.
    pub(crate) fn start_with(&self, arguments: &[&str]) -> Daemon<'_> {
        Daemon::start(self, arguments)
    }

    /// A new API token.
    pub(crate) fn token(&self, name: &str, role: &str) -> String {
        let made = self.json(&["token", "create", name, "--role", role, "--json"]);
        assert_eq!((made["name"].as_str(), made["role"].as_str()), (Some(name), Some(role)), "{made}");
        made["token"].as_str().expect("a secret").to_owned()
    }

    /// The token of consumer `crm`, made once.
    pub(crate) fn consumer(&self) -> &str {
        self.consumer.get_or_init(|| self.token("crm", "consumer"))
    }

    /// The token of an engineer, made once.
    pub(crate) fn engineer(&self) -> &str {
        self.engineer.get_or_init(|| self.token("engineer", "engineer"))
    }

    /// Stored messages, newest or oldest first as the product lists them; `filter` as in `message list`.
    pub(crate) fn messages(&self, filter: &[&str]) -> Vec<Value> {
        let mut arguments = vec!["message", "list", "--json"];
        arguments.extend_from_slice(filter);
        let listed = self.json(&arguments);
        listed["messages"].as_array().unwrap_or_else(|| panic!("no messages: {listed}")).clone()
    }
}

/// Runs `command` to its end, which must come by itself.
pub(crate) fn finish(mut command: Command, input: &[u8], what: &str) -> Run {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let stdout = drained(child.stdout.take().expect("stdout"));
    let stderr = drained(child.stderr.take().expect("stderr"));
    let mut stdin = child.stdin.take().expect("stdin");
    let input = input.to_vec();
    // A command may end without reading its input; that is its own affair.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let status = ended(&mut child, COMMAND_PATIENCE);
    if status.is_none() {
        child.kill().expect("a process that can be ended");
        child.wait().expect("its end");
    }
    writer.join().expect("the writer");
    let run = |status| Run {
        status,
        stdout: stdout.join().expect("the reader of stdout"),
        stderr: stderr.join().expect("the reader of stderr"),
    };
    match status {
        Some(status) => run(status),
        None => panic!("{what}: did not end within {COMMAND_PATIENCE:?}"),
    }
}

/// Waits for the end of `child`, no longer than `within`.
pub(crate) fn ended(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn drained(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("output");
        String::from_utf8(bytes).expect("output in UTF-8")
    })
}

/// Copies a directory with all that is below it.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
