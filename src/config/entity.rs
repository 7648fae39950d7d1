//! Which of Business Central's entities a job writes to.

use std::fmt;

use super::reader::Value;

/// Entity sets that are documents: a row that exists is someone's paper, so it is not adopted without being told.
const DOCUMENTS: [&str; 2] = ["salesOrders", "salesInvoices"];

/// An entity set of the standard API, or of a custom API page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityName {
    /// Of the standard API v2.0, such as `customers`.
    Standard(String),
    /// Of a custom API page, written `publisher/group/version/entitySet`.
    Custom {
        /// The `APIPublisher` of the page.
        publisher: String,
        /// Its `APIGroup`.
        group: String,
        /// Its `APIVersion`, such as `v1.0` or `beta`.
        version: String,
        /// Its `EntitySetName`.
        set: String,
    },
}

impl EntityName {
    /// The name of the entity set, without where it is.
    #[must_use]
    pub fn set(&self) -> &str {
        match self {
            Self::Standard(set) | Self::Custom { set, .. } => set,
        }
    }

    /// Whether this is the standard set `name`.
    #[must_use]
    pub fn is_standard(&self, name: &str) -> bool {
        matches!(self, Self::Standard(set) if set == name)
    }

    /// Whether its rows are documents rather than master data.
    #[must_use]
    pub fn is_document(&self) -> bool {
        DOCUMENTS.iter().any(|document| self.is_standard(document))
    }
}

impl fmt::Display for EntityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(set) => f.write_str(set),
            Self::Custom { publisher, group, version, set } => write!(f, "{publisher}/{group}/{version}/{set}"),
        }
    }
}

/// A standard or a custom entity set.
pub(super) fn read(value: &Value<'_>) -> Option<EntityName> {
    let text = value.text()?;
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts[..] {
        [set] if is_identifier(set) => EntityName::Standard(text),
        [publisher, group, version, set]
            if [publisher, group, set].into_iter().all(is_identifier) && is_version(version) =>
        {
            EntityName::Custom {
                publisher: publisher.to_owned(),
                group: group.to_owned(),
                version: version.to_owned(),
                set: set.to_owned(),
            }
        }
        _ => {
            let problem = value.problem(format!("`{text}` is not the name of an entity set"));
            return value
                .reject(problem.allowed("a standard set such as customers, or publisher/group/version/entitySet"));
        }
    };
    Some(name)
}

/// The name of an entity set or property that stands alone.
pub(super) fn read_identifier(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if is_identifier(&text) {
        return Some(text);
    }
    value.reject(value.problem(format!("`{text}` is not a name in Business Central's API")).allowed(IDENTIFIER))
}

/// What [`is_identifier`] accepts, for people.
pub(super) const IDENTIFIER: &str = "letters, digits and `_`, not beginning with a digit";

/// Whether `name` can be a name in `OData` (its CSDL, `SimpleIdentifier`, as far as Business Central uses it).
pub(super) fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && characters.all(|c| c.is_alphanumeric() || c == '_')
}

/// `v2.0` and the like, or `beta` (AL documentation, `APIVersion` property).
fn is_version(version: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    version == "beta"
        || version
            .strip_prefix('v')
            .and_then(|v| v.split_once('.'))
            .is_some_and(|(major, minor)| number(major) && number(minor))
}
