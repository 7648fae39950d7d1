//! PostgreSQL: opening a session.

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor};

use super::failure::{Failure, classify};

/// Connects to the server at `url`, and makes the session read-only and its zone UTC. The server gives a statement up after
/// `statement_timeout`.
pub(super) async fn connect(url: &SecretString, statement_timeout: Duration) -> Result<PgConnection, Failure> {
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
        statement_timeout.as_millis()
    );
    connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(setup))).await.map_err(classify)?;
    Ok(connection)
}
