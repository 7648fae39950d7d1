//! MariaDB and MySQL: opening a session, and what their errors mean.

use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::connection::{Failure, STATEMENT_TIMEOUT, Verdict, classify};

/// Connects to the server at `url`, and makes the session read-only and its zone UTC.
pub(super) async fn connect(url: &SecretString) -> Result<MySqlConnection, Failure> {
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
    let seconds = format!("SET SESSION max_statement_time = {}", STATEMENT_TIMEOUT.as_secs());
    if connection.execute(sqlx::raw_sql(AssertSqlSafe(seconds))).await.is_err() {
        let milliseconds = format!("SET SESSION max_execution_time = {}", STATEMENT_TIMEOUT.as_millis());
        connection.execute(sqlx::raw_sql(AssertSqlSafe(milliseconds))).await.map_err(classify)?;
    }
    Ok(connection)
}

/// What `error` means, by its number (MariaDB documentation, error codes).
pub(super) fn verdict(error: &MySqlDatabaseError) -> Verdict {
    let transient = matches!(
        error.number(),
        // Too many connections, out of resources, shutdown, aborted, killed.
        1040 | 1041 | 1053 | 1077 | 1080 | 1152 | 1158
            ..=1161 | 1184 | 1203 | 1226 | 1317 | 1927 |
        // Lock wait, deadlock, changed table definition, statement time-out (MariaDB, MySQL).
        1205 | 1213 | 1412 | 1969 | 3024
    );
    Verdict { transient, message: error.message().to_owned(), character: None }
}
