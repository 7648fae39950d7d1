//! PostgreSQL: opening a session, and what its errors mean.

use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgErrorPosition};
use sqlx::{ConnectOptions, Connection, Executor};

use super::connection::{Failure, STATEMENT_TIMEOUT, Verdict, classify};

/// Connects to the server at `url`, and makes the session read-only and its zone UTC.
pub(super) async fn connect(url: &SecretString) -> Result<PgConnection, Failure> {
    // The parser's own words could quote a part of the URL.
    let options = PgConnectOptions::from_str(url.expose_secret()).map_err(|_| Failure::Refused {
        message: "its URL is not of the form postgres://user:password@host:port/database \
                  (special characters in a password must be percent-encoded)"
            .to_owned(),
        character: None,
    })?;
    let options = options.application_name("bcsync").disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options).await.map_err(classify)?;
    let setup = format!(
        "SET default_transaction_read_only = on; SET TIME ZONE 'UTC'; SET statement_timeout = {}",
        STATEMENT_TIMEOUT.as_millis()
    );
    connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(setup))).await.map_err(classify)?;
    Ok(connection)
}

/// What `error` means, by its SQLSTATE (PostgreSQL documentation, appendix A).
pub(super) fn verdict(error: &PgDatabaseError) -> Verdict {
    let code = error.code();
    // Connection trouble, transaction rollback, resources, operator intervention (a cancelled statement included),
    // system errors; a lock that is not available.
    let transient = ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "55P03";
    let mut message = error.message().to_owned();
    for more in [error.detail(), error.hint()].into_iter().flatten() {
        message.push_str("; ");
        message.push_str(more);
    }
    let character = match error.position() {
        Some(PgErrorPosition::Original(nth)) => Some(nth),
        _ => None,
    };
    Verdict { transient, message, character }
}
