//! A shop's whole history, as large and as varied as a real one, from each kind of database into Business Central.
//!
//! The tables have the shape of a well-known sample database of a music shop: 59 customers in 24 countries, 412 orders
//! with 2,240 lines over 3,503 articles, names in many alphabets, prices and totals as NUMERIC(10,2), stamps without a
//! zone. What is in them is made up here, and is the same for every database.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bcsync::simulator::{Fault, FaultKind, FaultMatch};

use crate::databases::{Database, Engine};
use crate::scene::{Scene, TARGET};

const CUSTOMERS: usize = 59;
const ORDERS: usize = 412;
const LINES: usize = 2_240;
const TRACKS: usize = 3_503;

/// The name of each country in the CRM, its code in Business Central, and a place there.
const COUNTRIES: [(&str, &str, &str, &str); 24] = [
    ("Argentina", "AR", "Buenos Aires", "1106"),
    ("Australia", "AU", "Sidney", "NSW 2010"),
    ("Austria", "AT", "Mödling", "2340"),
    ("Belgium", "BE", "Liège", "4000"),
    ("Brazil", "BR", "São José dos Campos", "12227-000"),
    ("Canada", "CA", "Montréal", "H2G 1A7"),
    ("Chile", "CL", "Ñuñoa", "7750000"),
    ("Czech Republic", "CZ", "Český Krumlov", "381 01"),
    ("Denmark", "DK", "Ærøskøbing", "5970"),
    ("Finland", "FI", "Jyväskylä", "40100"),
    ("France", "FR", "L'Haÿ-les-Roses", "94240"),
    ("Germany", "DE", "Görlitz", "02826"),
    ("Hungary", "HU", "Győr", "9021"),
    ("India", "IN", "Bengaluru", "560001"),
    ("Ireland", "IE", "Dún Laoghaire", ""),
    ("Italy", "IT", "L'Aquila", "67100"),
    ("Netherlands", "NL", "'s-Hertogenbosch", "5211"),
    ("Norway", "NO", "Tromsø", "9008"),
    ("Poland", "PL", "Łódź", "90-001"),
    ("Portugal", "PT", "Évora", "7000"),
    ("Spain", "ES", "A Coruña", "15001"),
    ("Sweden", "SE", "Gällivare", "982 31"),
    ("USA", "US", "Winston-Salem", "27101"),
    ("United Kingdom", "GB", "King's Lynn", "PE30 1AA"),
];

const FIRST_NAMES: [&str; 11] =
    ["Jürgen", "František", "Zoë", "Bjørn", "François", "Łucja", "Søren", "Ágnes", "Siân", "João", "Þórdís"];

const LAST_NAMES: [&str; 13] = [
    "Müller-Lüdenscheidt",
    "Dvořáková",
    "O'Reilly",
    "d'Aboville",
    "Šťastný",
    "Ødegård",
    "Straße",
    "Ńemec",
    "Wójcik",
    "Gonçalves",
    "Erdős",
    "Nguyễn",
    "Smith",
];

const COMPANIES: [Option<&str>; 5] = [
    None,
    Some("Příliš žluťoučký kůň s.r.o."),
    None,
    Some("Bäckerei \"Zum Löwen\" & Söhne"),
    Some("Rock 'n' Roll Ltd."),
];

/// Prices in cents; many of them are no finite binary fractions.
const PRICES: [i64; 7] = [99, 199, 10, 115, 1_386, 7, 104_995];

/// A row of the table of customers.
struct Customer {
    id: usize,
    first: &'static str,
    last: &'static str,
    company: Option<&'static str>,
    country: usize,
}

impl Customer {
    fn all() -> Vec<Self> {
        let customer = |id: usize| Self {
            id,
            first: FIRST_NAMES[id % FIRST_NAMES.len()],
            last: LAST_NAMES[id % LAST_NAMES.len()],
            company: COMPANIES[id % COMPANIES.len()],
            country: id % COUNTRIES.len(),
        };
        (1..=CUSTOMERS).map(customer).collect()
    }

    fn has_phone(&self) -> bool {
        !self.id.is_multiple_of(9)
    }

