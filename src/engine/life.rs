//! Life cycle of one child, run by one task from start to exit. Only this task owns the process, so all of
//! its state is here.

use std::sync::{Arc, atomic::AtomicBool};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    admission::admit,
    child::{LaunchSpec, Process},
    fit::Fit,
    locate, memory,
    model_slot::{ChildState, Failure, Key, Life, Running},
    starts::{Starts, Suspicion},
    state::{Shared, shutting_down},
    usage,
    watch::{Fault, Trouble, Watched, watch, watch_loading},
};
use crate::{
    error::{Error, Kind, Result},
    model_store::Entry,
};

/// Request to start a child.
struct StartRequest {
    key: Key,
    entry: Arc<Entry>,
    fit: Fit,
    stop: CancellationToken,
    state: watch::Sender<ChildState>,
}

/// State of a model's child when a request arrives.
pub(super) enum Standing {
    Starting,
    /// Ready; not unloaded before the lease ends.
    Leased(Running),
    /// Draining: accepts no more requests, at most until this time.
    Going(Option<Instant>),
}

/// Unplanned exit of a child.
struct Death {
    failure: Failure,
    /// Time for which the child had been running; `None` if it was never started.
    ran: Option<Duration>,
}

/// Counts a lease if the model's child is ready, and starts a child if there is none. The only place that
/// does either.
pub(super) fn lease_or_start(
    shared: &Arc<Shared>,
    key: &Key,
    entry: &Arc<Entry>,
) -> Result<(watch::Receiver<ChildState>, Standing)> {
    let fit = shared.fit(entry, key.role());
    let mut table = shared.table();
    if shared.shutdown.is_cancelled() {
        return Err(shutting_down());
    }
    let Some(model_slot) = table.get_mut(key) else {
        return Err(Error::new(Kind::Internal, "The engine lost track of a model."));
    };
    if let Some(life) = &mut model_slot.life {
        // Models that share their weights may state different contexts: the largest serves them all.
        if life.fit.context < fit.context && !life.is_outdated {
            life.is_outdated = true;
            shared.changed.send_replace(());
        }
        let standing = match &*life.state.borrow() {
            _ if life.stop.is_cancelled() || life.is_outdated => Standing::Going(None),
            ChildState::Running(_) if life.is_draining() => Standing::Going(life.draining_until),
            ChildState::Running(running) => {
                model_slot.leases += 1;
                if model_slot.leases == 1 {
                    // From now on it may be drained.
                    shared.changed.send_replace(());
                }
                Standing::Leased(running.clone())
            }
            ChildState::Starting => Standing::Starting,
            ChildState::Ended(_) => Standing::Going(None),
        };
        return Ok((life.state.clone(), standing));
    }
    if let Some(refusal) = model_slot.crashes.refusal() {
        return Err(refusal);
    }
    let (state, states) = watch::channel(ChildState::Starting);
    let stop = shared.shutdown.child_token();
    model_slot.life = Some(Life {
        name: entry.name.to_string(),
        digest: entry.weights_digest.clone(),
        fit,
        admitted: false,
        is_outdated: false,
        draining_until: None,
        stop: stop.clone(),
        state: states.clone(),
    });
    drop(table);
    let request = StartRequest { key: key.clone(), entry: Arc::clone(entry), fit, stop, state };
    shared.tasks.spawn_on(live(Arc::clone(shared), request), &shared.runtime);
    Ok((states, Standing::Starting))
}

async fn live(shared: Arc<Shared>, request: StartRequest) {
    let starts = Arc::new(Starts::default());
    let mut death = run(&shared, &request, &starts).await.err();
    let has_run = |death: &Death| death.ran.is_some_and(|ran| !ran.is_zero());
    if death.as_ref().is_some_and(|death| !has_run(death)) && is_removed(&shared, &request.entry).await {
        let message = format!("The model {} was removed while it was being loaded.", request.entry.name);
        death = Some(Death { failure: Failure::new(Kind::NotFound, message, ""), ran: None });
    }
    if let Some(Death { failure, ran: Some(_) }) = &mut death {
        report(&request, failure);
    }
    let suspect = death.as_ref().and_then(|death| death.failure.suspect());
    if let Some(model_slot) = shared.table().get_mut(&request.key) {
        model_slot.life = None;
        if let Some(Death { failure, ran: Some(ran) }) = &death
            && !model_slot.excuses(suspect, starts.has_answered())
        {
            model_slot.crashes.record(&request.entry.name.to_string(), failure.clone(), *ran);
        }
    }
    if let Some(Suspicion::One(suspect)) = suspect {
        shared.refusals.blame(suspect.request, Instant::now());
    }
    request.state.send_replace(ChildState::Ended(death.map(|death| death.failure)));
    shared.changed.send_replace(());
}

async fn run(shared: &Shared, request: &StartRequest, starts: &Arc<Starts>) -> Result<(), Death> {
    let never_started = |failure| Death { failure, ran: None };
    let asked = Instant::now();
    // Before others are unloaded for it: the first time, this takes two seconds for each GB.
    let prepared = async {
        shared.fits(&request.key)?;
        verify(shared, request).await?;
        admit(shared, &request.key).await
    };
    tokio::select! {
        biased;
        () = request.stop.cancelled() => return Ok(()),
        prepared = prepared => prepared.map_err(never_started)?,
    }
    let process = start(shared, request).await.map_err(never_started)?;
    let Some(process) = load(shared, request, process).await? else { return Ok(()) };
    let load_ms = asked.elapsed().as_millis();
    tracing::info!(model = %request.entry.name, role = %request.key.role(), pid = process.pid(), context = request.fit.context, load_ms, "model loaded");
    serve(shared, request, process, starts).await
}

