//! Why an operation did not succeed: a refusal that is the caller's business, or a fault of Qdrant.

use std::time::Duration;

use qdrant_client::QdrantError;
use tonic::{Code, Status};

use crate::error::{Error, Kind};

/// Time after which asking again makes sense.
const RETRY_AFTER: Duration = Duration::from_secs(2);

pub(super) enum Failure {
    Refused(Error),
    /// With what Qdrant or the connection said.
    Qdrant(Fault, String),
}

pub(super) type Outcome<T> = Result<T, Failure>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No collection of this name, for Qdrant.
    Missing,
    Unreachable,
    Timeout,
    Tls,
    Key,
    /// The port speaks something else than gRPC.
    Protocol,
    Full,
    Rejected,
    /// A point that Simpleton has not written like that.
    Damaged,
}

impl Fault {
    /// Whether the next request would fail like this one.
    pub(super) fn is_lasting(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Tls)
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Missing => "Qdrant no longer has the vectors of this collection",
            Self::Unreachable => "Qdrant cannot be reached",
            Self::Timeout => "Qdrant did not respond in time",
            Self::Tls => "The TLS connection to Qdrant failed",
            Self::Key => "Qdrant rejected the API key",
            Self::Protocol => "The port in QDRANT_URL does not speak gRPC",
            Self::Full => "Qdrant's disk is full",
            Self::Rejected => "Qdrant rejected a request",
            Self::Damaged => "Qdrant has documents that Simpleton cannot read",
        }
    }

    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "start it, or correct QDRANT_URL: the port is that of its gRPC API, 6334 unless it was changed"
            }
            Self::Timeout => "check its load and its log, or correct QDRANT_URL",
            Self::Tls => "use http:// if Qdrant has no TLS; SSL_CERT_FILE can name the certificates to trust",
            Self::Key => "set QDRANT_API_KEY to its key",
            Self::Protocol => "use the port of Qdrant's gRPC API, 6334 unless it was changed",
            Self::Full => "free space on it",
            Self::Rejected => "check its log and its version: 1.17 or later is needed",
            Self::Missing | Self::Damaged => {
                "restore Qdrant's data from a backup, or delete the collection and ingest its documents again"
            }
        }
    }
}

impl Failure {
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Qdrant(Fault::Missing, _))
    }

    /// The error for the caller, with the cause and the advice for the log.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Qdrant(fault, said) => {
                Error::new(Kind::Unavailable, format!("{}. The server's log says more.", fault.message()))
                    .retry_after(RETRY_AFTER)
                    .with_source(format!("{}: {said}", fault.advice()))
            }
        }
    }

    /// The same for the person who starts the server.
    pub(super) fn into_setup_error(self, shown: &str) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Qdrant(fault, said) => {
                let message = format!("{} ({shown}); {}.", fault.message(), fault.advice());
                Error::new(Kind::Setup, message).with_source(said)
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<QdrantError> for Failure {
    fn from(error: QdrantError) -> Self {
        match error {
            QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
                Self::from_status(&status)
            }
            other => Self::Qdrant(Fault::Rejected, other.to_string()),
        }
    }
}

impl Failure {
    fn from_status(status: &Status) -> Self {
        // With the causes, which the message leaves out.
        let said = format!("{status:?}");
        Self::Qdrant(fault(status, &said), said)
    }
}

fn fault(status: &Status, said: &str) -> Fault {
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match status.code() {
        Code::NotFound => Fault::Missing,
        Code::Unauthenticated | Code::PermissionDenied => Fault::Key,
        Code::DeadlineExceeded => Fault::Timeout,
        Code::Cancelled if says(&["Timeout expired"]) => Fault::Timeout,
        _ if says(&["No space left", "available disk space"]) => Fault::Full,
        _ if status.message().starts_with("Failed to connect") => {
            let is_tls =
                ["Certificate", "Tls", "InvalidContentType", "CorruptMessage", "Handshake", "AlertReceived"];
            if says(&is_tls) {
                Fault::Tls
            } else if says(&["TimedOut", "Elapsed", "deadline"]) {
                Fault::Timeout
            } else {
                Fault::Unreachable
            }
        }
        // A server of HTTP/1.1 answers HTTP/2 with what is no frame.
        _ if says(&["FRAME_SIZE_ERROR", "PROTOCOL_ERROR", "HTTP_1_1_REQUIRED"]) => Fault::Protocol,
        Code::Unimplemented => Fault::Protocol,
        Code::Unavailable | Code::Unknown | Code::Cancelled => Fault::Unreachable,
        Code::Internal if says(&["h2 protocol error", "transport error", "BrokenPipe"]) => Fault::Unreachable,
        _ => Fault::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_apart() {
        for (status, expected) in [
            (Status::not_found("Collection `x` doesn't exist!"), Fault::Missing),
            (Status::unauthenticated("Must provide an API key"), Fault::Key),
            (Status::permission_denied("Invalid API key"), Fault::Key),
            (Status::deadline_exceeded("Timeout expired"), Fault::Timeout),
            (Status::cancelled("Timeout expired"), Fault::Timeout),
            (Status::internal("Failed to connect to http://h:1/: tcp connect error"), Fault::Unreachable),
            (
                Status::internal("Failed to connect to https://h:1/: InvalidCertificate(UnknownIssuer)"),
                Fault::Tls,
            ),
            (Status::internal("Failed to connect to http://h:1/: Custom { kind: TimedOut }"), Fault::Timeout),
            (Status::internal("h2 protocol error: FRAME_SIZE_ERROR"), Fault::Protocol),
            (Status::internal("Service internal error: No space left on device"), Fault::Full),
            (Status::unavailable("transport error"), Fault::Unreachable),
            (Status::unknown("transport error"), Fault::Unreachable),
            (Status::invalid_argument("Wrong input"), Fault::Rejected),
        ] {
            assert_eq!(fault(&status, &format!("{status:?}")), expected, "{status:?}");
        }
    }
}