    fn name(&self) -> String {
        self.company.map_or_else(|| format!("{} {}", self.first, self.last), str::to_owned)
    }

    fn row(&self) -> String {
        let (country, _, city, zip) = COUNTRIES[self.country];
        let company = self.company.map_or_else(|| "NULL".to_owned(), quoted);
        let phone = if self.has_phone() { format!("'+49 (0)30 / {:07}'", self.id * 7_919) } else { "NULL".to_owned() };
        let street = format!("Theodor-Heuß-Straße {}", self.id);
        let [first, last, street, city, country, zip] =
            [self.first, self.last, &street, city, country, zip].map(quoted);
        format!(
            "({}, {first}, {last}, {company}, {street}, {city}, {country}, {zip}, {phone}, 'C{}@Example.ORG')",
            self.id, self.id
        )
    }
}

/// An order with its lines: key, track, price in cents, quantity.
struct Order {
    id: usize,
    customer: usize,
    lines: Vec<(usize, usize, i64, i64)>,
}

impl Order {
    fn all() -> Vec<Self> {
        let mut next_line = 1;
        let order = |id: usize| {
            // As in the real shop: many small orders, some large ones. The last one is a line short.
            let count = [2, 2, 4, 6, 9, 14, 1][(id - 1) % 7] - usize::from(id == ORDERS);
            let lines = (next_line..next_line + count).map(|line| {
                let price = PRICES[(line * 5 + id) % PRICES.len()];
                (line, 1 + (line * 31) % TRACKS, price, 1 + i64::try_from(line % 3).unwrap())
            });
            let order = Self { id, customer: 1 + (id * 17) % CUSTOMERS, lines: lines.collect() };
            next_line += count;
            order
        };
        (1..=ORDERS).map(order).collect()
    }

    fn cents(&self) -> i64 {
        self.lines.iter().map(|(_, _, price, quantity)| price * quantity).sum()
    }

