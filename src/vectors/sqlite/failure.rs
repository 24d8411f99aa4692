//! Why an operation did not succeed: a refusal that is the caller's business, or a failure of the file.

use crate::error::Error;

pub(super) enum Failure {
    Refused(Error),
    Sqlite(sqlx::Error),
}

pub(super) type Outcome<T> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlite(error)
    }
}
