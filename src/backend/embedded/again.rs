//! Asks again what a child was asked that died of another's request: once, and only as long as nothing of the
//! answer has been passed on, so that its caller does not notice.

use std::sync::Arc;

use async_stream::stream;
use futures_util::StreamExt;

use crate::{
    backend::ChatStream,
    engine::{Fingerprint, Lease},
    error::{Error, Kind, Result},
    types::ChatEvent,
};

/// Gives what `ask` does of a child, which is called a second time at most.
///
/// # Errors
/// Those of `ask`; when the child has died, why.
pub(super) async fn once<T, F: Future<Output = Result<T>>>(
    mut lease: Lease,
    request: Fingerprint,
    ask: impl Fn(Arc<Lease>) -> F,
) -> Result<(T, Arc<Lease>)> {
    lease.begin(request);
    let lease = Arc::new(lease);
    match ask(Arc::clone(&lease)).await {
        Ok(answer) => Ok((answer, lease)),
        Err(error) => {
            let lease = Arc::new(renewed(lease, error, request).await?);
            match ask(Arc::clone(&lease)).await {
                Ok(answer) => Ok((answer, lease)),
                Err(error) => Err(explained(&lease, error).await),
            }
        }
    }
}

/// The same of an answer that arrives bit by bit.
///
/// # Errors
/// As `once`, before the answer begins.
pub(super) async fn stream<F>(
    lease: Lease,
    request: Fingerprint,
    ask: impl Fn(Arc<Lease>) -> F + Send + Sync + 'static,
) -> Result<ChatStream>
where
    F: Future<Output = Result<ChatStream>> + Send,
{
    let (mut events, mut lease) = once(lease, request, &ask).await?;
    Ok(Box::pin(stream! {
        let mut may_ask_again = !lease.is_renewed();
        loop {
            match events.next().await {
                Some(Ok(event)) => {
                    if matches!(event, ChatEvent::Done(_)) {
                        lease.finished();
                    } else {
                        lease.said();
                    }
                    may_ask_again = false;
                    yield Ok(event);
                }
                Some(Err(error)) if may_ask_again => {
                    may_ask_again = false;
                    // It holds the lease, too.
                    drop(events);
                    let again = async {
                        let lease = Arc::new(renewed(lease, error, request).await?);
                        let events = ask(Arc::clone(&lease)).await;
                        match events {
                            Ok(events) => Ok((events, lease)),
                            Err(error) => Err(explained(&lease, error).await),
                        }
                    };
                    match again.await {
                        Ok(again) => (events, lease) = again,
                        Err(error) => {
                            yield Err(error);
                            return;
                        }
                    }
                }
                Some(Err(error)) => {
                    yield Err(explained(&lease, error).await);
                    return;
                }
                None => return,
            }
        }
    }))
}

/// A lease on the next child, when the last one has died of another's request.
async fn renewed(lease: Arc<Lease>, error: Error, request: Fingerprint) -> Result<Lease> {
    if !may_be_a_death(&error) {
        return Err(error);
    }
    let Some(death) = lease.post_mortem().await else { return Err(error) };
    match Arc::into_inner(lease).filter(|_| death.is_anothers_fault) {
        Some(lease) => lease.renew(request).await,
        None => Err(death.error),
    }
}

/// When the child's process has died, that is the reason for whatever was seen of it.
async fn explained(lease: &Lease, error: Error) -> Error {
    if !may_be_a_death(&error) {
        return error;
    }
    lease.post_mortem().await.map_or(error, |death| death.error)
}

fn may_be_a_death(error: &Error) -> bool {
    matches!(error.kind(), Kind::BadGateway | Kind::Unavailable)
}
