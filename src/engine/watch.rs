//! Watchdog of a child: limits its memory, and the time for which one request may block all others. A child
//! over a limit is killed; docs/adr/0022 describes how a busy child differs from one that hangs.

use std::{
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::{
    starts::Starts,
    usage::{self, Memory, ProcessorTime},
};
use crate::http_client::{Client, Request};

/// Interval between two checks of a child in use. A grammar can grow by 400 MB a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const IDLE_LOOK_EVERY: Duration = Duration::from_secs(1);
/// Processor time that the loop may spend without answering a probe. Between two answers it works for
/// milliseconds, or tenths of a second with a large grammar on a small machine.
pub(super) const HELD_UP_LIMIT: Duration = Duration::from_secs(5);
/// Time for which it may neither answer nor use the processor.
pub(super) const SILENT_LIMIT: Duration = Duration::from_secs(30);
/// Time after which a child is reported as held up.
const HELD_UP_AFTER: Duration = Duration::from_secs(2);
/// Smallest difference between two remembered levels.
const LEVEL_BYTES: u64 = 1_000_000;
/// Growth below this rate is not caused by one request.
const OF_LATE: Duration = Duration::from_secs(60);
/// Processor time that loading may take in a single thread while no more of the model is read.
pub(super) const STUCK_LIMIT: Duration = Duration::from_secs(60);

/// Why a child has to be killed, and since when: requests begun later are not at fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trouble {
    pub(super) fault: Fault,
    pub(super) began: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// Uses more than this many bytes.
    Outgrew(u64),
    /// Its loop computes without answering probes.
    HeldUp,
    /// Neither computes nor answers probes.
    Silent,
    /// Computes without loading.
    Stuck,
}

/// A child with a loaded model.
pub(super) struct Watched<'a> {
    pub(super) client: &'a Client,
    pub(super) pid: u32,
    /// Memory limit in bytes.
    pub(super) ceiling: u64,
    pub(super) starts: &'a Starts,
    /// Set while its loop is blocked.
    pub(super) is_held_up: &'a AtomicBool,
}

/// Completes when the child has to be killed. Its loop is probed while the child is in use, and until it has
/// answered.
pub(super) async fn watch(child: Watched<'_>, is_used: impl Fn() -> bool) -> Trouble {
    let mut growth = Growth::new(child.ceiling);
    let mut question: Option<Question<'_>> = None;
    loop {
        let now = Instant::now();
        let held = usage::memory(child.pid).map(|memory| memory.held);
        if let Some(trouble) = held.and_then(|held| growth.look(held, now)) {
            return trouble;
        }
        if question.is_none() && is_used() {
            question = Some(Question::new(child.client, child.pid, now));
        }
        let Some(asked) = &mut question else {
            // The first request after an idle time is noticed at once.
            drop(timeout(IDLE_LOOK_EVERY, child.starts.begun()).await);
            continue;
        };
        if timeout(LOOK_EVERY, asked.answered()).await.is_ok() {
            question = None;
            child.is_held_up.store(false, Relaxed);
            sleep(LOOK_EVERY).await;
            continue;
        }
        let time = usage::processor_time(child.pid).unwrap_or_default();
        if let Some(fault) = asked.patience.look(time, Instant::now()) {
            return Trouble { fault, began: asked.at };
        }
        child.is_held_up.store(asked.patience.is_noticed(), Relaxed);
    }
}