/// Waits until the model is loaded; `None` if it is no longer needed.
async fn load(
    shared: &Shared,
    request: &StartRequest,
    mut process: Process,
) -> Result<Option<Process>, Death> {
    let ceiling = memory::loading_ceiling(request.fit.memory.total(), shared.budget);
    let pid = process.pid();
    let outgrown = async {
        match pid {
            Some(pid) => watch_loading(pid, ceiling).await,
            None => std::future::pending().await,
        }
    };
    let failure = tokio::select! {
        () = request.stop.cancelled() => {
            process.terminate().await;
            return Ok(None);
        }
        ready = process.ready(shared.settings.start_timeout()) => match ready {
            Ok(()) => return Ok(Some(process)),
            Err(failure) => failure,
        },
        Trouble { fault, .. } = outgrown => process.does_not_load(fault),
    };
    process.kill().await;
    Err(Death { failure, ran: Some(Duration::ZERO) })
}

/// Serves requests until the child exits, is stopped, or has to be killed.
async fn serve(
    shared: &Shared,
    request: &StartRequest,
    mut process: Process,
    starts: &Arc<Starts>,
) -> Result<(), Death> {
    let began = Instant::now();
    if let Some(model_slot) = shared.table().get_mut(&request.key) {
        model_slot.last_used = began;
    }
    let client = process.client();
    let is_held_up = Arc::new(AtomicBool::new(false));
    let running = Running {
        client: client.clone(),
        context: request.fit.context,
        pid: process.pid(),
        since: Timestamp::now(),
        starts: Arc::clone(starts),
        is_held_up: Arc::clone(&is_held_up),
    };
    // A process without an id has been reaped, which `ended` reports.
    let pid = process.pid().unwrap_or(u32::MAX);
    let (estimate, tokens) = (request.fit.memory.total(), request.fit.tokens());
    let ceiling = memory::ceiling(estimate, usage::memory(pid), tokens, shared.budget);
    let watched = Watched { client: &client, pid, ceiling, starts, is_held_up: &is_held_up };
    request.state.send_replace(ChildState::Running(running));
    shared.changed.send_replace(());
    let failure = tokio::select! {
        () = request.stop.cancelled() => {
            process.terminate().await;
            tracing::info!(model = %request.entry.name, role = %request.key.role(), "model unloaded");
            return Ok(());
        }
        failure = process.ended() => failure.suspecting(starts.suspect(Instant::now())),
        Trouble { fault, began } = watch(watched, || shared.is_used(&request.key)) => {
            // A process that stands still has rather been stopped from outside than by a request.
            let suspect = if fault == Fault::Silent { Some(Suspicion::Several) } else { starts.suspect(began) };
            let failure = process.offends(fault).suspecting(suspect);
            process.kill().await;
            failure
        }
    };
    Err(Death { failure, ran: Some(began.elapsed()) })
}

/// Whether the model is not installed any more.
async fn is_removed(shared: &Shared, entry: &Entry) -> bool {
    let (model_store, name) = (shared.model_store.clone(), entry.name.clone());
    spawn_blocking(move || model_store.find(&name)).await.is_ok_and(|found| matches!(found, Ok(None)))
}

/// Logs an exit here, because there may be no request that could report it; the last lines are logged nowhere
/// else.
fn report(request: &StartRequest, failure: &mut Failure) {
    let (model, role) = (&request.entry.name, request.key.role());
    let last_lines = std::mem::take(&mut failure.last_lines);
    let cause = failure.clone().into_error().chain();
    tracing::warn!(%model, %role, "{cause}");
    for line in last_lines {
        tracing::warn!(%model, %role, "llama-server: {line}");
    }
}

/// Verifies the model's files. Stops hashing soon after the start request is canceled.
async fn verify(shared: &Shared, request: &StartRequest) -> Result<(), Failure> {
    let (model_store, entry, stop) =
        (shared.model_store.clone(), Arc::clone(&request.entry), request.stop.clone());
    match spawn_blocking(move || model_store.verify(&entry, &stop)).await {
        Ok(verified) => verified.map_err(Failure::from),
        Err(source) => {
            Err(Failure::new(Kind::Internal, "Checking the model's files failed.", source.to_string()))
        }
    }
}

async fn start(shared: &Shared, request: &StartRequest) -> Result<Process, Failure> {
    let settings = &shared.settings;
    let program = locate::find(settings, &shared.data_dir).map_err(Failure::from)?;
    let socket = shared.folder.socket().map_err(|source| {
        let message = "The directory for the engine's sockets was removed and cannot be created again.";
        Failure::new(Kind::Setup, message, source.to_string())
    })?;
    let spec = LaunchSpec {
        program,
        entry: Arc::clone(&request.entry),
        role: request.key.role(),
        socket,
        slots: request.fit.slots,
        context: request.fit.context,
        threads: settings.threads(),
        gpu_layers: settings.engine_gpu_layers,
    };
    Process::start(&shared.spawner, spec).await
}