    fn date(&self) -> String {
        format!("{}-{:02}-{:02}", 2021 + self.id % 5, 1 + self.id % 12, 1 + self.id % 28)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// The statements that make and fill the tables in a database of this kind.
fn statements(engine: Engine) -> String {
    let (number, stamp) = match engine {
        Engine::Sqlite => ("NUMERIC(10,2)", "DATETIME"),
        Engine::Postgres => ("NUMERIC(10,2)", "TIMESTAMP"),
        Engine::MariaDb => ("DECIMAL(10,2)", "DATETIME"),
    };
    let mut sql = format!(
        "CREATE TABLE Customer (CustomerId INTEGER PRIMARY KEY, FirstName VARCHAR(40) NOT NULL,
            LastName VARCHAR(20) NOT NULL, Company VARCHAR(80), Address VARCHAR(70), City VARCHAR(40),
            Country VARCHAR(40), PostalCode VARCHAR(10), Phone VARCHAR(24), Email VARCHAR(60) NOT NULL);
        CREATE TABLE Invoice (InvoiceId INTEGER PRIMARY KEY, CustomerId INTEGER NOT NULL REFERENCES Customer,
            InvoiceDate {stamp} NOT NULL, Total {number} NOT NULL);
        CREATE TABLE InvoiceLine (InvoiceLineId INTEGER PRIMARY KEY, InvoiceId INTEGER NOT NULL REFERENCES Invoice,
            TrackId INTEGER NOT NULL, UnitPrice {number} NOT NULL, Quantity INTEGER NOT NULL);\n"
    );
    if engine == Engine::MariaDb {
        // A reference without its column is SQL, but not MariaDB's.
        sql = sql.replace(" REFERENCES Customer", "").replace(" REFERENCES Invoice", "");
    }
    let orders = Order::all();
    let customers: Vec<_> = Customer::all().iter().map(Customer::row).collect();
    let invoices = orders.iter().map(|order| {
        format!("({}, {}, '{} 00:00:00', {})", order.id, order.customer, order.date(), money(order.cents()))
    });
    let lines = orders.iter().flat_map(|order| {
        let row = |(line, track, price, quantity): &(usize, usize, i64, i64)| {
            format!("({line}, {}, {track}, {}, {quantity})", order.id, money(*price))
        };
        order.lines.iter().map(row)
    });
    for (table, rows) in
        [("Customer", customers), ("Invoice", invoices.collect()), ("InvoiceLine", lines.collect::<Vec<_>>())]
    {
        writeln!(sql, "INSERT INTO {table} VALUES {};", rows.join(",\n")).unwrap();
    }
    sql
}

/// The configuration for a database of this kind. Names after a `$` are columns: PostgreSQL gives them in lower case.
fn config(database: &Database) -> String {
    let source = match database.engine() {
        Engine::Sqlite => format!("type = \"sqlite\"\npath = \"{}\"", database.url()),
        Engine::Postgres => "type = \"postgres\"\nurl = { env = \"CRM\" }".to_owned(),
        Engine::MariaDb => "type = \"mysql\"\nurl = { env = \"CRM\" }".to_owned(),
    };
    let jobs = r#"
[jobs.customers]
source = "crm"
entity = "customers"
query = "SELECT CustomerId, FirstName, LastName, Company, Address, City, Country, PostalCode, Phone, Email FROM Customer"
key = "$CustomerId"
match_on = "number"
on_conflict = "source_wins"

[jobs.customers.fields]
number = "'CH' ~ $CustomerId"
displayName = "$Company or ($FirstName ~ ' ' ~ $LastName)"
type = "'Company' if $Company else 'Person'"
addressLine1 = "$Address"
city = "$City"
postalCode = "$PostalCode"
country = "$Country | translate('country')"
phoneNumber = "$Phone"
email = "$Email | lower"

[jobs.orders]
source = "crm"
entity = "salesOrders"
after = ["customers"]
query = "SELECT InvoiceId, CustomerId, InvoiceDate, Total FROM Invoice"
key = "$InvoiceId"
match_on = "externalDocumentNumber"
on_conflict = "source_wins"
check_total = { property = "totalAmountExcludingTax", equals = "$Total", tolerance = "0.00" }

[jobs.orders.fields]
externalDocumentNumber = "'CH-' ~ $InvoiceId"
customerId = "link('customers', $CustomerId)"
orderDate = "$InvoiceDate | date"

[jobs.orders.lines]
entity = "salesOrderLines"
query = "SELECT InvoiceId, InvoiceLineId, TrackId, UnitPrice, Quantity FROM InvoiceLine"
parent = "$InvoiceId"
key = "$InvoiceLineId"

[jobs.orders.lines.fields]
itemId = "lookup('items', 'T' ~ $TrackId)"
quantity = "$Quantity"
unitPrice = "$UnitPrice"

[maps.country]
"#;
    let mut jobs = jobs.split('$').enumerate().fold(String::new(), |text, (index, part)| {
        let end = part.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(part.len());
        let (column, rest) = part.split_at(if index == 0 { 0 } else { end });
        let column = if database.engine() == Engine::Postgres { column.to_lowercase() } else { column.to_owned() };
        text + &column + rest
    });
    for (country, code, ..) in COUNTRIES {
        writeln!(jobs, "\"{country}\" = \"{code}\"").unwrap();
    }
    format!("{TARGET}\n[sources.crm]\n{source}\n{jobs}")
}

#[tokio::test]
async fn from_sqlite() {
    a_shop_arrives_to_the_cent(Engine::Sqlite).await;
}

#[tokio::test]
async fn from_postgres() {
    a_shop_arrives_to_the_cent(Engine::Postgres).await;
}

#[tokio::test]
async fn from_mariadb() {
    a_shop_arrives_to_the_cent(Engine::MariaDb).await;
}

async fn a_shop_arrives_to_the_cent(engine: Engine) {
    let Some(mut database) = Database::start(engine).await else { return };
    database.execute(&statements(engine)).await;
    let mut scene = Scene::new(&config(&database)).await;
    scene.set("CRM", database.url());
    let items = (1..=TRACKS)
        .map(|track| serde_json::json!({ "number": format!("T{track}"), "displayName": format!("Track {track}") }));
    scene.simulator.load("items", &items.collect::<serde_json::Value>().to_string()).unwrap();

    scene.run(&["run"]).await.exits(0).says("taken 59 = 59 created").says("taken 412 = 412 created");
    customers_are_right(&scene);
    orders_are_right(&scene);
    scene.nothing_is_left().await;
    one_edit_is_one_property(&scene, &mut database).await;
    scene.nothing_is_left().await;
}

fn customers_are_right(scene: &Scene) {
    let rows = scene.simulator.rows("customers").unwrap();
    assert_eq!(rows.len(), CUSTOMERS);
    for customer in Customer::all() {
        let number = format!("CH{}", customer.id);
        let row = rows.iter().find(|row| row["number"] == number).unwrap_or_else(|| panic!("{number} is missing"));
        let (_, code, city, zip) = COUNTRIES[customer.country];
        assert_eq!(row["displayName"], customer.name());
        assert_eq!(row["type"], if customer.company.is_some() { "Company" } else { "Person" });
        assert_eq!((&row["country"], &row["city"]), (&code.into(), &city.into()));
        assert_eq!(row["postalCode"], zip);
        assert_eq!(row["email"], format!("c{}@example.org", customer.id));
        assert_eq!(row["phoneNumber"] != "", customer.has_phone(), "{row}");
    }
}

fn orders_are_right(scene: &Scene) {
    assert_eq!(scene.simulator.count("salesOrderLines"), Ok(LINES));
    let rows = scene.simulator.rows("salesOrders").unwrap();
    assert_eq!(rows.len(), ORDERS);
    let rows: BTreeMap<_, _> = rows.iter().map(|row| (row["externalDocumentNumber"].as_str().unwrap(), row)).collect();
    let mut sum = 0;
    for order in Order::all() {
        let row = rows[format!("CH-{}", order.id).as_str()];
        assert_eq!(cents(&row["totalAmountExcludingTax"]), order.cents(), "{row}");
        assert_eq!(row["customerNumber"], format!("CH{}", order.customer));
        assert_eq!(row["orderDate"], order.date());
        sum += order.cents();
    }
    let total = scene.simulator.total("salesOrders", "totalAmountExcludingTax").unwrap();
    assert_eq!(total.to_string(), money(sum));
}

/// A JSON number in cents, by its digits.
fn cents(number: &serde_json::Value) -> i64 {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{fraction:0<2}").parse().unwrap_or_else(|_| panic!("{text} is no amount"))
}

/// Changes one e-mail address, and looks at the one request that this makes.
async fn one_edit_is_one_property(scene: &Scene, database: &mut Database) {
    database.execute("UPDATE Customer SET Email = 'Juergen.Neu@Example.org' WHERE CustomerId = 11").await;
    let bait = |property: &str| {
        let matching = FaultMatch {
            method: Some("PATCH".to_owned()),
            property: Some(property.to_owned()),
            ..FaultMatch::default()
        };
        // It changes nothing, but is counted when it strikes.
        scene.simulator.inject(Fault::once(FaultKind::Latency { ms: 0 }, matching));
    };
    let others = ["number", "displayName", "type", "addressLine1", "city", "postalCode", "country", "phoneNumber"];
    others.into_iter().for_each(bait);
    scene.simulator.reset_stats();
    scene.run(&["run"]).await.exits(0).says("read  59 = 58 unchanged + 1 staged").says("taken 1 = 1 updated");
    let stats = scene.simulator.stats();
    assert_eq!((stats.writes(), stats.set("customers").updates, stats.faults), (1, 1, 0), "{stats:?}");
    assert!(scene.column("customers", "email").contains(&"juergen.neu@example.org".to_owned()));

    // The bait is good: it is taken when the property does change.
    scene.simulator.clear_faults();
    bait("email");
    database.execute("UPDATE Customer SET Email = 'c11@example.org' WHERE CustomerId = 11").await;
    scene.run(&["run"]).await.exits(0);
    assert_eq!(scene.simulator.stats().faults, 1);
}
