//! `gate64 translate`: a capture in, what the gateway would send out.

use std::io::{self, BufReader, BufWriter, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::USAGE;
use crate::addr::WorkerId;
use crate::control::config::{self, Config, LoadError};
use crate::control::surroundings::Elsewhere;
use crate::device::pcap::{Content, PcapError, Reader, Writer};
use crate::replay::{Explanation, Replay, Sent};
use crate::time::Instant;

#[derive(Args, Debug)]
pub(super) struct TranslateArgs {
    /// The configuration file of the gateway.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// Put in the packets of one side only: v6 the IPv6 packets, v4 the IPv4 packets. Without it
    /// both are put in, each from the side of its IP version. For captures that have more than what
    /// came to the gateway from outside, such as what it sent itself.
    #[arg(long, value_name = "SIDE")]
    side: Option<Side>,
    /// Say on standard error what becomes of each packet, and by which rule or for which reason.
    #[arg(long)]
    explain: bool,
    /// Go on after the last packet until this long after the first, so that timers run out: "300s",
    /// "5m", "2h". With a plus in front, as "+6s", until this long after the last packet.
    #[arg(long, value_name = "TIME", value_parser = Until::parse)]
    until: Option<Until>,
    /// What all chance follows from.
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
        let time = time.ok_or("a time is a number and a unit, such as 800ms, 300s, 5m or 2h")?;
        Ok(if after_last.is_some() { Self::AfterLast(time) } else { Self::AfterFirst(time) })
    }
}

/// Why a capture was not translated to its end.
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
        eprintln!("gate64: captures go through pipes: gate64 translate --config FILE < in.pcap > out.pcap");
        return ExitCode::from(USAGE);
    }
    let output: Box<dyn Write> =
        if output.is_terminal() { Box::new(io::sink()) } else { Box::new(output.lock()) };
    let mut explanation = args.explain.then(|| Explanation::new(io::stderr().lock()));
    if args.explain {
        config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
    let settings = config.worker(WorkerId(0), 1, args.seed, args.seed as u32);
    let mut run = Run { args, replay: Replay::new(settings), explanation: explanation.as_mut(), first: None };
    match run.all(BufReader::new(input.lock()), BufWriter::new(output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("gate64: {why}");
            ExitCode::FAILURE
        }
    }
}

fn load(path: &Path) -> Result<Config, ExitCode> {
    Config::load(path, &Elsewhere::new()).map_err(|why| {
        match why {
            LoadError::Config(why) => eprintln!("{why}"),
            why @ LoadError::Read { .. } => eprintln!("gate64: {why}"),
        }
        ExitCode::from(USAGE)
    })
}

/// One capture on its way.
struct Run<'a, W: Write> {
    args: &'a TranslateArgs,
    replay: Replay,
    explanation: Option<&'a mut Explanation<W>>,
    /// When the first frame was captured.
    first: Option<Instant>,
}

impl<W: Write> Run<'_, W> {
    /// Translates what can be read. Of a capture that is cut off or damaged this is what comes
    /// before the damage; timers run on after that as well.
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
            self.pass(end, &mut writer)?;
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
            self.pass(at, writer)?;
            let put = match frame.content {
                Content::Packet(packet) if self.wanted(packet) => {
                    self.replay.put(packet).map(|outcome| (packet, outcome))
                }
                Content::Packet(_) | Content::NotIp | Content::LinkType(_) => None,
            };
            if let Some((_, outcome)) = &put {
                write(writer, &outcome.sent)?;
            }
            // A clock that was set back is not followed.
            let at = self.replay.now();
            let Some(explanation) = &mut self.explanation else { continue };
            let said = match (put, frame.content) {
                (Some((packet, outcome)), _) => {
                    explanation.packet(frame.number, at, frame.missing, packet, &outcome)
                }
                (None, Content::Packet(packet)) if packet.len() > crate::wire::buf::MAX_PACKET => {
                    explanation.passed_over(frame.number, at, "passed over: longer than any packet")
                }
                (None, Content::Packet(_)) => {
                    explanation.passed_over(frame.number, at, "passed over: not of the side asked for")
                }
                (None, Content::NotIp) => explanation.passed_over(frame.number, at, "passed over: not IP"),
                (None, Content::LinkType(link)) => {
                    let why = format!("passed over: its link type {link} is not read");
                    explanation.passed_over(frame.number, at, why)
                }
            };
            said.map_err(Failure::Explanation)?;
        }
        Ok(())
    }

    fn wanted(&self, packet: &[u8]) -> bool {
        let version = packet.first().map(|byte| byte >> 4);
        match self.args.side {
            None => true,
            Some(Side::V6) => version == Some(6),
            Some(Side::V4) => version == Some(4),
        }
    }

    /// Lets time pass.
    fn pass(&mut self, until: Instant, writer: &mut Writer<impl Write>) -> Result<(), Failure> {
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
