//! Secrets: never in the configuration itself, only where they can be found.
//!
//! A secret is an environment variable, a file, or a credential that systemd hands over in `$CREDENTIALS_DIRECTORY`. A file
//! is refused when others may read it or a group may write it, or when it belongs to a group the process has no part in.
//! No error here ever contains a secret, and one that is written inline by mistake is never shown.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::environment::Environment;
use super::reader::Value;
use super::text::Located;

const ALLOWED: &str = "{ env = \"VARIABLE\" }, { file = \"/path\" } or { credential = \"name\" }";

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// In an environment variable.
    Variable(String),
    /// In a file.
    File(PathBuf),
    /// In a file of systemd's `$CREDENTIALS_DIRECTORY` (systemd.exec(5), `LoadCredential=`).
    Credential(String),
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable of this name is not set.
    #[error("the environment variable `{0}` is not set")]
    VariableMissing(String),
    /// There are no credentials at all: this is not a service of systemd, or one without any.
    #[error("the credential `{0}` cannot be found: $CREDENTIALS_DIRECTORY is not set")]
    NoCredentialsDirectory(String),
    /// There is no such file.
    #[error("the secret file {0} does not exist")]
    FileMissing(PathBuf),
    /// It is a directory, a pipe or the like.
    #[error("the secret file {0} is not a regular file")]
    NotAFile(PathBuf),
    /// The operating system refuses it.
    #[error("the secret file {path} cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Everyone may read or write it.
    #[error("the secret file {path} is open to everyone (mode {mode:04o})")]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its group may write it.
    #[error("the secret file {path} can be written by its group (mode {mode:04o})")]
    GroupWritable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to a group that the process has no part in.
    #[error("the secret file {path} belongs to group {group}, which is neither root's nor one of this process")]
    ForeignGroup {
        /// The file.
        path: PathBuf,
        /// The group's id.
        group: u32,
    },
    /// It holds something else than text; this is the place.
    #[error("the secret in {0} is not UTF-8 text")]
    NotText(String),
    /// It holds nothing; this is the place.
    #[error("the secret in {0} is empty")]
    Empty(String),
}

impl SecretError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCredentialsDirectory(name) => Some(format!(
                "credentials exist inside the service only: LoadCredential={name}:/path/of/the/file in the unit"
            )),
            Self::OpenToOthers { path, .. } => Some(format!("chmod o= {}, and change the secret", path.display())),
            Self::GroupWritable { path, .. } => Some(format!("chmod g-w {}", path.display())),
            Self::ForeignGroup { path, .. } => {
                Some(format!("chgrp it to a group of the service: chgrp bcsync {}", path.display()))
            }
            _ => None,
        }
    }
}

impl SecretRef {
    /// Fetches the secret, without the newline at its end.
    pub fn resolve(&self, environment: &dyn Environment) -> Result<SecretString, SecretError> {
        let (text, place) = match self {
            Self::Variable(name) => {
                let value = environment.variable(name).ok_or_else(|| SecretError::VariableMissing(name.clone()))?;
                let place = format!("the environment variable `{name}`");
                (value.into_string().map_err(|_| SecretError::NotText(place.clone()))?, place)
            }
            Self::File(path) => read_file(path, &environment.groups())?,
            Self::Credential(name) => {
                let directory = environment
                    .variable("CREDENTIALS_DIRECTORY")
                    .map(PathBuf::from)
                    .ok_or_else(|| SecretError::NoCredentialsDirectory(name.clone()))?;
                // systemd decides which group these files have; it is that of the directory.
                let group = fs::metadata(&directory).map(|metadata| metadata.gid()).ok();
                let groups: Vec<u32> = environment.groups().into_iter().chain(group).collect();
                read_file(&directory.join(name), &groups)?
            }
        };
        let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() {
            return Err(SecretError::Empty(place));
        }
        Ok(SecretString::from(text))
    }
}

/// The text of a secret file that only the right people can have written or read, and what to call the file.
fn read_file(path: &Path, groups: &[u32]) -> Result<(String, String), SecretError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => SecretError::FileMissing(path.to_owned()),
        _ => SecretError::Unreadable { path: path.to_owned(), error },
    };
    // Asked before opening, since opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(SecretError::NotAFile(path.to_owned()));
    }
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let (mode, group) = (metadata.mode() & 0o7777, metadata.gid());
    if mode & 0o006 != 0 {
        return Err(SecretError::OpenToOthers { path: path.to_owned(), mode });
    }
    if mode & 0o020 != 0 {
        return Err(SecretError::GroupWritable { path: path.to_owned(), mode });
    }
    if group != 0 && !groups.contains(&group) {
        return Err(SecretError::ForeignGroup { path: path.to_owned(), group });
    }
    let mut text = String::new();
    let place = path.display().to_string();
    match file.read_to_string(&mut text) {
        Ok(_) => Ok((text, place)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(SecretError::NotText(place)),
        Err(error) => Err(failed(error)),
    }
}

/// Where a secret is. A secret that is written here itself is refused, and not shown.
pub(super) fn read(value: &Value<'_>) -> Option<SecretRef> {
    if !value.is_table() {
        value.hide();
        let key = value.key();
        let problem = key.error("secrets are never written into the configuration").allowed(ALLOWED);
        return value.reject(problem.hint("name the place instead; if this file was ever shared, change the secret"));
    }
    let mut table = value.table()?;
    table.entries().iter().filter(|entry| !entry.is_text()).for_each(Value::hide);
    let given = ["env", "file", "credential"].into_iter().filter(|key| table.has(key)).count();
    let variable = table.optional("env", read_variable).map(|name| SecretRef::Variable(name.value));
    let file = table.optional("file", Value::path).map(|path| SecretRef::File(path.value));
    let credential = table.optional("credential", read_credential).map(|name| SecretRef::Credential(name.value));
    table.finish();
    if given != 1 {
        return value.reject(value.problem("a secret has exactly one place").allowed(ALLOWED));
    }
    variable.or(file).or(credential)
}

fn read_variable(value: &Value<'_>) -> Option<String> {
    let name = value.text()?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if is_name {
        return Some(name);
    }
    refuse_place(value, "this is not the name of an environment variable")
}

fn read_credential(value: &Value<'_>) -> Option<String> {
    let name = value.text()?;
    if !name.contains('/') && name != "." && name != ".." {
        return Some(name);
    }
    refuse_place(value, "a credential is named without a directory")
}

/// What is not a name may well be the secret itself.
fn refuse_place<T>(value: &Value<'_>, message: &str) -> Option<T> {
    value.hide();
    value.reject(value.problem(message).allowed(ALLOWED))
}

/// A certificate to sign in with, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate in PEM.
    pub file: PathBuf,
    /// Its private key in PEM.
    pub key: Located<SecretRef>,
}

/// A certificate with its key.
pub(super) fn read_certificate(value: &Value<'_>) -> Option<Certificate> {
    if !value.is_table() {
        // Some people keep certificate and key in one text.
        value.hide();
    }
    let mut table = value.table()?;
    let file = table.required("file", Value::path);
    let key = table.required("key", read);
    table.finish();
    Some(Certificate { file: file?.value, key: key? })
}
