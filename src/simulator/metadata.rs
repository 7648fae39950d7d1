//! `$metadata`: the field table as an EDMX document.
//!
//! Like the real one it does not say which properties are read-only.

use super::fields::{self, Access, EntitySet, Kind};

/// The document.
pub(super) fn document() -> String {
    let mut out = String::with_capacity(64 * 1024);
    out.push_str(concat!(
        r#"<?xml version="1.0" encoding="utf-8"?>"#,
        r#"<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>"#,
        r#"<Schema Namespace="Microsoft.NAV" xmlns="http://docs.oasis-open.org/odata/ns/edm">"#,
    ));
    for option in fields::enums() {
        out.push_str(&format_element("EnumType", &[("Name", option.name)], false));
        for (value, member) in option.members.iter().enumerate() {
            out.push_str(&format_element("Member", &[("Name", member), ("Value", &value.to_string())], true));
        }
        out.push_str("</EnumType>");
    }
    for set in fields::sets() {
        push_type(set, &mut out);
    }
    push_action("shipAndInvoice", "salesOrder", &mut out);
    push_action("post", "salesInvoice", &mut out);
    out.push_str(r#"<EntityContainer Name="NAV">"#);
    for set in fields::sets() {
        push_set(set, &mut out);
    }
    out.push_str("</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>");
    out
}

fn push_type(set: &EntitySet, out: &mut String) {
    out.push_str(&format_element("EntityType", &[("Name", set.type_name)], false));
    out.push_str(r#"<Key><PropertyRef Name="id"/></Key>"#);
    for field in set.fields.iter().filter(|field| field.access != Access::Hidden) {
        let edm = field.kind.edm();
        let mut attributes = vec![("Name", field.name), ("Type", edm.as_str())];
        if field.name == "id" || field.required {
            attributes.push(("Nullable", "false"));
        }
        let length = match field.kind {
            // Bound to a page variable, which has no length of its own.
            _ if matches!(field.name, "taxRegistrationNumber" | "currencyCode") => 0,
            Kind::Text(length) | Kind::Code(length) => length,
            _ => 0,
        };
        let length = length.to_string();
        if length != "0" {
            attributes.push(("MaxLength", &length));
        }
        if field.kind == Kind::Decimal {
            attributes.push(("Scale", "Variable"));
        }
        out.push_str(&format_element("Property", &attributes, true));
    }
    if set.name == "companies" {
        for other in fields::sets().iter().filter(|other| other.name != "companies") {
            push_navigation(other.name, &format!("Collection(Microsoft.NAV.{})", other.type_name), out);
        }
    }
    for navigation in &set.navigations {
        let target = fields::sets().iter().find(|other| other.name == navigation.target);
        let target = target.map_or("", |target| target.type_name);
        let target = if navigation.many {
            format!("Collection(Microsoft.NAV.{target})")
        } else {
            format!("Microsoft.NAV.{target}")
        };
        push_navigation(navigation.name, &target, out);
    }
    out.push_str("</EntityType>");
}

fn push_navigation(name: &str, target: &str, out: &mut String) {
    let attributes = [("Name", name), ("Type", target), ("ContainsTarget", "true")];
    out.push_str(&format_element("NavigationProperty", &attributes, true));
}

fn push_action(name: &str, type_name: &str, out: &mut String) {
    out.push_str(&format_element("Action", &[("Name", name), ("IsBound", "true")], false));
    let bound = format!("Microsoft.NAV.{type_name}");
    out.push_str(&format_element("Parameter", &[("Name", "bindingParameter"), ("Type", &bound)], true));
    out.push_str("</Action>");
}

fn push_set(set: &EntitySet, out: &mut String) {
    let entity = format!("Microsoft.NAV.{}", set.type_name);
    out.push_str(&format_element("EntitySet", &[("Name", set.name), ("EntityType", &entity)], false));
    for (term, property, allowed) in [
        ("InsertRestrictions", "Insertable", set.insertable),
        ("UpdateRestrictions", "Updatable", set.updatable),
        ("DeleteRestrictions", "Deletable", set.deletable),
    ] {
        let term = format!("Org.OData.Capabilities.V1.{term}");
        out.push_str(&format_element("Annotation", &[("Term", &term)], false));
        out.push_str("<Record>");
        let allowed = if allowed { "true" } else { "false" };
        out.push_str(&format_element("PropertyValue", &[("Property", property), ("Bool", allowed)], true));
        out.push_str("</Record></Annotation>");
    }
    out.push_str("</EntitySet>");
}

/// An opening tag, closed at once when `empty`. Names in the table need no escaping.
fn format_element(name: &str, attributes: &[(&str, &str)], empty: bool) -> String {
    let mut tag = format!("<{name}");
    for (name, value) in attributes {
        tag.extend([" ", name, "=\"", value, "\""]);
    }
    tag.push_str(if empty { "/>" } else { ">" });
    tag
}
