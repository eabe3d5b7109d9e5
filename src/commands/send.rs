//! `heyi send`: an MLLP client that sends files and prints each answer.

use std::io::Read;
use std::path::PathBuf;

use super::{Verdict, answer, output};
use crate::app::FILE_EXTENSIONS;
use crate::hl7v2::batch::Piece;
use crate::hl7v2::{CharsetSetting, header};
use crate::source::client::{Client, Settings};
use crate::source::files::{MessageReader, walk};
use crate::tls::ClientFiles;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where to send to, HOST:PORT.
    #[arg(value_name = "ADDR")]
    address: String,
    /// Files of messages (single, concatenated, batches), directories, or `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Speak TLS.
    #[arg(long)]
    tls: bool,
    /// Trust this authority's certificates, PEM.
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// Read the files in this character set and send them in it; the default is to send the bytes as they are.
    #[arg(long, value_name = "NAME")]
    charset: Option<CharsetSetting>,
    /// Print the whole answers.
    #[arg(long)]
    verbose: bool,
}

/// Longest message sent; the listener has its own limit.
const LIMIT: usize = 1 << 30;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(send_all(arguments))
}

async fn send_all(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let tls = arguments.tls.then(|| ClientFiles { ca: arguments.ca.clone(), identity: None });
    let settings = Settings { address: arguments.address.clone(), tls, limits: Default::default() };
    let mut client = Client::connect(&settings).await?;
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    for source in readers(&arguments.files) {
        let (name, reader) = source?;
        for piece in MessageReader::new(reader, LIMIT) {
            let Piece::Message(message) = piece? else {
                output::complain(&format!("{name}: a message beyond 1 GiB was left out"));
                refused += 1;
                continue;
            };
            let answer = client.exchange(&message).await?;
            if report(arguments, &name, &message, &answer)? { accepted += 1 } else { refused += 1 }
        }
    }
    output::line(format!("{accepted} accepted, {refused} not accepted"))?;
    Ok(if refused == 0 { Verdict::Fine } else { Verdict::Wrong })
}

/// What to read, with a name for messages.
fn readers(files: &[PathBuf]) -> impl Iterator<Item = anyhow::Result<(String, Box<dyn Read>)>> {
    let extensions = FILE_EXTENSIONS.map(str::to_owned);
    files.iter().flat_map(move |path| -> Vec<anyhow::Result<(String, Box<dyn Read>)>> {
        if path.as_os_str() == "-" {
            return vec![Ok(("-".to_owned(), Box::new(std::io::stdin())))];
        }
        walk(std::slice::from_ref(path), &extensions)
            .map(|found| {
                let found = found?;
                let file = std::fs::File::open(&found)?;
                Ok((found.display().to_string(), Box::new(file) as Box<dyn Read>))
            })
            .collect()
    })
}

/// Prints one answer; true if it is positive.
fn report(arguments: &Arguments, name: &str, message: &[u8], answer: &[u8]) -> anyhow::Result<bool> {
    let setting = arguments.charset.unwrap_or(CharsetSetting::Auto);
    let sent = header::peek(message, &setting);
    let answer = answer::read(answer);
    let mut line =
        format!("{name}: {}^{} {} → {}", sent.message_type, sent.trigger_event, sent.control_id, answer.code);
    for error in &answer.errors {
        line.push_str(&format!(" {error}"));
    }
    output::line(line)?;
    if arguments.verbose {
        for segment in &answer.segments {
            output::line(format!("    {segment}"))?;
        }
    }
    Ok(answer.is_positive())
}
