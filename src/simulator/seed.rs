//! What a fresh company holds: code tables, number series and its own address.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::record::Record;
use super::store::{Company, Series, Setup, Store};
use super::value::Value;

const COUNTRIES: Codes = &[
    ("AE", "United Arab Emirates"),
    ("AR", "Argentina"),
    ("AT", "Austria"),
    ("AU", "Australia"),
    ("BE", "Belgium"),
    ("BG", "Bulgaria"),
    ("BR", "Brazil"),
    ("CA", "Canada"),
    ("CH", "Switzerland"),
    ("CL", "Chile"),
    ("CN", "China"),
    ("CO", "Colombia"),
    ("CY", "Cyprus"),
    ("CZ", "Czechia"),
    ("DE", "Germany"),
    ("DK", "Denmark"),
    ("EE", "Estonia"),
    ("ES", "Spain"),
    ("FI", "Finland"),
    ("FR", "France"),
    ("GB", "Great Britain"),
    ("GR", "Greece"),
    ("HK", "Hong Kong"),
    ("HR", "Croatia"),
    ("HU", "Hungary"),
    ("ID", "Indonesia"),
    ("IE", "Ireland"),
    ("IL", "Israel"),
    ("IN", "India"),
    ("IS", "Iceland"),
    ("IT", "Italy"),
    ("JP", "Japan"),
    ("KE", "Kenya"),
    ("KR", "South Korea"),
    ("LI", "Liechtenstein"),
    ("LT", "Lithuania"),
    ("LU", "Luxembourg"),
    ("LV", "Latvia"),
    ("MA", "Morocco"),
    ("MT", "Malta"),
    ("MX", "Mexico"),
    ("MY", "Malaysia"),
    ("NG", "Nigeria"),
    ("NL", "Netherlands"),
    ("NO", "Norway"),
    ("NZ", "New Zealand"),
    ("PE", "Peru"),
    ("PH", "Philippines"),
    ("PL", "Poland"),
    ("PT", "Portugal"),
    ("RO", "Romania"),
    ("RS", "Serbia"),
    ("SA", "Saudi Arabia"),
    ("SE", "Sweden"),
    ("SG", "Singapore"),
    ("SI", "Slovenia"),
    ("SK", "Slovakia"),
    ("TH", "Thailand"),
    ("TR", "Türkiye"),
    ("TW", "Taiwan"),
    ("UA", "Ukraine"),
    ("US", "USA"),
    ("UY", "Uruguay"),
    ("VN", "Vietnam"),
    ("ZA", "South Africa"),
];

const CURRENCIES: &[(&str, &str, &str)] = &[
    ("AUD", "Australian dollar", "$"),
    ("BRL", "Brazilian real", "R$"),
    ("CAD", "Canadian dollar", "$"),
    ("CHF", "Swiss franc", "CHF"),
    ("CZK", "Czech koruna", "Kč"),
    ("DKK", "Danish krone", "kr"),
    ("EUR", "Euro", "€"),
    ("GBP", "Pound Sterling", "£"),
    ("HUF", "Hungarian forint", "Ft"),
    ("INR", "Indian rupee", "₹"),
    ("JPY", "Japanese yen", "¥"),
    ("NOK", "Norwegian krone", "kr"),
    ("PLN", "Polish zloty", "zł"),
    ("SEK", "Swedish krona", "kr"),
    ("USD", "US dollar", "$"),
];

const PAYMENT_TERMS: &[(&str, &str, &str)] = &[
    ("1M(8D)", "1 Month/2% 8 days", "1M"),
    ("10 DAYS", "Net 10 days", "10D"),
    ("14 DAYS", "Net 14 days", "14D"),
    ("15 DAYS", "Net 15 days", "15D"),
    ("21 DAYS", "Net 21 days", "21D"),
    ("30 DAYS", "Net 30 days", "30D"),
    ("60 DAYS", "Net 60 days", "60D"),
    ("7 DAYS", "Net 7 days", "7D"),
    ("CM", "Current Month", "CM"),
    ("COD", "Cash on delivery", "0D"),
    ("NET30", "Net 30 days", "30D"),
];

/// Codes with their names.
type Codes = &'static [(&'static str, &'static str)];

