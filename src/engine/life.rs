//! The life of one child, told by one task from beginning to end. Nobody else holds the process, so
//! there is no state of it that is not in these lines.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    admission::admit,
    child::{LOOK_EVERY, Plan, Process, hung},
    locate,
    place::{Failure, Key, Phase, Running},
    pool::Shared,
};
use crate::{error::Kind, library::Entry};

/// Who wants a child for what.
pub(super) struct Order {
    pub(super) key: Key,
    pub(super) entry: Arc<Entry>,
    pub(super) stop: CancellationToken,
    pub(super) phase: watch::Sender<Phase>,
}

/// How a life ended that was not ended on purpose.
struct Death {
    failure: Failure,
    /// How long the child had been running; `None` when it was never started.
    ran: Option<Duration>,
}

pub(super) async fn live(shared: Arc<Shared>, order: Order) {
    let death = run(&shared, &order).await.err();
    if let Some(place) = shared.table().get_mut(&order.key) {
        place.life = None;
        if let Some(Death { failure, ran: Some(ran) }) = &death {
            place.crashes.record(&order.entry.name.to_string(), failure.clone(), *ran);
        }
    }
    order.phase.send_replace(Phase::Ended(death.map(|death| death.failure)));
    shared.changed.send_replace(());
}

async fn run(shared: &Shared, order: &Order) -> Result<(), Death> {
    let never_started = |failure| Death { failure, ran: None };
    let asked = Instant::now();
    // Before others are sent away for it: the first time this takes two seconds for each GB.
    let prepared = async {
        shared.fits(&order.key)?;
        verify(shared, order).await?;
        admit(shared, &order.key).await
    };
    tokio::select! {
        biased;
        () = order.stop.cancelled() => return Ok(()),
        prepared = prepared => prepared.map_err(never_started)?,
    }
    let mut process = start(shared, order).await.map_err(never_started)?;
    let ready = tokio::select! {
        () = order.stop.cancelled() => None,
        ready = process.ready(shared.settings.start_timeout()) => Some(ready),
    };
    match ready {
        None => {
            process.terminate().await;
            return Ok(());
        }
        Some(Err(failure)) => {
            process.terminate().await;
            return Err(Death { failure, ran: Some(Duration::ZERO) });
        }
        Some(Ok(())) => {}
    }
    let load_ms = asked.elapsed().as_millis();
    tracing::info!(model = %order.entry.name, role = %order.key.role(), pid = process.pid(), load_ms, "model loaded");
    let began = Instant::now();
    if let Some(place) = shared.table().get_mut(&order.key) {
        place.last_used = began;
    }
    let client = process.client();
    let running = Running { client: client.clone(), pid: process.pid(), since: Timestamp::now() };
    order.phase.send_replace(Phase::Running(running));
    shared.changed.send_replace(());
    tokio::select! {
        () = order.stop.cancelled() => {
            process.terminate().await;
            tracing::info!(model = %order.entry.name, role = %order.key.role(), "model unloaded");
            Ok(())
        }
        failure = process.ended() => Err(died(order, failure, began)),
        () = hung(&client, LOOK_EVERY, || shared.is_used(&order.key)) => {
            let failure = process.hangs();
            process.terminate().await;
            Err(died(order, failure, began))
        }
    }
}

/// Logged here, since it may have had no request that could report it.
fn died(order: &Order, failure: Failure, began: Instant) -> Death {
    let cause = failure.clone().into_error().chain();
    tracing::warn!(model = %order.entry.name, role = %order.key.role(), "{cause}");
    Death { failure, ran: Some(began.elapsed()) }
}

/// Whether the model's files are what they should be. The hash ends soon after the order's stop.
async fn verify(shared: &Shared, order: &Order) -> Result<(), Failure> {
    let (library, entry, stop) = (shared.library.clone(), Arc::clone(&order.entry), order.stop.clone());
    match spawn_blocking(move || library.verify(&entry, &stop)).await {
        Ok(verified) => verified.map_err(Failure::from),
        Err(source) => {
            Err(Failure::new(Kind::Internal, "Checking the model's files failed.", source.to_string()))
        }
    }
}

async fn start(shared: &Shared, order: &Order) -> Result<Process, Failure> {
    let settings = &shared.settings;
    let program = locate::find(settings, &shared.data_dir).map_err(Failure::from)?;
    let socket = shared.folder.socket().map_err(|source| {
        let message = "The folder for the engine's sockets is gone and cannot be made again.";
        Failure::new(Kind::Setup, message, source.to_string())
    })?;
    let plan = Plan {
        program,
        entry: Arc::clone(&order.entry),
        role: order.key.role(),
        socket,
        slots: settings.engine_parallel,
        context: settings.context_per_slot(&order.entry),
        threads: settings.threads(),
    };
    Process::start(&shared.spawner, plan).await
}
