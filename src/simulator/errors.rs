//! The refusals of Business Central: HTTP status, code and text, as its documentation and field reports give them.
//!
//! One function per situation, so that the texts stand in one place. It decides nothing.

use std::borrow::Cow;

use uuid::Uuid;

use super::json;

/// A refused request or operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ApiError {
    /// HTTP status.
    pub(super) status: u16,
    /// Value of `error.code`.
    pub(super) code: Cow<'static, str>,
    /// Value of `error.message` without the correlation suffix.
    pub(super) message: String,
}

/// What an operation gives, or the refusal.
pub(super) type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    /// Any refusal.
    pub(super) fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// The body of the answer: the envelope with `correlation` appended to the message, as BC does.
    pub(super) fn body(&self, correlation: Uuid) -> String {
        let mut out = String::from("{\"error\":{");
        json::push_name(&mut out, "code");
        json::push_text(&mut out, &self.code);
        json::push_name(&mut out, "message");
        json::push_text(&mut out, &format!("{}  CorrelationId:  {correlation}.", self.message));
        out.push_str("}}");
        out
    }

    /// An AL `Error` call: a business rule says no.
    pub(super) fn dialog(message: impl Into<String>) -> Self {
        Self::new(400, "Application_DialogException", message)
    }

    /// An AL `TestField` or `FieldError` call.
    pub(super) fn field_validation(message: impl Into<String>) -> Self {
        Self::new(400, "Application_FieldValidationException", message)
    }

    /// A request that the protocol layer cannot make sense of.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// A code that the related table does not hold.
    pub(super) fn relation(field: &str, table: &str, value: &str, related: &str) -> Self {
        Self::new(
            400,
            "Internal_InvalidTableRelation",
            format!(
                "The field {field} of table {table} contains a value ({value}) that cannot be found in the related table ({related})."
            ),
        )
    }

    /// A body names a property that the entity does not have.
    pub(super) fn unknown_property(property: &str, entity_type: &str) -> Self {
        Self::bad_request(format!(
            "The property '{property}' does not exist on type 'Microsoft.NAV.{entity_type}'. Make sure to only use property names that are defined by the type."
        ))
    }

    /// A query option names a property that the entity does not have.
    pub(super) fn no_such_property(property: &str, entity_type: &str) -> Self {
        Self::bad_request(format!(
            "Could not find a property named '{property}' on type 'Microsoft.NAV.{entity_type}'."
        ))
    }

    /// A body writes a property that nobody may write.
    pub(super) fn read_only(property: &str) -> Self {
        Self::new(400, "BadRequest_InvalidOperation", format!("Control '{property}' is read-only."))
    }

    /// A property that may not be blank is.
    pub(super) fn required(property: &str) -> Self {
        Self::new(400, "BadRequest_RequiredParamNotProvided", format!("Field '{property}' must not be blank or empty."))
    }

    /// A JSON value of another kind than the property's.
    pub(super) fn wrong_type(literal: &str, edm_type: &str) -> Self {
        Self::bad_request(format!("Cannot convert the literal '{literal}' to the expected type '{edm_type}'."))
    }

    /// An object was wanted where something else stands, or the other way round.
    pub(super) fn unexpected_node(found: &str, expected: &str) -> Self {
        Self::bad_request(format!(
            "An unexpected '{found}' node was found when reading from the JSON reader. A '{expected}' node was expected."
        ))
    }

    /// A text that is longer than its field.
    pub(super) fn too_long(length: usize, max: usize, value: &str) -> Self {
        Self::new(
            400,
            "Application_StringExceededLength",
            format!(
                "The length of the string is {length}, but it must be less than or equal to {max} characters. Value: {value}"
            ),
        )
    }

    /// A text that is none of an option's members.
    pub(super) fn not_an_option(value: &str, members: &str) -> Self {
        Self::new(400, "Unknown", format!("'{value}' is not an option. The existing options are: {members}"))
    }

    /// A text that is not a GUID.
    pub(super) fn invalid_guid(value: &str) -> Self {
        Self::new(
            400,
            "Application_InvalidGUID",
            format!(
                "Invalid format of GUID string. The correct format of the GUID string is: {{CDEF7890-ABCD-0123-4567-890ABCDEF123}}. Value: {value}"
            ),
        )
    }

    /// A second row with the same natural key.
    pub(super) fn exists(table: &str, key_caption: &str, value: &str) -> Self {
        Self::new(
            400,
            "Internal_EntityWithSameKeyExists",
            format!(
                "The record in table {table} already exists. Identification fields and values: {key_caption}='{value}'"
            ),
        )
    }

    /// A row addressed for writing, or read by AL code, that is not there.
    pub(super) fn record_not_found(table: &str, identification: &str) -> Self {
        Self::new(
            404,
            "Internal_RecordNotFound",
            format!("The {table} does not exist. Identification fields and values: {identification}"),
        )
    }

    /// A row read by its id that is not there.
    pub(super) fn entity_not_found(set: &str) -> Self {
        Self::new(
            404,
            "BadRequest_ResourceNotFound",
            format!("The entity of '{set}' with the given key does not exist."),
        )
    }

    /// A path segment that names nothing.
    pub(super) fn no_such_segment(segment: &str) -> Self {
        Self::new(404, "BadRequest_ResourceNotFound", format!("Resource not found for the segment '{segment}'."))
    }

    /// A route outside every API.
    pub(super) fn no_such_route(uri: &str) -> Self {
        Self::new(
            404,
            "BadRequest_NotFound",
            format!("No HTTP resource was found that matches the request URI '{uri}'."),
        )
    }

    /// A company id or name that does not exist.
    pub(super) fn company_not_found(company: &str) -> Self {
        Self::new(404, "Internal_CompanyNotFound", format!("The company '{company}' does not exist."))
    }

    /// A verb that the set does not know.
    pub(super) fn method_not_allowed(method: &str, set: &str, edm_kind: &str) -> Self {
        Self::new(
            405,
            "BadRequest_MethodNotAllowed",
            format!("'{method}' requests for '{set}' of EdmType '{edm_kind}' are not allowed within 'Microsoft.NAV'."),
        )
    }

    /// `If-Match` is missing or is no etag.
    pub(super) fn invalid_token() -> Self {
        Self::new(
            400,
            "BadRequest_InvalidToken",
            "Could not validate the client concurrency token required by the service. The request must carry an If-Match header.",
        )
    }

    /// `If-Match` names an earlier version.
    pub(super) fn entity_changed() -> Self {
        Self::new(409, "Request_EntityChanged", "Another user has already changed the record.")
    }

    /// The token is missing, expired, revoked, without roles, or of an app that BC does not know.
    pub(super) fn invalid_credentials() -> Self {
        Self::new(401, "Authentication_InvalidCredentials", "The server has rejected the client credentials.")
    }

    /// The app lacks a permission set.
    pub(super) fn permission(action: &str, table: &str) -> Self {
        Self::new(
            400,
            "Internal_ServerError",
            format!("Sorry, the current permissions prevented the action. (TableData {table} {action}: Simulator)"),
        )
    }

    /// The state of an order, which only people change, refuses a change.
    pub(super) fn order_locked(number: &str, status: &str) -> Self {
        Self::field_validation(format!(
            "Status must be equal to 'Open'  in Sales Header: Document Type=Order, No.={number}. Current value is '{status}'."
        ))
    }

    /// More requests than the limits allow.
    pub(super) fn too_many_requests(what: &str, actual: usize, max: usize) -> Self {
        Self::new(
            429,
            "Application_TooManyRequests",
            format!("Too many requests reached: {what}. Actual ({actual}). Maximum ({max})."),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_carries_the_correlation_suffix() {
        let body = ApiError::read_only("balanceDue").body(Uuid::nil());
        assert_eq!(
            body,
            r#"{"error":{"code":"BadRequest_InvalidOperation","message":"Control 'balanceDue' is read-only.  CorrelationId:  00000000-0000-0000-0000-000000000000."}}"#
        );
    }
}
