//! What a consumer says that it holds: read from an address, or from a command's output, while the rehearsal goes on.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

/// Whoever does not answer by then holds nothing that could be compared.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at whether a command has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Where to read it.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// GET of this address.
    Url(reqwest::Client, reqwest::Url),
    /// What this prints, run by `sh -c`.
    Command(String),
}

impl Held {
    /// What the consumer holds, as docs/rehearse.md has it.
    ///
    /// # Errors
    /// It cannot be read, or is no JSON object.
    pub(super) async fn read(&self) -> anyhow::Result<Value> {
        let text = match self {
            Held::Url(client, url) => {
                let answer =
                    client.get(url.clone()).timeout(PATIENCE).send().await.context("--state is not answered")?;
                answer.error_for_status().context("--state")?.text().await.context("--state breaks off")?
            }
            Held::Command(command) => {
                let command = command.clone();
                tokio::task::spawn_blocking(move || output_of(&command)).await??
            }
        };
        let state: Value = serde_json::from_str(&text).context("what the consumer says that it holds is not JSON")?;
        if !state.is_object() {
            bail!("what the consumer says that it holds is no JSON object: see docs/rehearse.md");
        }
        Ok(state)
    }
}

/// What a command prints; its complaints go where ours go.
fn output_of(command: &str) -> anyhow::Result<String> {
    let mut child = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("its output")?;
    let reader = std::thread::spawn(move || std::io::read_to_string(stdout));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("--state-command did not end within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(LOOK);
    };
    let text = reader.join().map_err(|_| anyhow::anyhow!("--state-command: its output cannot be read"))??;
    if !status.success() {
        bail!("--state-command ended with {status}");
    }
    Ok(text)
}