/// Sets whose rows are nothing but a code and a name: set, property of the name, rows.
const CODES: &[(&str, &str, Codes)] = &[
    (
        "paymentMethods",
        "displayName",
        &[
            ("BANK", "Bank Transfer"),
            ("CARD", "Card payment"),
            ("CASH", "Cash payment"),
            ("CHECK", "Check payment"),
            ("PAYPAL", "PayPal"),
        ],
    ),
    (
        "shipmentMethods",
        "displayName",
        &[
            ("CFR", "Cost and Freight"),
            ("CIF", "Cost Insurance and Freight"),
            ("DDP", "Delivered Duty Paid"),
            ("EXW", "Ex Warehouse"),
            ("PICKUP", "Pickup at Location"),
        ],
    ),
    (
        "taxAreas",
        "displayName",
        &[
            ("DOMESTIC", "Domestic customers and vendors"),
            ("EU", "Customers and vendors in EU"),
            ("EXPORT", "Other customers and vendors"),
        ],
    ),
    ("taxGroups", "displayName", &[("FULL", "Full rate"), ("REDUCED", "Reduced rate"), ("ZERO", "Zero rate")]),
    (
        "itemCategories",
        "displayName",
        &[("FURNITURE", "Furniture"), ("MISC", "Miscellaneous"), ("MUSIC", "Music"), ("SERVICE", "Services")],
    ),
    ("locations", "displayName", &[("EAST", "East Warehouse"), ("MAIN", "Main Warehouse"), ("WEST", "West Warehouse")]),
    ("salespeoplePurchasers", "displayName", &[("BC", "Bart Duncan"), ("JO", "Jim Olive"), ("LM", "Lina Townsend")]),
    (
        "generalProductPostingGroups",
        "description",
        &[("RETAIL", "Resale items"), ("SERVICES", "Services"), ("MISC", "Miscellaneous")],
    ),
    ("inventoryPostingGroups", "description", &[("RESALE", "Resale items")]),
];

const UNITS: &[(&str, &str, &str)] = &[
    ("BOX", "Box", "BX"),
    ("DAY", "Day", "DAY"),
    ("HOUR", "Hour", "HUR"),
    ("KG", "Kilogram", "KGM"),
    ("PACK", "Pack", "PK"),
    ("PCS", "Piece", "EA"),
    ("SET", "Set", "SET"),
];

/// The environment with fresh companies of these names, stamped `now`.
pub(super) fn store(names: &[String], setup: &Setup, now: DateTime<Utc>) -> Store {
    Store { companies: names.iter().map(|name| company(name, setup.clone(), now)).collect() }
}

fn company(name: &str, setup: Setup, now: DateTime<Utc>) -> Company {
    let mut company = Company::new(name.to_owned(), setup);
    company.now = now;
    add_series(&mut company);
    for (code, country) in COUNTRIES {
        let mut record = coded(&company, "countriesRegions", code, "displayName", country);
        record.set_option("addressFormat", "City_x002B_Post_x0020_Code");
        add(&mut company, record);
    }
    for (code, currency, symbol) in CURRENCIES {
        let mut record = coded(&company, "currencies", code, "displayName", currency);
        record.set_text("symbol", symbol);
        record.set_text("amountDecimalPlaces", "2:2");
        record.set("amountRoundingPrecision", Value::Decimal(Decimal::new(1, 2)));
        add(&mut company, record);
    }
    for (code, terms, due) in PAYMENT_TERMS {
        let mut record = coded(&company, "paymentTerms", code, "displayName", terms);
        record.set_text("dueDateCalculation", due);
        add(&mut company, record);
    }
    for (set, property, rows) in CODES {
        for (code, text) in *rows {
            let mut record = coded(&company, set, code, property, text);
            if record.set.position("taxType").is_some() {
                record.set_option("taxType", "VAT");
            }
            add(&mut company, record);
        }
    }
    for (code, unit, standard) in UNITS {
        let mut record = coded(&company, "unitsOfMeasure", code, "displayName", unit);
        record.set_text("internationalStandardCode", standard);
        add(&mut company, record);
    }
    let mut information = company.blank("companyInformation");
    information.set_text("displayName", name);
    information.set_text("country", "US");
    let currency = company.setup.local_currency.clone();
    information.set_text("currencyCode", &currency);
    add(&mut company, information);
    company
}

fn add(company: &mut Company, record: Record) {
    company.insert(record).expect("the codes above are distinct");
}

fn coded(company: &Company, set: &str, code: &str, property: &str, text: &str) -> Record {
    let mut record = company.blank(set);
    record.set_text("code", code);
    record.set_text(property, text);
    record
}

/// Gives a company its number series.
pub(super) fn add_series(company: &mut Company) {
    for (set, code, prefix, next, step) in [
        ("customers", "CUST", "C", 10_010, 10),
        ("contacts", "CONT", "CT", 100_001, 1),
        ("items", "ITEM", "", 1_000, 1),
        ("salesOrders", "S-ORD", "S-ORD", 101_001, 1),
        ("salesInvoices", "S-INV", "PS-INV", 103_001, 1),
    ] {
        company.series.insert(set, Series { code, prefix, next, step });
    }
}
