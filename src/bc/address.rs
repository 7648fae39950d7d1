//! Where an entity set lives: the routes below the API root.

use std::fmt;

use url::Url;

use crate::model::EntityName;

/// The standard API's route below `/api/`.
const STANDARD: &str = "v2.0";

/// One environment of one tenant. Shape of the URL: BC documentation, "Endpoints for the APIs".
#[derive(Debug, Clone)]
pub struct Api {
    base: Url,
    tenant: String,
    environment: String,
}

/// One API below the environment: the standard one, or a custom one of some publisher.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ApiRoute(String);

impl ApiRoute {
    /// The standard API v2.0.
    #[must_use]
    pub fn standard() -> Self {
        Self(STANDARD.to_owned())
    }

    /// The API that `entity` belongs to.
    #[must_use]
    pub fn of(entity: &EntityName) -> Self {
        Self(entity.route().to_owned())
    }
}

impl Api {
    /// The API of `environment` of `tenant` at `base`, such as `https://api.businesscentral.dynamics.com`.
    #[must_use]
    pub fn new(base: Url, tenant: &str, environment: &str) -> Self {
        Self { base, tenant: tenant.to_owned(), environment: environment.to_owned() }
    }

    /// The URL of `path` below the root of `route`. `path` may carry a query; it is relative, as in `$batch`.
    #[must_use]
    pub fn url(&self, route: &ApiRoute, path: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v2.0", &self.tenant, &self.environment, "api"]).extend(route.0.split('/'));
        }
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path.split('/'));
        }
        url.set_query(query);
        url
    }
}

impl fmt::Display for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "environment {} of tenant {} at {}",
            self.environment,
            self.tenant,
            self.base.origin().ascii_serialization()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_the_documented_shape() {
        let api = Api::new(Url::parse("https://api.example/").unwrap(), "contoso.com", "Production EU");
        assert_eq!(
            api.url(&ApiRoute::standard(), "companies(1)/customers?$top=1").as_str(),
            "https://api.example/v2.0/contoso.com/Production%20EU/api/v2.0/companies(1)/customers?$top=1"
        );
        let custom = EntityName::parse("contoso/app/v1.0/cards").unwrap();
        assert_eq!(
            api.url(&ApiRoute::of(&custom), "$batch").path(),
            "/v2.0/contoso.com/Production%20EU/api/contoso/app/v1.0/$batch"
        );
    }
}
