//! `links`: what is coupled already, in and out as CSV.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};

use tokio_util::sync::CancellationToken;

use super::{App, AppError, ConnectError, result_of};
use crate::bc::Query;
use crate::ledger::{ImportedLink, Ledger, LedgerError};
use crate::mapping::Mapping;
use crate::model::{RunResult, Value};
use crate::schema;

/// Why links could not be imported or exported. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// The CSV.
    #[error("line {line} of the CSV: {problem}")]
    Line {
        /// Counted from 1, the header included.
        line: u64,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The CSV as a whole.
    #[error("the CSV cannot be read or written: {0}")]
    Csv(#[from] csv::Error),
    /// The job.
    #[error("there is no job `{0}` in the configuration")]
    NoJob(String),
    /// The target.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Business Central.
    #[error(transparent)]
    Bc(#[from] crate::bc::Failure),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] AppError),
}

impl From<LedgerError> for LinksError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error.into())
    }
}

impl LinksError {
    /// As what kind of failure a run would record this.
    #[must_use]
    pub fn result(&self) -> RunResult {
        match self {
            Self::Connect(cause) => cause.result(),
            Self::Bc(failure) => result_of(failure),
            Self::Line { .. } | Self::Csv(_) | Self::NoJob(_) | Self::Ledger(_) => RunResult::Refused,
        }
    }
}

/// Writes the links of `job`, or of all jobs, as CSV with the columns job, key, number, id. Gives their number.
pub async fn export_links(app: &App<'_>, job: Option<&str>, out: impl Write) -> Result<usize, LinksError> {
    let ledger = Ledger::open_read_only(app.ledger_options(), app.clock.clone()).await?;
    let links = ledger.all_links(job).await?;
    ledger.close().await;
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["job", "key", "number", "id"])?;
    for link in &links {
        csv.write_record([&link.job, &link.key, &link.number, &link.bc_id])?;
    }
    csv.flush().map_err(csv::Error::from)?;
    Ok(links.len())
}

/// One line of the CSV.
struct Wanted {
    line: u64,
    key: String,
    /// Number or id of the row in BC.
    row: String,
}

/// Reads CSV with a column `key` and a column `number` or `id`, finds each row in BC, and stores the links of `job`.
/// Gives how many were stored, and the keys that were linked before and left alone. All or nothing.
pub async fn import_links(
    app: &App<'_>,
    mappings: &BTreeMap<String, Mapping>,
    job: &str,
    input: impl Read,
    cancel: &CancellationToken,
) -> Result<(usize, Vec<String>), LinksError> {
    let config = app.config.job(job).ok_or_else(|| LinksError::NoJob(job.to_owned()))?;
    let target = app.config.target(&config.target).ok_or_else(|| LinksError::NoJob(job.to_owned()))?;
    let mapping = mappings.get(job).ok_or_else(|| LinksError::NoJob(job.to_owned()))?;
    let (by_id, wanted) = read_csv(input)?;

    let ledger = app.open_ledger().await?;
    let target = app.connect(target, &ledger, cancel).await?.target(cancel);
    let entity = config.entity.value.clone();
    let name = entity.to_string();
    let row = ledger.job(job, target.id, &name, mapping.fingerprint()).await?;
    let number = schema::standard(entity.set()).and_then(|schema| schema.key_property).unwrap_or("number");
    let property = if by_id { "id" } else { number };
    let select = ["id", number];
    let query = Query { company: &target.company, entity: &entity, select: &select, expand: None };
    let normal = |text: &str| if by_id { text.to_ascii_lowercase() } else { schema::code(text) };
    let values: Vec<_> = wanted.iter().map(|wanted| Value::Str(normal(&wanted.row))).collect();
    let rows = target.outlet.reader.find(query, property, &values, by_id).await?;
    let found: HashMap<String, _> = rows.into_iter().map(|row| (normal(row.text(property)), row)).collect();

    let mut links = Vec::with_capacity(wanted.len());
    for Wanted { line, key, row } in wanted {
        let problem = |problem: String| LinksError::Line { line, problem };
        let bc = found
            .get(&normal(&row))
            .ok_or_else(|| problem(format!("Business Central has no row of {entity} whose {property} is `{row}`")))?;
        if let Some((job, owner)) = ledger.owner_of(target.id, &name, &bc.id).await?
            && owner != key
        {
            return Err(problem(format!("that row is linked to record {owner} of job {job} already")));
        }
        links.push(ImportedLink {
            key,
            bc_id: bc.id.clone(),
            number: bc.text(number).to_owned(),
            etag: bc.etag.clone(),
        });
    }
    let left = ledger.import_links(target.id, &name, row.id, &links).await?;
    ledger.close().await;
    Ok((links.len() - left.len(), left))
}

/// The lines of the CSV, and whether they name rows by id.
fn read_csv(input: impl Read) -> Result<(bool, Vec<Wanted>), LinksError> {
    let mut csv = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
    let headers = csv.headers()?.clone();
    let column = |name: &str| headers.iter().position(|header| header.trim_start_matches('\u{feff}') == name);
    let header = |problem: &str| LinksError::Line { line: 1, problem: problem.to_owned() };
    let key = column("key").ok_or_else(|| header("there is no column `key`, the record's key in the source"))?;
    let (by_id, row) = match (column("id"), column("number")) {
        (Some(id), _) => (true, id),
        (None, Some(number)) => (false, number),
        (None, None) => return Err(header("there is no column `number` or `id`, the row in Business Central")),
    };
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut seen: HashMap<String, u64> = HashMap::new();
    for record in csv.into_records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |index: usize| record.get(index).unwrap_or_default().to_owned();
        let (key, row) = (cell(key), cell(row));
        if key.is_empty() || row.is_empty() {
            let problem = "the key or the row in Business Central is empty".to_owned();
            return Err(LinksError::Line { line, problem });
        }
        for (what, name) in [("key", &key), ("row", &row)] {
            if let Some(before) = seen.insert(format!("{what} {name}"), line) {
                return Err(LinksError::Line { line, problem: format!("`{name}` stands in line {before} already") });
            }
        }
        wanted.push(Wanted { line, key, row });
    }
    Ok((by_id, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_may_be_named_by_number_or_id() {
        let (by_id, wanted) = read_csv("key,number\n7, C-7 \n".as_bytes()).unwrap();
        assert!(!by_id);
        assert_eq!((wanted[0].key.as_str(), wanted[0].row.as_str(), wanted[0].line), ("7", "C-7", 2));
        assert!(read_csv("job,key,number,id\nc,7,C-7,0a\n".as_bytes()).unwrap().0);
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line) in [
            ("number\n1\n", 1),
            ("key\n1\n", 1),
            ("key,number\n1,A\n,B\n", 3),
            ("key,number\n1,A\n1,B\n", 3),
            ("key,number\n1,A\n2,A\n", 3),
        ] {
            match read_csv(text.as_bytes()) {
                Err(LinksError::Line { line: found, .. }) => assert_eq!(found, line, "{text}"),
                other => panic!("{text}: {:?}", other.map(|_| ())),
            }
        }
    }
}
