//! Failures of SQLite by what helps against them.

use std::io;

/// Classification of SQLite failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no room; waiting helps.
    Full,
    /// The file is not what we wrote; only a new one helps.
    Damaged,
    /// Anything else: no permission, a failing disk, a lock.
    Refused,
}

impl Fault {
    /// Primary result codes: <https://www.sqlite.org/rescode.html>.
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        // Our statements are fixed: SQLite finding them wrong (1), a constraint broken (19) or a
        // column of another type (decode errors) means that the file is not ours any more.
        const DAMAGED: [i32; 5] = [1, 11, 19, 20, 26];
        const FULL: i32 = 13;
        // The file ends before it should.
        const SHORT_READ: i32 = 522;
        if let sqlx::Error::Io(error) = error {
            return if error.kind() == io::ErrorKind::StorageFull { Self::Full } else { Self::Refused };
        }
        let Some(database) = error.as_database_error() else {
            let decode = matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. });
            return if decode { Self::Damaged } else { Self::Refused };
        };
        let extended = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
        match extended & 0xff {
            FULL => Self::Full,
            _ if extended == SHORT_READ => Self::Damaged,
            code if DAMAGED.contains(&code) => Self::Damaged,
            _ => Self::Refused,
        }
    }
}
