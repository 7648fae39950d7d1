//! MariaDB and MySQL: opening a session.

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::failure::{Failure, classify};

/// Connects to the server at `url`, and makes the session read-only and its zone UTC. The server gives a statement up after
/// `statement_timeout`.
pub(super) async fn connect(url: &SecretString, statement_timeout: Duration) -> Result<MySqlConnection, Failure> {
    // The parser's own words could quote a part of the URL.
    let options = MySqlConnectOptions::from_str(url.expose_secret()).map_err(|_| Failure::Refused {
        message: "its URL is not of the form mysql://user:password@host:port/database \
                  (special characters in a password must be percent-encoded)"
            .to_owned(),
        character: None,
    })?;
    // The query is to mean what it means in the user's own client: the driver's changes of `sql_mode` are off.
    let options = options.pipes_as_concat(false).no_engine_substitution(false).disable_statement_logging();
    let mut connection = MySqlConnection::connect_with(&options).await.map_err(classify)?;
    for setup in ["SET time_zone = '+00:00'", "SET SESSION TRANSACTION READ ONLY"] {
        connection.execute(sqlx::raw_sql(setup)).await.map_err(classify)?;
    }
    // So that a query that is given up here does not go on there. MariaDB counts seconds, MySQL milliseconds, and each
    // refuses the other's name.
    let seconds = format!("SET SESSION max_statement_time = {}", statement_timeout.as_secs());
    if connection.execute(sqlx::raw_sql(AssertSqlSafe(seconds))).await.is_err() {
        let milliseconds = format!("SET SESSION max_execution_time = {}", statement_timeout.as_millis());
        connection.execute(sqlx::raw_sql(AssertSqlSafe(milliseconds))).await.map_err(classify)?;
    }
    Ok(connection)
}
