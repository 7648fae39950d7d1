//! Reading from BC. Nothing here can change anything.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::address::ApiRoute;
use super::batch::{self, MAX_OPERATIONS, Operation};
use super::connection::Connection;
use super::error::{BcError, Failure, Sent};
use super::filter;
use super::row::Row;
use crate::http::Effect;
use crate::model::{EntityName, ErrorClass, RetryPolicy, Value};

/// A company of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Company {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Reads from one environment. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    connection: Arc<Connection>,
    policy: RetryPolicy,
    cancel: CancellationToken,
}

/// A way over the pages of a query. A server whose next page is one that was read before would keep us for ever.
#[derive(Debug)]
pub struct Walk {
    /// What is read, for errors.
    what: String,
    /// Where the next page is.
    next: Option<String>,
    /// Where the pages were.
    been: HashSet<String>,
}

/// What to ask an entity set for.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The company.
    pub company: &'a str,
    /// The entity set.
    pub entity: &'a EntityName,
    /// The properties to return; empty for all.
    pub select: &'a [&'a str],
    /// A navigation to return nested.
    pub expand: Option<&'a str>,
}

impl Query<'_> {
    fn path(&self, filter: Option<&str>) -> String {
        let mut options = Vec::new();
        if !self.select.is_empty() {
            options.push(format!("$select={}", self.select.join(",")));
        }
        if let Some(expand) = self.expand {
            options.push(format!("$expand={expand}"));
        }
        if let Some(filter) = filter {
            options.push(format!("$filter={filter}"));
        }
        let path = format!("companies({})/{}", self.company, self.entity.set());
        if options.is_empty() { path } else { format!("{path}?{}", options.join("&")) }
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    value: Vec<&'a RawValue>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

impl Reader {
    /// A reader that repeats according to `policy` until `cancel`.
    #[must_use]
    pub fn new(connection: Arc<Connection>, policy: RetryPolicy, cancel: CancellationToken) -> Self {
        Self { connection, policy, cancel }
    }

    /// The connection, for its clock and counters.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The company whose name or id is `wanted`.
    pub async fn company(&self, wanted: &str) -> Result<Company, Failure> {
        let rows = self.pages(&ApiRoute::standard(), "companies", "reading the list of companies").await?;
        let companies: Vec<_> = rows.iter().map(|row| (row, row.text("name"), row.text("displayName"))).collect();
        let is = |(row, name, display): &&(&Row, &str, &str)| {
            row.id.eq_ignore_ascii_case(wanted) || *name == wanted || *display == wanted
        };
        if let Some((row, name, _)) = companies.iter().find(is) {
            return Ok(Company { id: row.id.clone(), name: (*name).to_owned() });
        }
        let found: Vec<_> = companies.iter().map(|(_, name, _)| format!("`{name}`")).collect();
        Err(Failure::NoCompany {
            wanted: wanted.to_owned(),
            api: self.connection.api.to_string(),
            found: if found.is_empty() { "none".to_owned() } else { format!("only {}", found.join(", ")) },
        })
    }

    /// The code of the company's local currency, which documents hold as blank.
    pub async fn local_currency(&self, company: &str) -> Result<String, Failure> {
        let path = format!("companies({company})/companyInformation?$select=id,currencyCode");
        let rows = self.pages(&ApiRoute::standard(), &path, "reading the company's information").await?;
        Ok(rows.first().map(|row| row.text("currencyCode").to_owned()).unwrap_or_default())
    }

    /// The rows of `query` whose `property` is one of `values`. `guid` says that the property is one. Rows that were
    /// not asked for, as a server that ignores the filter would send, are left out by the caller, which knows how to
    /// compare.
    pub async fn find(
        &self,
        query: Query<'_>,
        property: &str,
        values: &[Value],
        guid: bool,
    ) -> Result<Vec<Row>, Failure> {
        let literals: Vec<_> = values.iter().map(|value| filter::literal(value, guid)).collect();
        let paths: Vec<_> = filter::chains(property, &literals).iter().map(|chain| query.path(Some(chain))).collect();
        let what = format!("looking up {} by {property}", query.entity);
        let route = ApiRoute::of(query.entity);
        let mut rows = Vec::new();
        for paths in paths.chunks(MAX_OPERATIONS) {
            self.batch(&route, paths, &what, &mut rows).await?;
        }
        // Rows that moved to a later page while the pages were read come twice.
        let mut seen = HashSet::with_capacity(rows.len());
        rows.retain(|row| seen.insert(row.id.clone()));
        Ok(rows)
    }

    /// A walk over the pages of `query`, from the first one on.
    #[must_use]
    pub fn walk(&self, query: Query<'_>) -> Walk {
        let first = self.connection.get(&ApiRoute::of(query.entity), &query.path(None)).url;
        Walk { what: format!("walking the ids of {}", query.entity), next: Some(first.into()), been: HashSet::new() }
    }

    /// The ids of the next page of `walk`; `None` behind the last one.
    pub async fn ids(&self, walk: &mut Walk) -> Result<Option<Vec<String>>, Failure> {
        let mut rows = Vec::new();
        let more = self.page(walk, &mut rows).await?;
        Ok(more.then(|| rows.into_iter().map(|row| row.id).collect()))
    }

    async fn batch(&self, route: &ApiRoute, paths: &[String], what: &str, rows: &mut Vec<Row>) -> Result<(), Failure> {
        if let [path] = paths {
            rows.extend(self.pages(route, path, what).await?);
            return Ok(());
        }
        let operations: Vec<_> = paths.iter().cloned().map(Operation::get).collect();
        let request = self.connection.batch(
            route,
            batch::envelope(&operations),
            Effect::Read,
            &[("prefer", "odata.continue-on-error")],
        );
        let connection = &self.connection;
        let response = connection
            .session
            .read(request, connection.batch_cost, &self.policy, &self.cancel)
            .await
            .map_err(|error| Failure::from_read(error, what))?;
        connection.saw(&response);
        if !response.status.is_success() {
            return Err(self.refused(what, BcError::read(Sent::Read, response.status.as_u16(), &response.body)).await);
        }
        let malformed = |cause: String| Failure::Malformed { what: what.to_owned(), cause };
        let parts = batch::parse(&response.body, operations.len()).map_err(malformed)?;
        for (part, path) in parts.into_iter().zip(paths) {
            match part {
                Some(part) if part.succeeded() => {
                    let next = read_page(&part.body, what, rows)?;
                    if let Some(next) = next {
                        self.follow(next, what, rows).await?;
                    }
                }
                // A part that failed for a passing reason is asked for again on its own, with the retries of a read.
                _ => rows.extend(self.pages(route, path, what).await?),
            }
        }
        Ok(())
    }

    async fn pages(&self, route: &ApiRoute, path: &str, what: &str) -> Result<Vec<Row>, Failure> {
        let mut rows = Vec::new();
        let first = self.connection.get(route, path).url;
        self.follow(first.into(), what, &mut rows).await?;
        Ok(rows)
    }

    async fn follow(&self, link: String, what: &str, rows: &mut Vec<Row>) -> Result<(), Failure> {
        let mut walk = Walk { what: what.to_owned(), next: Some(link), been: HashSet::new() };
        while self.page(&mut walk, rows).await? {}
        Ok(())
    }

    /// Reads the next page of `walk`; whether there was one.
    async fn page(&self, walk: &mut Walk, rows: &mut Vec<Row>) -> Result<bool, Failure> {
        let Some(link) = walk.next.take() else { return Ok(false) };
        let what = walk.what.as_str();
        let malformed = |cause: String| Failure::Malformed { what: what.to_owned(), cause };
        let url = link.parse().map_err(|error| malformed(format!("a next page at {error}")))?;
        if !walk.been.insert(link) {
            return Err(malformed("a next page that was read before: the pages lead in a circle".to_owned()));
        }
        let mut request = self.connection.get(&ApiRoute::standard(), "");
        request.url = url;
        let connection = &self.connection;
        let response = connection
            .session
            .read(request, 1, &self.policy, &self.cancel)
            .await
            .map_err(|error| Failure::from_read(error, what))?;
        connection.saw(&response);
        if !response.status.is_success() {
            let error = BcError::read(Sent::Read, response.status.as_u16(), &response.body);
            return Err(self.refused(what, error).await);
        }
        let text = std::str::from_utf8(&response.body).map_err(|error| malformed(error.to_string()))?;
        walk.next = read_page(text, what, rows)?;
        Ok(true)
    }

    /// What it means that BC refuses to be read.
    async fn refused(&self, what: &str, error: BcError) -> Failure {
        match error.class {
            ErrorClass::Throttled | ErrorClass::Transient | ErrorClass::TooBig => {
                Failure::Unavailable { what: what.to_owned(), cause: error.to_string() }
            }
            _ => {
                let fix = advice(&error, &self.connection).await;
                Failure::Denied { what: what.to_owned(), error: Box::new(error), fix }
            }
        }
    }
}

/// What a person can do about a refusal that concerns the set-up. Told apart as in BC's own documentation on
/// service-to-service authentication.
pub(super) async fn advice(error: &BcError, connection: &Connection) -> String {
    let api = &connection.api;
    match (error.status, error.code.as_str()) {
        (401, _) => match connection.session.token().await.ok().and_then(|token| token.claims()) {
            // Entra issues a token without roles when the permission or its consent is missing; BC then answers 401.
            Some(claims) if claims.roles.is_empty() => {
                "The token carries no application permission: add API.ReadWrite.All (Application) for \
                            Dynamics 365 Business Central to the app registration and grant admin consent"
                    .to_owned()
            }
            _ => format!(
                "Business Central does not know the application: on its page `Microsoft Entra applications` add the \
                 client id and set State to Enabled, in {api}"
            ),
        },
        (_, "Internal_CompanyNotFound") => {
            "The company is not in this environment: put `company` of the target right".to_owned()
        }
        (404, _) => format!(
            "There is nothing at this address: check `tenant`, `environment` and `base_url` of the target, and that \
             the API is installed in {api}"
        ),
        _ if error.message.to_ascii_lowercase().contains("permission") || error.status == 403 => {
            "The application may not do this: give it the permission sets for this page and table on Business \
             Central's page `Microsoft Entra applications`"
                .to_owned()
        }
        _ => "Put the configuration right, or ask the administrator of Business Central".to_owned(),
    }
}

fn read_page(text: &str, what: &str, rows: &mut Vec<Row>) -> Result<Option<String>, Failure> {
    let malformed = |cause: String| Failure::Malformed { what: what.to_owned(), cause };
    let page: Page<'_> = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    rows.reserve(page.value.len());
    for row in page.value {
        rows.push(Row::parse(row.get()).ok_or_else(|| malformed("a row without an id".to_owned()))?);
    }
    Ok(page.next)
}
