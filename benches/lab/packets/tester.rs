//! Trials: sends streams of frames at a rate and counts the arriving ones.

use std::io;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::frame::{self, Arrived};
use super::ring::{Generator, Sink};
use super::sys;

/// Frames of one stream sent in a row.
const BURST: u64 = 32;
/// A longer send of so few frames was interrupted by another process.
const INTERRUPTED: Duration = Duration::from_micros(500);
/// A trial ends when no frame arrives for this long.
const SILENCE: Duration = Duration::from_millis(20);
/// Maximum wait for late frames.
const MAX_WAIT: Duration = Duration::from_millis(600);

/// The two sides of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Zone = 0,
    Internet = 1,
}

/// Frames sent in order, repeatedly.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    pub(crate) from: Side,
    pub(crate) frames: &'a [Vec<u8>],
    /// Frames per second.
    pub(crate) rate: f64,
    /// The trial in the frames' tags; 0 if they have no tags and are not expected to arrive.
    pub(crate) trial: u16,
    /// Whether each frame carries its send time.
    pub(crate) stamped: bool,
}

/// The result of a stream.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Count {
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
    /// The generator or the sink was too slow.
    pub(crate) limited: bool,
    /// The fraction of the rate that was reached, 0 to 1.
    pub(crate) kept: f64,
    /// Seconds spent in send system calls, without interrupted ones.
    pub(crate) sending: f64,
    /// One-way delays in nanoseconds, of a stamped stream.
    pub(crate) delays: Vec<u64>,
}

/// How long to send: for a time, or each frame once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    For(Duration),
    Once,
}

/// A generator and a sink on each side.
#[derive(Debug)]
pub(crate) struct Tester {
    generators: [Generator; 2],
    sinks: [Sink; 2],
    cpu: usize,
}

impl Count {
    /// The loss ratio, 0 to 1.
    pub(crate) fn loss(&self) -> f64 {
        1.0 - self.arrived.min(self.sent) as f64 / self.sent.max(1) as f64
    }
}

fn time_of_day() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the sink's ring uses the time of day too")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

impl Tester {
    /// A tester pinned to `cpu`, on two interfaces given as (namespace, name).
    pub(crate) fn new(zone: (&str, &str), internet: (&str, &str), cpu: usize) -> io::Result<Self> {
        Ok(Self {
            generators: [Generator::new(zone.0, zone.1)?, Generator::new(internet.0, internet.1)?],
            sinks: [Sink::new(zone.0, zone.1)?, Sink::new(internet.0, internet.1)?],
            cpu,
        })
    }

    /// Sends the streams and counts their arriving frames on both sides. Calls `watch` for each.
    pub(crate) fn run(
        &mut self,
        streams: &[Stream<'_>],
        length: Length,
        mut watch: impl FnMut(&Arrived) + Send,
    ) -> io::Result<Vec<Count>> {
        let mut counts = vec![Count::default(); streams.len()];
        let cpu = self.cpu;
        thread::scope(|scope| {
            let work = || -> io::Result<()> {
                sys::pin_to_cpu(cpu)?;
                self.listen(usize::MAX, streams, &mut vec![Count::default(); streams.len()], &mut |_| {});
                let lost = self.overflows();
                self.send(streams, length, &mut counts, &mut watch)?;
                self.wait(streams, &mut counts, &mut watch);
                let overflown = self.overflows() != lost;
                counts.iter_mut().for_each(|count| count.limited |= overflown);
                Ok(())
            };
            scope.spawn(work).join().expect("the tester does not panic")
        })?;
        Ok(counts)
    }

    fn send(
        &mut self,
        streams: &[Stream<'_>],
        length: Length,
        counts: &mut [Count],
        watch: &mut impl FnMut(&Arrived),
    ) -> io::Result<()> {
        let start = now();
        loop {
            let past = start.elapsed();
            let over = match length {
                Length::For(length) => past >= length,
                Length::Once => {
                    streams.iter().zip(counts.iter()).all(|(s, c)| c.sent >= s.frames.len() as u64)
                }
            };
            if over {
                for (stream, count) in streams.iter().zip(counts) {
                    let due = (stream.rate * past.as_secs_f64()).max(1.0);
                    count.kept = (count.sent as f64 / due).min(1.0);
                    count.limited = (count.sent as f64) < 0.97 * due - BURST as f64;
                }
                return Ok(());
            }
            for (stream, count) in streams.iter().zip(counts.iter_mut()) {
                let most = if length == Length::Once { stream.frames.len() as u64 } else { u64::MAX };
                let due = ((stream.rate * past.as_secs_f64()) as u64).min(most);
                self.put(stream, due.saturating_sub(count.sent).min(BURST), count);
            }
            for side in [Side::Zone, Side::Internet] {
                self.flush(side, streams, counts)?;
            }
            self.listen(128, streams, counts, watch);
        }
    }

    /// Sends the pending frames of one side. Adds the time to that side's first stream.
    fn flush(&mut self, side: Side, streams: &[Stream<'_>], counts: &mut [Count]) -> io::Result<()> {
        let generator = &mut self.generators[side as usize];
        if generator.is_empty() {
            return Ok(());
        }
        let before = now();
        generator.flush()?;
        let elapsed = before.elapsed();
        let first = streams.iter().position(|s| s.from == side);
        if let Some(at) = first.filter(|_| elapsed < INTERRUPTED) {
            counts[at].sending += elapsed.as_secs_f64();
        }
        Ok(())
    }

    fn put(&mut self, stream: &Stream<'_>, many: u64, count: &mut Count) {
        let generator = &mut self.generators[stream.from as usize];
        for _ in 0..many {
            let frame = &stream.frames[(count.sent % stream.frames.len() as u64) as usize];
            let finish = |bytes: &mut [u8]| {
                if stream.stamped {
                    frame::stamp(bytes, time_of_day());
                }
            };
            if !generator.put(frame, finish) {
                return;
            }
            count.sent += 1;
        }
    }

    /// Processes at most `max` arrived frames per side. Returns their number.
    fn listen(
        &mut self,
        max: usize,
        streams: &[Stream<'_>],
        counts: &mut [Count],
        watch: &mut impl FnMut(&Arrived),
    ) -> usize {
        let mut seen = 0;
        for sink in &mut self.sinks {
            seen += sink.drain(max, |one| {
                let Some(arrived) = frame::read(one.bytes, one.length, one.segment) else { return };
                let Some(at) = streams.iter().position(|s| s.trial != 0 && s.trial == arrived.tag.trial)
                else {
                    return;
                };
                counts[at].arrived += arrived.packets;
                if streams[at].stamped {
                    counts[at].delays.push(one.at.saturating_sub(arrived.tag.sent));
                }
                watch(&arrived);
            });
        }
        seen
    }

    /// Waits for late frames.
    fn wait(&mut self, streams: &[Stream<'_>], counts: &mut [Count], watch: &mut impl FnMut(&Arrived)) {
        let start = now();
        let mut last = start;
        while start.elapsed() < MAX_WAIT && last.elapsed() < SILENCE {
            if self.listen(1024, streams, counts, watch) > 0 {
                last = now();
            }
        }
    }

    fn overflows(&mut self) -> u64 {
        self.sinks.iter_mut().map(Sink::overflows).sum()
    }
}
