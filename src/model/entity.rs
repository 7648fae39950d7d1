//! Which BC entity set a job writes to.

use std::fmt;

/// An entity set of the standard API (`customers`) or of a custom API page (`publisher/group/version/entitySet`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityName {
    route: Option<String>,
    set: String,
}

impl EntityName {
    /// Reads `customers` or `publisher/group/version/entitySet`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |part: &str| {
            !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(letter))
        };
        if !parts.iter().all(|part| plain(part)) {
            return None;
        }
        match parts.as_slice() {
            [set] => Some(Self { route: None, set: (*set).to_owned() }),
            [publisher, group, version, set] => {
                Some(Self { route: Some(format!("{publisher}/{group}/{version}")), set: (*set).to_owned() })
            }
            _ => None,
        }
    }

    /// Whether it belongs to the standard API v2.0.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        self.route.is_none()
    }

    /// The entity set, as in a URL.
    #[must_use]
    pub fn set(&self) -> &str {
        &self.set
    }

    /// The API route below `/api/`: `v2.0` or `publisher/group/version`.
    #[must_use]
    pub fn route(&self) -> &str {
        self.route.as_deref().unwrap_or("v2.0")
    }
}

impl fmt::Display for EntityName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.route {
            Some(route) => write!(formatter, "{route}/{}", self.set),
            None => formatter.write_str(&self.set),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_and_custom_names_read_back() {
        for text in ["customers", "contoso/app/v1.0/loyaltyCards"] {
            assert_eq!(EntityName::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(EntityName::parse("contoso/app/v1.0/loyaltyCards").unwrap().route(), "contoso/app/v1.0");
        for wrong in ["", "a/b", "a//b/c", "customers?x", "cust omers"] {
            assert_eq!(EntityName::parse(wrong), None, "{wrong}");
        }
    }
}