/// Completes when a child has to be killed while it loads its model.
pub(super) async fn watch_loading(pid: u32, ceiling: u64) -> Trouble {
    let mut growth = Growth::new(ceiling);
    let mut progress = Progress::default();
    loop {
        let now = Instant::now();
        if let Some(memory) = usage::memory(pid) {
            if let Some(trouble) = growth.look(memory.held, now) {
                return trouble;
            }
            let time = usage::processor_time(pid).unwrap_or_default();
            if progress.look(memory, time) {
                return Trouble { fault: Fault::Stuck, began: now };
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

/// A probe that the child's loop has to answer.
struct Question<'a> {
    client: &'a Client,
    at: Instant,
    answer: Pin<Box<dyn Future<Output = bool> + Send + 'a>>,
    patience: Patience,
}

impl<'a> Question<'a> {
    fn new(client: &'a Client, pid: u32, now: Instant) -> Self {
        let patience = Patience::new(usage::processor_time(pid).unwrap_or_default(), now);
        Self { client, at: now, answer: ask(client), patience }
    }

    /// Completes when there is an answer. Repeated if the child accepts no connections.
    async fn answered(&mut self) {
        while !self.answer.as_mut().await {
            self.answer = ask(self.client);
            sleep(LOOK_EVERY).await;
        }
    }
}

fn ask(client: &Client) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
    Box::pin(async { client.send(Request::get("/metrics")).await.is_ok() })
}

/// Time for which a probe has been unanswered, in processor time, which passes slowly where a child shares its
/// processors.
struct Patience {
    at: Instant,
    time: ProcessorTime,
    worked: Duration,
    silent: Duration,
}

impl Patience {
    fn new(time: ProcessorTime, at: Instant) -> Self {
        Self { at, time, worked: Duration::ZERO, silent: Duration::ZERO }
    }

    /// Notes another check without an answer.
    fn look(&mut self, time: ProcessorTime, now: Instant) -> Option<Fault> {
        let worked = time.since(self.time).first_thread;
        // A late check says more about this machine than about the child.
        let passed = (now - self.at).min(10 * LOOK_EVERY);
        (self.at, self.time) = (now, time);
        self.worked += worked;
        self.silent = if worked.is_zero() { self.silent + passed } else { Duration::ZERO };
        match () {
            () if self.worked >= HELD_UP_LIMIT => Some(Fault::HeldUp),
            () if self.silent >= SILENT_LIMIT => Some(Fault::Silent),
            () => None,
        }
    }

    fn is_noticed(&self) -> bool {
        self.worked + self.silent >= HELD_UP_AFTER
    }
}

/// Growth of a child's memory.
struct Growth {
    ceiling: u64,
    /// Levels below the present one, each with the last time at which the child was that small.
    levels: Vec<(u64, Instant)>,
}

impl Growth {
    fn new(ceiling: u64) -> Self {
        Self { ceiling, levels: Vec::new() }
    }

    fn look(&mut self, held: u64, now: Instant) -> Option<Trouble> {
        while self.levels.pop_if(|(level, _)| *level + LEVEL_BYTES > held).is_some() {}
        self.levels.push((held, now));
        (held > self.ceiling)
            .then(|| Trouble { fault: Fault::Outgrew(self.ceiling), began: self.began(held, now) })
    }

    /// Returns the time of the check after the first tenth of the recent growth: the request that causes it
    /// began before.
    fn began(&self, held: u64, now: Instant) -> Instant {
        let is_old = |(_, at): &&(u64, Instant)| now.saturating_duration_since(*at) > OF_LATE;
        let low = self.levels.iter().rfind(is_old).or(self.levels.first()).map_or(0, |(level, _)| *level);
        let mark = low + (held - low) / 10;
        self.levels.iter().filter(|(level, _)| *level > mark).nth(1).map_or(now, |(_, at)| *at)
    }
}

/// Progress of loading: more of the model has been read, or several threads compute.
#[derive(Default)]
struct Progress {
    resident: u64,
    time: ProcessorTime,
    alone: Duration,
}

impl Progress {
    /// True when there has been no progress for too long.
    fn look(&mut self, memory: Memory, time: ProcessorTime) -> bool {
        let worked = time.since(self.time);
        let others = worked.all_threads.saturating_sub(worked.first_thread);
        let moves =
            memory.resident.abs_diff(self.resident) > LEVEL_BYTES / 2 || others > worked.first_thread / 10;
        (self.resident, self.time) = (memory.resident, time);
        self.alone = if moves { Duration::ZERO } else { self.alone + worked.first_thread };
        self.alone >= STUCK_LIMIT
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;
    use crate::http_client::{Target, Timeouts};

    /// Checks a child that does not answer, at this interval, with this much processor time in each.
    fn looks(times: impl IntoIterator<Item = (Duration, Duration)>) -> Option<Fault> {
        let (mut now, mut time) = (Instant::now(), ProcessorTime::default());
        let mut patience = Patience::new(time, now);
        times.into_iter().find_map(|(passed, worked)| {
            now += passed;
            time.first_thread += worked;
            patience.look(time, now)
        })
    }

    #[test]
    fn a_loop_that_computes_without_answering_is_held_up() {
        let (look, work) = (LOOK_EVERY, LOOK_EVERY);
        assert_eq!(looks([(look, work); 49]), None);
        assert_eq!(looks([(look, work); 50]), Some(Fault::HeldUp));
    }

    #[test]
    fn a_loop_that_gets_no_processor_is_given_time() {
        // A fortieth of a processor, for three minutes.
        let starved = [(LOOK_EVERY, Duration::ZERO), (LOOK_EVERY, Duration::from_millis(5))];
        assert_eq!(looks(starved.into_iter().cycle().take(1800)), None);
        assert_eq!(looks([(LOOK_EVERY, Duration::ZERO); 299]), None);
        assert_eq!(looks([(LOOK_EVERY, Duration::ZERO); 300]), Some(Fault::Silent));
        assert_eq!(looks([(Duration::from_secs(3600), Duration::ZERO); 20]), None, "the machine slept");
    }

    #[test]
    fn growth_is_told_from_its_beginning() {
        let (mut growth, now) = (Growth::new(1_000_000_000), Instant::now());
        let at = |look: u32| now + look * LOOK_EVERY;
        let looked = [880, 900, 890, 900, 900, 909, 949, 949, 989, 1029];
        let mut troubles = (0..).zip(looked).map(|(n, held)| growth.look(held * 1_000_000, at(n)));
        assert_eq!(troubles.by_ref().take(9).flatten().next(), None);
        let began = troubles.next().flatten().map(|trouble| trouble.began);
        assert_eq!(began, Some(at(5)), "also when it got no processor for a while");
        assert_eq!(growth.look(900_000_000, at(10)), None, "it may fall");
        // Earlier growth does not count.
        let later = at(10) + 2 * OF_LATE;
        assert_eq!(growth.look(905_000_000, later), None);
        let trouble = growth.look(1_100_000_000, later + LOOK_EVERY);
        assert_eq!(trouble.map(|trouble| trouble.began), Some(later + LOOK_EVERY));
    }

    #[test]
    fn loading_makes_progress_when_anything_does() {
        let second = Duration::from_secs(1);
        let stuck = |grows: u64, others: Duration| {
            let (mut progress, mut time) = (Progress::default(), ProcessorTime::default());
            (1..=120).any(|n| {
                time.first_thread += second;
                time.all_threads += second + others;
                progress.look(Memory { held: 0, reserved: 0, resident: 50_000_000 + n * grows }, time)
            })
        };
        assert!(stuck(0, Duration::ZERO));
        assert!(!stuck(1_000_000, Duration::ZERO), "weights are read");
        assert!(!stuck(0, second), "a batch is computed");
    }

    /// A child whose loop answers only when the test lets it.
    #[tokio::test]
    async fn a_child_in_use_is_asked_and_one_that_is_not_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let minute = Duration::from_secs(60);
        let timeouts = Timeouts { connect: minute, first_byte: minute, idle: minute };
        let client = Client::new("The engine", Target::Unix(path), timeouts).expect("a client");
        let (starts, is_held_up) = (Starts::default(), AtomicBool::new(false));
        let watched = || Watched {
            client: &client,
            pid: std::process::id(),
            ceiling: u64::MAX,
            starts: &starts,
            is_held_up: &is_held_up,
        };
        let a_while = Duration::from_millis(500);
        assert!(timeout(a_while, watch(watched(), || false)).await.is_err());
        assert!(timeout(a_while, listener.accept()).await.is_err(), "nobody asks");

        let answer = async {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a question");
                let mut asked = [0; 1024];
                assert!(stream.read(&mut asked).await.is_ok_and(|length| length > 0));
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                stream.write_all(answer).await.expect("who asked reads");
            }
        };
        tokio::select! {
            trouble = watch(watched(), || true) => panic!("it answers: {trouble:?}"),
            () = answer => unreachable!("it is asked on and on"),
            () = sleep(2 * a_while) => {}
        }
        let small = Watched { ceiling: 1, ..watched() };
        assert!(matches!(watch(small, || false).await.fault, Fault::Outgrew(1)));
    }
}
