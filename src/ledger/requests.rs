//! Requests: what other processes ask of the one that holds the ledger.
//!
//! They write into one table, beside the epoch, and follow their rows to the end. The holder looks for new rows, takes
//! them up, and writes down how each one ended. A row that was not taken up can be withdrawn by whoever asked.

use sqlx::sqlite::SqlitePool;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::letter_box::LetterBox;
use super::open::version;
use super::pool::pool;
use super::{Ledger, LedgerError, OpenOptions, RunId, file};
use crate::clock::{SharedClock, iso};
use crate::model::RunResult;

/// A request's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) i64);

/// What is asked of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRequest {
    /// What to do, such as `run`.
    pub kind: String,
    /// The job's name.
    pub job: String,
    /// What the kind needs beside the job.
    pub argument: Option<String>,
}

/// A request that was taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its row.
    pub id: RequestId,
    /// What is asked.
    pub asked: NewRequest,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestEnd {
    /// How.
    pub result: RunResult,
    /// Why, when it is not done.
    pub message: Option<String>,
    /// The pass that was made for it.
    pub run: Option<RunId>,
}

/// How far a request has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestProgress {
    /// Nobody has taken it up.
    Asked,
    /// It is not there any more: the holder ended without taking it up, and its successor takes up no old ones.
    Gone,
    /// It was taken up.
    Taken,
    /// It is over.
    Finished(RequestEnd),
}

/// Whether the process that holds the ledger takes requests.
const IS_SERVED: &str = "SELECT count(DISTINCT value) = 1 FROM meta WHERE name IN ('epoch', 'serving')";

/// The holder's side.
impl Ledger {
    /// Announces that this process takes requests. What an earlier one left behind is settled first: whoever asked for
    /// what was taken up is told that it ended, and nobody waits any more for what was not.
    pub async fn serve_requests(&self) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM requests WHERE taken_at IS NULL").execute(&mut *tx).await?;
        sqlx::query(
            "UPDATE requests SET finished_at = ?1, result = 'interrupted', \
             message = 'the process that worked on it ended; ask again' WHERE finished_at IS NULL",
        )
        .bind(self.now())
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE meta SET value = ?1 WHERE name = 'serving'")
            .bind(self.epoch.to_string())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Takes no more requests. Whoever asked for what was not taken up so far is told to ask again.
    pub async fn stop_serving(&self) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE meta SET value = '' WHERE name = 'serving'").execute(&mut *tx).await?;
        sqlx::query("DELETE FROM requests WHERE taken_at IS NULL AND finished_at IS NULL").execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Takes up all new requests, in the order in which they were made.
    pub async fn take_requests(&self) -> Result<Vec<Request>, LedgerError> {
        let new = "SELECT EXISTS (SELECT 1 FROM requests WHERE finished_at IS NULL AND taken_at IS NULL)";
        // Most of the time there is none, and looking costs neither a query nor a writing transaction.
        let look = LetterBox::look(&self.options.path);
        if self.letter_box.is_empty(look) {
            return Ok(Vec::new());
        }
        if !sqlx::query_scalar::<_, bool>(new).fetch_one(&self.readers).await? {
            self.letter_box.found_empty(look);
            return Ok(Vec::new());
        }
        let mut tx = self.write().await?;
        let rows = sqlx::query(
            "UPDATE requests SET taken_at = ?1 WHERE finished_at IS NULL AND taken_at IS NULL \
             RETURNING request_id, kind, job, argument",
        )
        .bind(self.now())
        .fetch_all(&mut *tx)
        .await?;
        let request = |row: &sqlx::sqlite::SqliteRow| {
            let asked = NewRequest { kind: row.get("kind"), job: row.get("job"), argument: row.get("argument") };
            Request { id: RequestId(row.get("request_id")), asked }
        };
        let mut requests: Vec<_> = rows.iter().map(request).collect();
        requests.sort_by_key(|request| request.id);
        tx.commit().await?;
        Ok(requests)
    }

    /// Writes down how requests ended.
    pub async fn finish_requests(&self, requests: &[RequestId], end: &RequestEnd) -> Result<(), LedgerError> {
        if requests.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        for request in requests {
            sqlx::query(
                "UPDATE requests SET finished_at = ?2, result = ?3, message = ?4, run_id = ?5 WHERE request_id = ?1",
            )
            .bind(request.0)
            .bind(self.now())
            .bind(end.result.as_str())
            .bind(&end.message)
            .bind(end.run.map(|run| run.0))
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }
}

/// The side of a process that asks.
#[derive(Debug)]
pub struct Asking {
    pool: SqlitePool,
    clock: SharedClock,
    options: OpenOptions,
}

impl Asking {
    /// Opens the ledger to ask the process that holds it; `None` when that one takes no requests.
    pub async fn open(options: OpenOptions, clock: SharedClock) -> Result<Option<Self>, LedgerError> {
        // A ledger that is being made serves nobody yet, and opening it for writing would make one.
        if version(&options.path).await?.is_none() {
            return Ok(None);
        }
        let pool = pool(&options.path, 1, false).await?;
        if sqlx::query_scalar::<_, bool>(IS_SERVED).fetch_one(&pool).await? {
            Ok(Some(Self { pool, clock, options }))
        } else {
            pool.close().await;
            Ok(None)
        }
    }

    /// Makes requests, all or none; `None` when they are no longer taken.
    pub async fn ask(&self, requests: &[NewRequest]) -> Result<Option<Vec<RequestId>>, LedgerError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if !sqlx::query_scalar::<_, bool>(IS_SERVED).fetch_one(&mut *tx).await? {
            return Ok(None);
        }
        let mut ids = Vec::with_capacity(requests.len());
        for NewRequest { kind, job, argument } in requests {
            let id = sqlx::query_scalar(
                "INSERT INTO requests (kind, job, argument, asked_at) VALUES (?1, ?2, ?3, ?4) RETURNING request_id",
            )
            .bind(kind)
            .bind(job)
            .bind(argument)
            .bind(iso(self.clock.now()))
            .fetch_one(&mut *tx)
            .await?;
            ids.push(RequestId(id));
        }
        tx.commit().await?;
        Ok(Some(ids))
    }

    /// How far a request has come.
    pub async fn progress(&self, request: RequestId) -> Result<RequestProgress, LedgerError> {
        let row = sqlx::query("SELECT taken_at, result, message, run_id FROM requests WHERE request_id = ?1")
            .bind(request.0)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(RequestProgress::Gone) };
        let result: Option<String> = row.get("result");
        Ok(match result.as_deref().and_then(RunResult::parse) {
            Some(result) => RequestProgress::Finished(RequestEnd {
                result,
                message: row.get("message"),
                run: row.get::<Option<i64>, _>("run_id").map(RunId),
            }),
            None if row.get::<Option<String>, _>("taken_at").is_some() => RequestProgress::Taken,
            None => RequestProgress::Asked,
        })
    }

    /// Withdraws those of the requests that nobody has taken up. Gives how many that were.
    pub async fn withdraw(&self, requests: &[RequestId]) -> Result<u64, LedgerError> {
        let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM requests WHERE taken_at IS NULL AND request_id IN (");
        let mut ids = query.separated(", ");
        for request in requests {
            ids.push_bind(request.0);
        }
        query.push(")");
        Ok(query.build().execute(&self.pool).await?.rows_affected())
    }

    /// Whether the process that took requests has ended.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        file::lock(&self.options.path).is_ok()
    }

    /// Ends asking.
    pub async fn close(self) {
        self.pool.close().await;
    }
}
