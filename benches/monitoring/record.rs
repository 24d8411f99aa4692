//! Recording one request: from its arrival to what all sinks have taken of it, on one thread and on
//! several at once.

use std::{
    hint::black_box,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use simpleton::{
    config::{Sources, load},
    http::route_labels,
    request_context::Context,
    telemetry::{
        Monitoring, labels,
        recorder::{RequestRecorder, RequestStart},
    },
    types::{CacheStatus, KeyId, Usage},
};

use crate::support::{
    Result,
    report::{Values, Verdicts, heading},
};

const ROUNDS: usize = 100;
const REQUESTS: u32 = 10_000;

pub fn measure(verdicts: &mut Verdicts) -> Result<()> {
    let threads = thread::available_parallelism()?.get();
    heading("Recording one request");
    let (_, config) = load(&Sources::default());
    let config = config.map_err(|_| "the default settings do not load")?;
    let (monitoring, _) = Monitoring::new(&config.telemetry, &route_labels())?;
    for threads in [1, threads.max(2)] {
        let (mut took, mut collecting) = (Values::default(), Values::default());
        let before = monitoring.aggregator.recent(60).requests;
        for round in 0..=ROUNDS {
            let each = thread::scope(|scope| {
                let running: Vec<_> =
                    (0..threads).map(|_| scope.spawn(|| record_many(&monitoring))).collect();
                running.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
            });
            // What the store does behind the scenes.
            let began = Instant::now();
            let recorded = monitoring.aggregator.recent(60).requests - before;
            collecting.add(began.elapsed().as_secs_f64() * 1e6);
            if recorded != (round as u64 + 1) * threads as u64 * u64::from(REQUESTS) {
                return Err(format!("{recorded} requests were recorded").into());
            }
            for took_each in each {
                let took_each = took_each.map_err(|_| "a thread panicked")?;
                if round > 0 {
                    took.add(took_each.as_secs_f64() * 1e9 / f64::from(REQUESTS));
                }
            }
        }
        println!(
            "  {threads} threads: median {:.0} ns, worst {:.0} ns; to collect them all takes {:.0} µs",
            took.median(),
            took.quantile(1.0),
            collecting.median()
        );
        verdicts.add(
            &format!("recording one request, {threads} threads at once"),
            format!("{:.2} µs", took.median() / 1e3),
            "<= 2 µs",
            took.median() <= 2_000.0,
        );
    }
    Ok(())
}

fn record_many(monitoring: &Monitoring) -> Duration {
    let began = Instant::now();
    for _ in 0..REQUESTS {
        let recorder = RequestRecorder::begin(
            monitoring.sinks.clone(),
            RequestStart {
                context: Arc::new(Context::new(None, None, None)),
                method: labels::method("POST"),
                endpoint: monitoring.metrics.route(Some("/inference/chat")),
                path: "/inference/chat".to_owned(),
            },
        );
        recorder.key(KeyId::new([1, 2, 3, 4]));
        recorder.cache(CacheStatus::Miss { stored: Arc::default() });
        recorder.backend("ollama");
        recorder.received(200);
        recorder.first_token();
        recorder.usage(Usage { prompt_tokens: 7, completion_tokens: 100, ..Usage::default() });
        recorder.sent(1000);
        recorder.complete(200);
        drop(black_box(recorder));
    }
    began.elapsed()
}
