//! `heyi send`: an MLLP client that sends files and prints each answer.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;

use super::answer::{self, Answer};
use super::{Verdict, output};
use crate::app::FILE_EXTENSIONS;
use crate::hl7v2::batch::Piece;
use crate::hl7v2::{Charset, CharsetSetting, Header, Limits, header, text};
use crate::source::client::{Client, Settings};
use crate::source::files::{MessageReader, walk};
use crate::tls::ClientFiles;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where to send to, HOST:PORT.
    #[arg(value_name = "ADDR", value_parser = address)]
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
    /// Send in this character set, whatever the files are in; MSH-18 stays as written. The default sends the bytes as they are.
    #[arg(long, value_name = "NAME", value_parser = charset)]
    charset: Option<Charset>,
    /// Print the whole answers.
    #[arg(long)]
    verbose: bool,
}

fn address(text: &str) -> Result<String, &'static str> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if matches!(port, Some(Ok(_))) {
        Ok(text.to_owned())
    } else {
        Err("expected HOST:PORT, for example 127.0.0.1:2575")
    }
}

fn charset(name: &str) -> Result<Charset, String> {
    Charset::from_label(name).ok_or_else(|| "not a known character set, such as UTF-8 or GB18030".to_owned())
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
        let before = accepted + refused;
        for piece in MessageReader::new(reader, LIMIT) {
            let Piece::Message(message) = piece? else {
                output::complain(&format!("{name}: a message beyond 1 GiB was left out"));
                refused += 1;
                continue;
            };
            let message = match arguments.charset {
                Some(charset) => converted(&message, charset).with_context(|| name.clone())?,
                None => message,
            };
            if exchange(&mut client, arguments, &name, &message).await? { accepted += 1 } else { refused += 1 }
        }
        if accepted + refused == before {
            output::complain(&format!("{name}: no line starts with MSH: nothing was sent"));
            refused += 1;
        }
    }
    output::line(format!("{accepted} accepted, {refused} not accepted"))?;
    Ok(if refused == 0 { Verdict::Fine } else { Verdict::Wrong })
}

/// The message in another character set; MSH-18 stays as it is written.
fn converted(message: &[u8], charset: Charset) -> anyhow::Result<Vec<u8>> {
    let read = text::decode(message, &CharsetSetting::Auto, &Limits::default())?;
    let written = charset.encode(&read.text);
    if charset.decode(&written).is_ok_and(|back| back == read.text) {
        return Ok(written);
    }
    anyhow::bail!("a message holds characters that {charset} does not have")
}

/// Sends one message and prints its answers; true if all are positive.
async fn exchange(client: &mut Client, arguments: &Arguments, name: &str, message: &[u8]) -> anyhow::Result<bool> {
    let setting = arguments.charset.map_or(CharsetSetting::Auto, CharsetSetting::Forced);
    let header = header::peek(message, &setting);
    let answer = answer::read(&client.exchange(message).await?);
    report(arguments, name, &header, &answer)?;
    // Enhanced mode: what the application says follows the word that the message is kept.
    if answer.code != "CA" || header.application_acknowledgement != "AL" {
        return Ok(answer.is_positive());
    }
    let second = answer::read(&client.answer().await?);
    report(arguments, name, &header, &second)?;
    Ok(second.is_positive())
}

/// A name for messages, and where to read.
type Input = (String, Box<dyn Read>);

/// What to read. Files are opened one after the other.
fn readers(files: &[PathBuf]) -> impl Iterator<Item = anyhow::Result<Input>> {
    files.iter().flat_map(|path| -> Box<dyn Iterator<Item = anyhow::Result<Input>>> {
        if path.as_os_str() == "-" {
            let input: Box<dyn Read> = Box::new(std::io::stdin());
            return Box::new(std::iter::once(Ok(("-".to_owned(), input))));
        }
        let found = walk(std::slice::from_ref(path), &FILE_EXTENSIONS.map(str::to_owned));
        Box::new(found.map(|found| {
            let found = found?;
            let file: Box<dyn Read> = Box::new(std::fs::File::open(&found)?);
            Ok((found.display().to_string(), file))
        }))
    })
}

fn report(arguments: &Arguments, name: &str, sent: &Header, answer: &Answer) -> anyhow::Result<()> {
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
    Ok(())
}
