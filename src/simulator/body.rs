//! The body of a POST or PATCH: its properties in their order, each checked against the field table.

use serde_json::value::RawValue;
use uuid::Uuid;

use super::errors::{ApiError, Result};
use super::fields::{Access, EntitySet, Field};
use super::json::Object;
use super::rules::Properties;
use super::value::Value;

/// What a body says.
#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    /// Own properties in the order of the body.
    pub(super) properties: Properties,
    /// Bodies of nested lines, for a deep insert.
    pub(super) lines: Vec<&'a RawValue>,
}

/// Reads the body of a POST to `set`.
pub(super) fn read_new<'a>(set: &EntitySet, text: &'a str) -> Result<Body<'a>> {
    let mut body = Body::default();
    for (name, raw) in object(text)?.0 {
        if set.navigation(&name).is_some_and(|navigation| navigation.many) {
            body.lines = serde_json::from_str(raw.get())
                .map_err(|_| ApiError::unexpected_node("PrimitiveValue", "StartArray"))?;
        } else if let Some((position, field)) = writable(set, &name)? {
            match field.access {
                Access::ReadWrite | Access::CreateOnly => {
                    body.properties.push((position, Value::from_json(field, raw)?.stored()));
                }
                Access::Ignored => {}
                Access::PatchOnly => {
                    return Err(ApiError::dialog(format!(
                        "The \"{name}\" must not be specified when a record is created."
                    )));
                }
                Access::ReadOnly | Access::Hidden => return Err(ApiError::read_only(&name)),
            }
        }
    }
    Ok(body)
}

/// Reads the body of a PATCH of the row `id` of `set`.
pub(super) fn read_changes(set: &EntitySet, text: &str, id: Uuid) -> Result<Properties> {
    let mut properties = Properties::new();
    for (name, raw) in object(text)?.0 {
        if set.navigation(&name).is_some_and(|navigation| navigation.many) {
            return Err(ApiError::bad_request(format!(
                "Updating nested collections is not supported. Remove '{name}' from the request body."
            )));
        }
        let Some((position, field)) = writable(set, &name)? else { continue };
        match field.access {
            Access::ReadWrite | Access::PatchOnly => {
                properties.push((position, Value::from_json(field, raw)?.stored()));
            }
            Access::Ignored => {}
            Access::CreateOnly if name == "sequence" => {
                return Err(ApiError::dialog(
                    "The value for sequence cannot be modified. Delete and insert the line again.",
                ));
            }
            Access::CreateOnly => {
                return Err(ApiError::dialog(format!("The value for \"{name}\" cannot be modified.")));
            }
            Access::ReadOnly if name == "id" => {
                if Value::from_json(field, raw)? != Value::Guid(id) {
                    return Err(ApiError::dialog("The \"id\" cannot be changed."));
                }
            }
            Access::ReadOnly | Access::Hidden => return Err(ApiError::read_only(&name)),
        }
    }
    Ok(properties)
}

fn object(text: &str) -> Result<Object<'_>> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("The request body is not valid JSON: {error}")))
}

/// The field that `name` addresses; `None` for annotations, which have no effect.
fn writable<'a>(set: &'a EntitySet, name: &str) -> Result<Option<(usize, &'a Field)>> {
    if name.contains('@') {
        return Ok(None);
    }
    match set.visible(name) {
        Some(position) => Ok(Some((position, &set.fields[position]))),
        None if set.navigation(name).is_some() => {
            Err(ApiError::bad_request(format!("The navigation property '{name}' cannot be written.")))
        }
        None => Err(ApiError::unknown_property(name, set.type_name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::fields;

    fn set(name: &str) -> &'static EntitySet {
        &fields::sets()[fields::set_position(name).unwrap()]
    }

    #[test]
    fn what_a_new_row_may_not_say() {
        for (name, body, code) in [
            ("customers", r#"{"id":"00000000-0000-0000-0000-000000000001"}"#, "BadRequest_InvalidOperation"),
            ("customers", r#"{"balanceDue":1}"#, "BadRequest_InvalidOperation"),
            ("customers", r#"{"genBusPostingGroup":"X"}"#, "BadRequest"),
            ("customers", r#"{"currency":{}}"#, "BadRequest"),
            ("customers", r#"{"number":}"#, "BadRequest"),
            ("customers", "[]", "BadRequest"),
            ("items", r#"{"inventory":5}"#, "Application_DialogException"),
            ("salesOrders", r#"{"salesOrderLines":{}}"#, "BadRequest"),
        ] {
            assert_eq!(read_new(set(name), body).unwrap_err().code, code, "{name}: {body}");
        }
    }

    #[test]
    fn what_a_change_may_not_say() {
        let id = Uuid::from_u128(1);
        for (name, body, code) in [
            ("salesOrders", r#"{"salesOrderLines":[]}"#, "BadRequest"),
            ("salesOrderLines", r#"{"sequence":20000}"#, "Application_DialogException"),
            ("customers", r#"{"id":"00000000-0000-0000-0000-000000000002"}"#, "Application_DialogException"),
        ] {
            assert_eq!(read_changes(set(name), body, id).unwrap_err().code, code, "{name}: {body}");
        }
        let same = r#"{"@odata.etag":"x","id":"00000000-0000-0000-0000-000000000001","fullyShipped":true}"#;
        assert_eq!(read_changes(set("salesOrders"), same, id).unwrap(), Properties::new());
    }
}
