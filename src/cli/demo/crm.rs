//! The demo's CRM: a SQLite file with made-up customers and orders, some of them flawed.

use std::path::Path;

use rust_decimal::Decimal;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

const CUSTOMERS: i64 = 300;
const ORDERS: i64 = 400;
const ITEMS: i64 = 40;

/// An open CRM.
pub(super) struct Crm(SqlitePool);

const TABLES: &str = "
CREATE TABLE account (
    id INTEGER PRIMARY KEY, name TEXT, street TEXT, city TEXT, zip TEXT, country TEXT, email TEXT,
    credit_limit TEXT, terms TEXT);
CREATE TABLE sales_order (id INTEGER PRIMARY KEY, account_id INTEGER, ordered_on TEXT, total TEXT);
CREATE TABLE order_line (order_id INTEGER, line_no INTEGER, sku TEXT, quantity INTEGER, price TEXT,
    PRIMARY KEY (order_id, line_no));";

/// The flaws: an unknown country, a name that is too long, a broken e-mail address, an order without a customer and
/// one for an item that Business Central does not have.
const FLAWS: &str = "
UPDATE account SET country = 'Atlantis' WHERE id = 17;
UPDATE account SET name = 'The ' || replace(hex(zeroblob(60)), '00', 'Very ') || 'Long Company' WHERE id = 42;
UPDATE account SET email = 'nobody at nowhere' WHERE id = 99;
UPDATE sales_order SET account_id = 4711 WHERE id = 123;
UPDATE order_line SET sku = 'GONE' WHERE order_id = 200 AND line_no = 1;";

const EDITS: &str = "
UPDATE account SET email = 'new.address@' || id || '.example' WHERE id IN (5, 6);
UPDATE account SET credit_limit = '7500.50' WHERE id = 7;
UPDATE account SET country = 'Canada' WHERE id = 17;
UPDATE order_line SET quantity = quantity + 1 WHERE order_id = 10 AND line_no = 1;
UPDATE sales_order SET total = (SELECT printf('%.2f', sum(quantity * price)) FROM order_line WHERE order_id = 10) WHERE id = 10;
INSERT INTO account VALUES (301, 'Newcomer Ltd', '1 First Street', 'Leeds', 'LS1 4AP', 'United Kingdom', 'hello@newcomer.example', '100.00', '14 DAYS');
INSERT INTO sales_order VALUES (401, 301, '2026-03-01', '19.98');
INSERT INTO order_line VALUES (401, 1, 'SKU-01', 2, '9.99');";

impl Crm {
    /// Makes the CRM at `path`.
    pub(super) async fn make(path: &Path) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        // As with the ledger, no connection is looked after: the task that does so may never end.
        let pool = SqlitePoolOptions::new().max_lifetime(None).idle_timeout(None);
        let crm = Self(pool.connect_with(options).await?);
        crm.run(&[TABLES, &customers(), &orders(), FLAWS].concat()).await?;
        Ok(crm)
    }

    /// Does what people do in a CRM.
    pub(super) async fn edit(&self) -> sqlx::Result<()> {
        self.run(EDITS).await
    }

    /// Closes the file.
    pub(super) async fn close(self) {
        self.0.close().await;
    }

    async fn run(&self, statements: &str) -> sqlx::Result<()> {
        let mut tx = self.0.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut *tx).await?;
        tx.commit().await
    }
}

/// The items that Business Central has, as JSON.
pub(super) fn items() -> String {
    let item = |number: i64| serde_json::json!({ "number": format!("SKU-{number:02}"), "displayName": format!("Article {number}"), "unitPrice": 1 });
    (0..ITEMS).map(item).collect::<serde_json::Value>().to_string()
}

fn customers() -> String {
    let names = ["Alder", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Maple", "Oak", "Pine", "Willow"];
    let trades = ["Trading", "Foods", "Tools", "Books", "Sports", "Optics", "Toys"];
    let places = [
        ("United States", "Portland", "97201"),
        ("Canada", "Halifax", "B3H 4R2"),
        ("United Kingdom", "York", "YO1 7HH"),
    ];
    let pick = |list: &[&'static str], number: i64| list[usize::try_from(number).unwrap_or(0) % list.len()];
    let row = |id: i64| {
        let name = format!("{} {} {id}", pick(&names, id), pick(&trades, id / 3));
        let (country, city, zip) = places[usize::try_from(id).unwrap_or(0) % places.len()];
        let terms = if id % 2 == 0 { "14 DAYS" } else { "1M(8D)" };
        format!(
            "({id}, '{name}', '{id} High Street', '{city}', '{zip}', '{country}', 'office@{id}.example', '{}.50', '{terms}')",
            id * 10
        )
    };
    insert("account", (1..=CUSTOMERS).map(row))
}

fn orders() -> String {
    let mut orders = Vec::new();
    let mut lines = Vec::new();
    for id in 1..=ORDERS {
        let mut total = Decimal::ZERO;
        for line in 1..=1 + id % 4 {
            let (quantity, price) = (1 + (id + line) % 5, Decimal::new(999 + 250 * ((id * line) % 7), 2));
            total += Decimal::from(quantity) * price;
            lines.push(format!("({id}, {line}, 'SKU-{:02}', {quantity}, '{price}')", (id + line * 3) % ITEMS));
        }
        let day = 1 + id % 28;
        orders.push(format!("({id}, {}, '2026-02-{day:02}', '{total}')", 1 + (id * 7) % CUSTOMERS));
    }
    insert("sales_order", orders.into_iter()) + &insert("order_line", lines.into_iter())
}

fn insert(table: &str, rows: impl Iterator<Item = String>) -> String {
    format!("INSERT INTO {table} VALUES {};\n", rows.collect::<Vec<_>>().join(",\n"))
}
