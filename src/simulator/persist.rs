//! The rows in a file: JSON lines, written whole and moved into place, read at the start.
//!
//! The first line of a company names it; each further line is one row with all that is not blank. It is a snapshot for
//! rehearsals, not a database.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fields::{self, EntitySet};
use super::json::{self, Object};
use super::record::Record;
use super::seed;
use super::state::State;
use super::store::{Company, Setup, Store};
use super::value::Value;

/// The line before a company's rows.
#[derive(Debug, Serialize, Deserialize)]
struct CompanyLine {
    company: String,
    id: String,
    /// Next number by set.
    series: Vec<(String, u64)>,
}

/// Writes all rows to the data file and gives their number; nothing happens without one.
pub(super) fn save(state: &State) -> io::Result<usize> {
    let Some(path) = &state.options.data_file else { return Ok(0) };
    let partial = path.with_extension("partial");
    let mut file = BufWriter::new(File::create(&partial)?);
    let rows = write(&state.store(), &mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&partial, path)?;
    Ok(rows)
}

fn write(store: &Store, out: &mut impl Write) -> io::Result<usize> {
    let mut rows = 0;
    for company in &store.companies {
        let series = company.series.iter().map(|(set, series)| ((*set).to_owned(), series.next)).collect();
        let line = CompanyLine { company: company.name.clone(), id: company.id.to_string(), series };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
        for set in fields::sets() {
            for record in company.table(set.name).records() {
                writeln!(out, "{}", write_row(&record))?;
                rows += 1;
            }
        }
    }
    Ok(rows)
}

fn write_row(record: &Record) -> String {
    let mut out = String::from("{");
    json::push_name(&mut out, "set");
    json::push_text(&mut out, record.set.name);
    json::push_name(&mut out, "version");
    out.push_str(&record.version.to_string());
    json::push_name(&mut out, "modified");
    out.push_str(&record.modified.timestamp_millis().to_string());
    for (position, field) in record.set.fields.iter().enumerate() {
        let value = record.at(position);
        if !value.is_blank() && field.name != "lastModifiedDateTime" {
            json::push_name(&mut out, field.name);
            value.push_json(field.kind, &mut out);
        }
    }
    out.push('}');
    out
}

/// Reads the companies of a data file.
pub(super) fn read(path: &Path, setup: &Setup) -> io::Result<Store> {
    let mut store = Store { companies: Vec::new() };
    for (number, line) in BufReader::new(File::open(path)?).lines().enumerate() {
        let line = line?;
        if read_line(&mut store, setup, &line).is_none() {
            let text = format!("{}, line {}: not a row of a simulator's data file", path.display(), number + 1);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
    }
    Ok(store)
}

fn read_line(store: &mut Store, setup: &Setup, line: &str) -> Option<()> {
    if line.starts_with("{\"company\"") {
        let line: CompanyLine = serde_json::from_str(line).ok()?;
        let mut company = Company::new(line.company, setup.clone());
        seed::add_series(&mut company);
        company.id = Uuid::parse_str(&line.id).ok()?;
        for (set, next) in line.series {
            if let Some(series) = company.series.get_mut(set.as_str()) {
                series.next = next;
            }
        }
        store.companies.push(company);
        return Some(());
    }
    let record = read_row(line)?;
    store.companies.last_mut()?.restore(&record);
    Some(())
}

fn read_row(line: &str) -> Option<Record> {
    let object: Object = serde_json::from_str(line).ok()?;
    let mut properties = object.0.into_iter();
    let mut next = |wanted: &str| properties.next().filter(|(name, _)| name == wanted).map(|(_, raw)| raw.get());
    let name: String = serde_json::from_str(next("set")?).ok()?;
    let set: &'static EntitySet = &fields::sets()[fields::set_position(&name)?];
    let version: u64 = next("version")?.parse().ok()?;
    let modified: DateTime<Utc> = DateTime::from_timestamp_millis(next("modified")?.parse().ok()?)?;
    let mut record = Record::new(set);
    for (name, raw) in properties {
        let position = set.position(&name)?;
        let value = Value::from_json(&set.fields[position], raw).ok()?;
        if let (Value::Guid(id), "id") = (&value, name.as_str()) {
            record.give_id(*id);
        }
        record.put(position, value);
    }
    record.stamp(version, modified);
    Some(record)
}
