//! Names of Business Central's entities and properties, as a person writes them.
//!
//! Whether a property exists is not asked here: that is the schema's to say, once expressions are compiled.

use super::reader::Value;
use crate::model::EntityName;
use crate::schema::{EntitySchema, standard};

/// A standard or a custom entity set.
pub(super) fn read(value: &Value<'_>) -> Option<EntityName> {
    let text = value.text()?;
    let is_usable = |name: &EntityName| {
        let version = name.route().rsplit('/').next().unwrap_or_default();
        is_identifier(name.set()) && is_version(version)
    };
    let Some(name) = EntityName::parse(&text).filter(is_usable) else {
        let problem = value.problem(format!("`{text}` is not the name of an entity set"));
        return value.reject(problem.allowed("a standard set such as customers, or publisher/group/version/entitySet"));
    };
    Some(name)
}

/// What is known of `entity` beforehand; `None` for a custom API page.
pub(super) fn facts(entity: &EntityName) -> Option<&'static EntitySchema> {
    entity.is_standard().then(|| standard(entity.set())).flatten()
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
