//! The CRM of a world: what is in it, and its edits.

use sqlx::AssertSqlSafe;

use super::{World, told};
use crate::dice::Dice;
use crate::people::Place;

impl World {
    /// Executes SQL in the CRM, in which `@VERSION` is the version of this change.
    pub(crate) async fn source(&self, sql: &str) {
        let sql = sql.replace("@VERSION", "(SELECT n FROM tick)");
        let sql = format!("BEGIN IMMEDIATE; UPDATE tick SET n = n + 1; {sql}; COMMIT");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.crm).await.unwrap();
    }

    /// Rows of a query on the CRM, each as its values joined by `|`.
    pub(crate) async fn rows_of_source(&self, sql: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&self.crm).await.unwrap();
        rows.iter().map(told).collect()
    }

    /// Adds customers.
    pub(crate) async fn add_accounts(&mut self, count: i64) {
        let row = |id| format!("({id}, 'C{id}', 'Customer {id}', 'office@c{id}.example', '{id}.50', @VERSION)");
        let rows: Vec<_> = (self.accounts + 1..=self.accounts + count).map(row).collect();
        self.source(&format!("INSERT INTO account VALUES {}", rows.join(","))).await;
        self.accounts += count;
    }

    /// Adds orders of two lines, each for one of the customers.
    pub(crate) async fn add_orders(&mut self, count: i64) {
        let ids = self.orders + 1..=self.orders + count;
        let order = |id| format!("({id}, 'WEB-{id}', {}, '', @VERSION)", 1 + (id - 1) % self.accounts);
        let line = |id, no| format!("({id}, {no}, 'ITEM-{}', {}, '2.25', 'Line {no}')", 1 + (id + no) % 9, 1 + id % 3);
        let orders: Vec<_> = ids.clone().map(order).collect();
        let lines: Vec<_> = ids.flat_map(|id| [line(id, 1), line(id, 2)]).collect();
        let (orders, lines) = (orders.join(","), lines.join(","));
        self.source(&format!("INSERT INTO sales_order VALUES {orders}; INSERT INTO order_line VALUES {lines}")).await;
        self.orders += count;
    }

    /// Changes an order of the CRM, its lines by the statement `lines`.
    pub(crate) async fn change_lines(&self, order: i64, lines: &str) {
        self.source(&format!("{lines}; UPDATE sales_order SET version = @VERSION WHERE id = {order}")).await;
    }

    /// Something that people do in a CRM. Values come from small sets, so that many go back to what they were.
    pub(crate) async fn edit_source(&mut self, dice: &mut Dice) {
        let (account, order) = (dice.one_of(self.accounts), dice.one_of(self.orders));
        let (line, value) = (dice.one_of(4), dice.one_of(4));
        self.edits.in_source += 1;
        match dice.roll(12) {
            0..=2 => {
                self.edited_last = Some(Place::Customer(format!("C{account}"), "email"));
                let email = format!("v{value}@c{account}.example");
                self.source(&format!("UPDATE account SET email = '{email}', version = @VERSION WHERE id = {account}"))
                    .await;
            }
            3 => {
                let name = format!("Customer {account}.{value}");
                self.source(&format!("UPDATE account SET name = '{name}', version = @VERSION WHERE id = {account}"))
                    .await;
            }
            4 => {
                self.edited_last = Some(Place::Order(format!("WEB-{order}"), "email"));
                let email = format!("v{value}@o{order}.example");
                self.source(&format!(
                    "UPDATE sales_order SET email = '{email}', version = @VERSION WHERE id = {order}"
                ))
                .await;
            }
            5..=7 => {
                // The first line is there in every order.
                if line == 1 {
                    self.edited_last = Some(Place::Quantity(format!("WEB-{order}"), "Line 1".to_owned()));
                }
                let set = format!("UPDATE order_line SET qty = {value} WHERE order_id = {order} AND line_no = {line}");
                self.change_lines(order, &set).await;
            }
            8 => {
                let add = format!(
                    "INSERT OR IGNORE INTO order_line VALUES ({order}, {line}, 'ITEM-{line}', {value}, '2.50', 'Line {line}')"
                );
                self.change_lines(order, &add).await;
            }
            // The first line stays. So do those that a person has changed: the judge would miss them.
            9 if !self.entered.keys().any(|place| place.is_line_of(&format!("WEB-{order}"))) => {
                let remove =
                    format!("DELETE FROM order_line WHERE order_id = {order} AND line_no = {line} AND line_no > 1");
                self.change_lines(order, &remove).await;
            }
            10 => self.add_accounts(1).await,
            _ => self.add_orders(1).await,
        }
    }
}
