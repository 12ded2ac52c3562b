//! `gate64 translate`: translates a capture offline.

use std::io::{self, BufReader, BufWriter, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::constants::{CONFIG, USAGE};
use super::exit;
use crate::addr::WorkerId;
use crate::config::{self, Config};
use crate::control::host_info::UnknownHost;
use crate::device::pcap::{Content, PcapError, Reader, Writer};
use crate::output::errln;
use crate::replay::{Explanation, Replay, Sent};
use crate::time::Instant;

#[derive(Args, Debug)]
pub(super) struct TranslateArgs {
    /// Configuration file of the gateway.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Translate the packets of one side only: v6 = IPv6 packets, v4 = IPv4 packets. Default: both.
    /// For captures that also contain packets sent by the gateway.
    #[arg(long, value_name = "SIDE")]
    side: Option<Side>,
    /// Print the verdict on each packet, and its rule or drop reason, to standard error.
    #[arg(long)]
    explain: bool,
    /// Keep the clock running until this long after the first packet, so that timers expire: "300s",
    /// "5m", "2h". With a leading plus ("+6s"): until this long after the last packet.
    #[arg(long, value_name = "TIME", value_parser = Until::parse)]
    until: Option<Until>,
    /// Seed of all random choices.
    #[arg(long, value_name = "NUMBER", default_value_t = 64)]
    seed: u64,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    V6,
    V4,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Until {
    AfterFirst(Duration),
    AfterLast(Duration),
}

impl Until {
    fn parse(text: &str) -> Result<Self, String> {
        let after_last = text.strip_prefix('+');
        let time = config::duration(after_last.unwrap_or(text));
        let time = time.ok_or("not a time: expected a number and a unit, such as 800ms, 300s, 5m or 2h")?;
        Ok(if after_last.is_some() { Self::AfterLast(time) } else { Self::AfterFirst(time) })
    }
}

/// Why a capture was not translated completely.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("standard input: {0}")]
    Input(#[from] PcapError),
    #[error("standard output: {0}")]
    Output(io::Error),
    #[error("standard error: {0}")]
    Explanation(io::Error),
}

/// Translates standard input.
pub(super) fn translate(args: &TranslateArgs) -> ExitCode {
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let (input, output) = (io::stdin(), io::stdout());
    if input.is_terminal() || (output.is_terminal() && !args.explain) {
        errln!(
            "gate64: redirect standard input and output: gate64 translate --config FILE < in.pcap > out.pcap"
        );
        return ExitCode::from(USAGE);
    }
    let output: Box<dyn Write> =
        if output.is_terminal() { Box::new(io::sink()) } else { Box::new(output.lock()) };
    let mut explanation = args.explain.then(|| Explanation::new(io::stderr().lock()));
    if args.explain {
        config.warnings.iter().for_each(|warning| errln!("warning: {warning}"));
    }
    let settings = config.worker(WorkerId(0), 1, args.seed, args.seed as u32);
    let mut run =
        Translation { args, replay: Replay::new(settings), explanation: explanation.as_mut(), first: None };
    exit::end(run.all(BufReader::new(input.lock()), BufWriter::new(output)))
}

fn load(path: &Path) -> Result<Config, ExitCode> {
    Config::load(path, &UnknownHost::new()).map_err(|why| exit::refuse(&why))
}

/// The translation of one capture.
struct Translation<'a, W: Write> {
    args: &'a TranslateArgs,
    replay: Replay,
    explanation: Option<&'a mut Explanation<W>>,
    /// When the first frame was captured.
    first: Option<Instant>,
}

impl<W: Write> Translation<'_, W> {
    /// Translates the readable part of the capture: up to the damage, if it is damaged or truncated.
    /// Afterwards timers run until the end that `--until` sets.
    fn all(&mut self, input: impl Read, output: impl Write) -> Result<(), Failure> {
        let mut writer = Writer::new(output).map_err(Failure::Output)?;
        let read = match Reader::new(input) {
            Ok(mut reader) => self.frames(&mut reader, &mut writer),
            Err(why) => Err(why.into()),
        };
        if let Err(Failure::Input(_)) | Ok(()) = read {
            let end = match self.args.until {
                Some(Until::AfterFirst(time)) => self.first.unwrap_or_default() + time,
                Some(Until::AfterLast(time)) => self.replay.now() + time,
                None => self.replay.now(),
            };
            self.advance(end, &mut writer)?;
            writer.flush().map_err(Failure::Output)?;
            if let Some(explanation) = &mut self.explanation {
                explanation.end().map_err(Failure::Explanation)?;
            }
        }
        read
    }

    fn frames(
        &mut self,
        reader: &mut Reader<impl Read>,
        writer: &mut Writer<impl Write>,
    ) -> Result<(), Failure> {
        while let Some(frame) = reader.next_frame()? {
            let at = Instant::ZERO + frame.at;
            self.first.get_or_insert(at);
            self.advance(at, writer)?;
            let replayed = match frame.content {
                Content::Packet(packet) if self.is_selected(packet) => {
                    self.replay.translate(packet).map(|outcome| (packet, outcome))
                }
                Content::Packet(_) | Content::NotIp | Content::LinkType(_) => None,
            };
            if let Some((_, outcome)) = &replayed {
                write(writer, &outcome.sent)?;
            }
            // The replay clock ignores timestamps that go back.
            let at = self.replay.now();
            let Some(explanation) = &mut self.explanation else { continue };
            let written = match (replayed, frame.content) {
                (Some((packet, mut outcome)), _) => {
                    self.replay.find_session(packet, &mut outcome);
                    explanation.packet(frame.number, at, frame.missing, packet, &outcome)
                }
                (None, Content::Packet(packet)) if packet.len() > crate::wire::buf::MAX_PACKET => {
                    explanation.skipped(frame.number, at, "skipped: longer than any packet")
                }
                (None, Content::Packet(_)) => {
                    explanation.skipped(frame.number, at, "skipped: not from the selected side")
                }
                (None, Content::NotIp) => explanation.skipped(frame.number, at, "skipped: not IP"),
                (None, Content::LinkType(link)) => {
                    let why = format!("skipped: link type {link} is not supported");
                    explanation.skipped(frame.number, at, why)
                }
            };
            written.map_err(Failure::Explanation)?;
        }
        Ok(())
    }

    fn is_selected(&self, packet: &[u8]) -> bool {
        let version = packet.first().map(|byte| byte >> 4);
        match self.args.side {
            None => true,
            Some(Side::V6) => version == Some(6),
            Some(Side::V4) => version == Some(4),
        }
    }

    /// Advances the clock to `until` and writes the packets that timers send.
    fn advance(&mut self, until: Instant, writer: &mut Writer<impl Write>) -> Result<(), Failure> {
        let sent = self.replay.advance(until);
        write(writer, &sent)?;
        match &mut self.explanation {
            Some(explanation) => explanation.timers(&sent).map_err(Failure::Explanation),
            None => Ok(()),
        }
    }
}

fn write(writer: &mut Writer<impl Write>, sent: &[Sent]) -> Result<(), Failure> {
    let since = |at: Instant| at.since(Instant::ZERO);
    sent.iter().try_for_each(|one| writer.write(since(one.at), &one.bytes)).map_err(Failure::Output)
}
