//! The reference: what the source holds, and the steps by which a history goes on.

use std::collections::{BTreeMap, BTreeSet};

use bcsync::simulator::{Deed, FaultKind};
use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::ReferenceStateMachine;
use serde_json::json;

/// Ids of accounts, of orders, and numbers of lines: few, so that histories meet the same record again and again.
pub(crate) const IDS: std::ops::RangeInclusive<u8> = 1..=4;

/// A value that is edited and may return to an earlier one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    pub(crate) now: u32,
    /// All that it was before.
    pub(crate) earlier: Vec<u32>,
}

impl Cell {
    fn new(now: u32) -> Self {
        Self { now, earlier: Vec::new() }
    }

    /// A value that it never had, or one that it had `back` edits ago.
    fn edit(&mut self, fresh: u32, back: Option<u8>) {
        let now = back.and_then(|back| self.earlier.iter().rev().nth(usize::from(back)).copied()).unwrap_or(fresh);
        self.earlier.push(self.now);
        self.now = now;
    }

    /// Whether it never was what it is now.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.earlier.contains(&self.now)
    }
}

/// A row of `account`.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// The customer's number is `C` and this.
    pub(crate) no: u8,
    pub(crate) email: Cell,
    pub(crate) country: u8,
    pub(crate) revision: u32,
}

/// A row of `sales_order` with its lines: quantities by number.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) account: u8,
    pub(crate) email: Cell,
    pub(crate) lines: BTreeMap<u8, Cell>,
    pub(crate) revision: u32,
}

/// Who wins a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    SourceWins,
    BcWins,
    Hold,
}

impl Policy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SourceWins => "source_wins",
            Self::BcWins => "bc_wins",
            Self::Hold => "hold",
        }
    }
}

/// What the source holds, and how the jobs are configured.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) accounts: BTreeMap<u8, Account>,
    pub(crate) orders: BTreeMap<u8, Order>,
    pub(crate) customers_policy: Policy,
    pub(crate) orders_policy: Policy,
    pub(crate) check_total: bool,
    /// Whether passes read what changed since the cursor.
    pub(crate) cursor: bool,
    /// Customers that Business Central has before anything begins.
    pub(crate) older_customers: Vec<u8>,
    /// Accounts that had another number before, and numbers that were of more than one account.
    pub(crate) disputed: BTreeSet<u8>,
    /// By how many seconds Business Central's clock is ahead of ours.
    pub(crate) clock_ahead: i64,
    /// The stamp of edits; several edits share one.
    revision: u32,
    /// The number of values given out.
    values: u32,
}

/// A property that both sides edit, in Business Central's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Property {
    CustomerEmail(u8),
    CustomerCity(u8),
    OrderEmail(u8),
    /// The quantity of a line.
    Line(u8, u8),
}

/// What a person does in Business Central.
#[derive(Debug, Clone)]
pub(crate) enum Person {
    /// Notes a phone number, which is not mapped.
    Phone(u8),
    /// Edits a mapped property.
    Edits(Property),
    /// Adds a line of their own to an order.
    AddsLine(u8),
    DeletesLine(u8, u8),
    DeletesCustomer(u8),
    /// Releases, reopens, posts or deletes an order.
    Order(u8, Deed),
}

/// What a fault strikes: writes or reads of a set.
#[derive(Debug, Clone)]
pub(crate) struct Strike {
    pub(crate) method: &'static str,
    pub(crate) set: &'static str,
    pub(crate) kind: FaultKind,
    pub(crate) times: u32,
    pub(crate) probability: f64,
}

/// How a history goes on.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A new account, or one that comes back.
    Account(u8),
    DropAccount(u8),
    /// The second says how many edits ago it was so; `None`: never.
    Email(u8, Option<u8>),
    Country(u8),
    /// The first gets the number of the second.
    Renumber(u8, u8),
    SwapNumbers(u8, u8),
    /// A new order of an account, or one that comes back.
    Order(u8, u8),
    DropOrder(u8),
    OrderEmail(u8, Option<u8>),
    /// The order is of another account now.
    Move(u8, u8),
    /// A line is new or has another quantity.
    Line(u8, u8, Option<u8>),
    DropLine(u8, u8),
    /// What is edited from here on has a later stamp.
    LaterStamp,
    Person(Person),
    Fault(Strike),
    NoFaults,
    Pass {
        full: bool,
    },
    /// A pass that ends when it was polled so often.
    Crash {
        polls: u32,
        full: bool,
    },
    /// Every request has arrived, and the settle window passes in Business Central.
    Window,
    /// Our clock is set, by so many minutes.
    OurClock(i16),
}

/// The histories, with passes that read what changed since the cursor, or everything.
#[derive(Debug)]
pub(crate) struct History<const CURSOR: bool>;

impl<const CURSOR: bool> ReferenceStateMachine for History<CURSOR> {
    type State = Source;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Source> {
        let policy = || select(vec![Policy::SourceWins, Policy::BcWins, Policy::Hold]);
        let orders = btree_map(IDS, (IDS, 1..=3_u8), 0..=3);
        let flags = (any::<bool>(), select(vec![0, 0, 7_200, -7_200, 315_360_000]));
        (policy(), policy(), flags, 0..=4_u8, orders, select(vec![vec![], vec![2], vec![3, 4]]))
            .prop_map(|(customers_policy, orders_policy, (check_total, clock_ahead), accounts, orders, older)| {
                let mut source = Source {
                    accounts: BTreeMap::new(),
                    orders: BTreeMap::new(),
                    customers_policy,
                    orders_policy,
                    check_total,
                    cursor: CURSOR,
                    older_customers: older,
                    disputed: BTreeSet::new(),
                    clock_ahead,
                    revision: 1,
                    values: 0,
                };
                for id in 1..=accounts {
                    source.take(&Step::Account(id));
                }
                for (id, (account, lines)) in orders {
                    source.take(&Step::Order(id, account));
                    for line in 2..=lines {
                        source.take(&Step::Line(id, line, None));
                    }
                }
                source
            })
            .boxed()
    }

    fn transitions(_: &Source) -> BoxedStrategy<Step> {
        let id = || IDS;
        let back = || prop_oneof![2 => Just(None), 1 => (0..3_u8).prop_map(Some)];
        let crm = prop_oneof![
            3 => id().prop_map(Step::Account),
            1 => id().prop_map(Step::DropAccount),
            6 => (id(), back()).prop_map(|(id, back)| Step::Email(id, back)),
            2 => id().prop_map(Step::Country),
            1 => (id(), id()).prop_map(|(id, other)| Step::Renumber(id, other)),
            1 => (id(), id()).prop_map(|(one, other)| Step::SwapNumbers(one, other)),
            4 => (id(), id()).prop_map(|(id, account)| Step::Order(id, account)),
            1 => id().prop_map(Step::DropOrder),
            3 => (id(), back()).prop_map(|(id, back)| Step::OrderEmail(id, back)),
            2 => (id(), id()).prop_map(|(id, account)| Step::Move(id, account)),
            8 => (id(), id(), back()).prop_map(|(id, line, back)| Step::Line(id, line, back)),
            2 => (id(), id()).prop_map(|(id, line)| Step::DropLine(id, line)),
            2 => Just(Step::LaterStamp),
        ];
        let property = prop_oneof![
            2 => id().prop_map(Property::CustomerEmail),
            1 => id().prop_map(Property::CustomerCity),
            2 => id().prop_map(Property::OrderEmail),
            3 => (id(), id()).prop_map(|(id, line)| Property::Line(id, line)),
        ];
        let deeds = select(vec![Deed::Release, Deed::Release, Deed::Reopen, Deed::Reopen, Deed::Post, Deed::Delete]);
        let person = prop_oneof![
            2 => id().prop_map(Person::Phone),
            5 => property.prop_map(Person::Edits),
            1 => id().prop_map(Person::AddsLine),
            1 => (id(), id()).prop_map(|(id, line)| Person::DeletesLine(id, line)),
            1 => id().prop_map(Person::DeletesCustomer),
            4 => (id(), deeds).prop_map(|(id, deed)| Person::Order(id, deed)),
        ];
        prop_oneof![
            12 => crm,
            4 => person.prop_map(Step::Person),
            6 => strike().prop_map(Step::Fault),
            1 => Just(Step::NoFaults),
            6 => any::<bool>().prop_map(|full| Step::Pass { full }),
            3 => (polls(), any::<bool>()).prop_map(|(polls, full)| Step::Crash { polls, full }),
            2 => Just(Step::Window),
            1 => select(vec![1_i16, 60, 24 * 60, -1, -60, -24 * 60]).prop_map(Step::OurClock),
        ]
        .boxed()
    }

    fn apply(mut source: Source, step: &Step) -> Source {
        source.take(step);
        source
    }

    fn preconditions(source: &Source, step: &Step) -> bool {
        let line = |order: &u8, line: &u8| source.orders.get(order).is_some_and(|order| order.lines.contains_key(line));
        match step {
            Step::Account(id) => !source.accounts.contains_key(id),
            Step::DropAccount(id) | Step::Email(id, _) | Step::Country(id) => source.accounts.contains_key(id),
            Step::Renumber(id, other) | Step::SwapNumbers(id, other) => {
                id != other && source.accounts.contains_key(id) && source.accounts.contains_key(other)
            }
            Step::Order(id, _) => !source.orders.contains_key(id),
            Step::DropOrder(id) | Step::OrderEmail(id, _) | Step::Line(id, _, _) => source.orders.contains_key(id),
            Step::Move(id, account) => source.orders.get(id).is_some_and(|order| order.account != *account),
            Step::DropLine(id, number) => line(id, number) && source.orders[id].lines.len() > 1,
            _ => true,
        }
    }
}

/// A number of polls: as many small ones as large ones.
fn polls() -> impl Strategy<Value = u32> {
    (0..9_u32).prop_flat_map(|power| (1_u32 << power)..(2_u32 << power))
}

/// What goes wrong, with what.
fn strike() -> BoxedStrategy<Strike> {
    let drop = |committed, after_operations| FaultKind::Drop { committed, after_operations };
    let status = |status, committed| FaultKind::Status { status, retry_after: Some(0), committed };
    let late = |ms, answer| FaultKind::LateCommit { min_ms: ms, max_ms: ms, answer, silent: false };
    let race = |property: &str| {
        let changes = [(property.to_owned(), json!("555 0001"))].into_iter().collect();
        FaultKind::PersonEdit { changes }
    };
    let to_writes = prop_oneof![
        3 => select(vec![drop(true, 0), drop(false, 0), drop(false, 1), drop(false, 2)]),
        4 => (0..80_u64, select(vec![None, Some(504), Some(502)])).prop_map(move |(ms, answer)| late(ms, answer)),
        4 => (select(vec![500, 502, 504, 408]), any::<bool>()).prop_map(move |(code, done)| status(code, done)),
        2 => select(vec![FaultKind::CutBody, FaultKind::MalformedJson, FaultKind::MissingEntry]),
        2 => select(vec![FaultKind::Deadlock, FaultKind::Lock]),
        2 => Just(race("phoneNumber")),
    ];
    let writes = (select(vec!["customers", "salesOrders"]), select(vec!["POST", "PATCH"]), to_writes);
    let to_lines = select(vec![FaultKind::Deadlock, FaultKind::Lock]);
    let lines = (Just("salesOrderLines"), select(vec!["POST", "PATCH", "DELETE"]), to_lines);
    let to_reads = prop_oneof![
        3 => Just(status(500, false)),
        2 => Just(drop(false, 0)),
        1 => Just(FaultKind::CutBody),
        1 => Just(status(504, false)),
    ];
    let reads = (select(vec!["customers", "salesOrders", "salesInvoices", "companies"]), Just("GET"), to_reads);
    // Each of these costs a second of real time.
    let pauses =
        (select(vec!["customers", "salesOrders"]), Just("POST"), select(vec![status(429, false), status(503, false)]));
    let revoked = (Just("customers"), select(vec!["POST", "GET"]), Just(FaultKind::RevokeTokens));
    let what = prop_oneof![40 => writes, 5 => lines, 12 => reads, 1 => pauses, 1 => revoked];
    (what, 1..=3_u32, select(vec![1.0, 0.5]))
        .prop_map(|((set, method, kind), times, probability)| {
            let times = if matches!(kind, FaultKind::Status { status: 429 | 503, .. }) { 1 } else { times };
            Strike { method, set, kind, times, probability }
        })
        .boxed()
}

impl Source {
    fn fresh(&mut self) -> u32 {
        self.values += 1;
        self.values
    }

    fn take(&mut self, step: &Step) {
        let fresh = self.fresh();
        let revision = self.revision;
        match *step {
            Step::Account(id) => {
                if self.accounts.values().any(|account| account.no == id) {
                    self.disputed.insert(id);
                }
                self.accounts.insert(id, Account { no: id, email: Cell::new(fresh), country: 0, revision });
            }
            Step::DropAccount(id) => {
                self.accounts.remove(&id);
            }
            Step::Email(id, back) => self.account(id, |account| account.email.edit(fresh, back)),
            Step::Country(id) => self.account(id, |account| account.country = (account.country + 1) % 3),
            Step::Renumber(id, other) => {
                let (former, no) = (self.accounts[&id].no, self.accounts[&other].no);
                self.disputed.extend([id, other, former, no]);
                self.account(id, |account| account.no = no);
            }
            Step::SwapNumbers(one, other) => {
                let numbers = (self.accounts[&one].no, self.accounts[&other].no);
                self.disputed.extend([one, other, numbers.0, numbers.1]);
                self.account(one, |account| account.no = numbers.1);
                self.account(other, |account| account.no = numbers.0);
            }
            Step::Order(id, account) => {
                let lines = [(1, Cell::new(fresh))].into();
                self.orders.insert(id, Order { account, email: Cell::new(fresh), lines, revision });
            }
            Step::DropOrder(id) => {
                self.orders.remove(&id);
            }
            Step::OrderEmail(id, back) => self.order(id, |order| order.email.edit(fresh, back)),
            Step::Move(id, account) => self.order(id, |order| order.account = account),
            Step::Line(id, line, back) => self.order(id, |order| {
                let quantity = order.lines.entry(line);
                quantity.and_modify(|quantity| quantity.edit(fresh, back)).or_insert_with(|| Cell::new(fresh));
            }),
            Step::DropLine(id, line) => self.order(id, |order| drop(order.lines.remove(&line))),
            Step::LaterStamp => self.revision += 1,
            Step::Person(_)
            | Step::Fault(_)
            | Step::NoFaults
            | Step::Pass { .. }
            | Step::Crash { .. }
            | Step::Window
            | Step::OurClock(_) => {}
        }
    }

    fn account(&mut self, id: u8, edit: impl FnOnce(&mut Account)) {
        if let Some(account) = self.accounts.get_mut(&id) {
            edit(account);
            account.revision = self.revision;
        }
    }

    fn order(&mut self, id: u8, edit: impl FnOnce(&mut Order)) {
        if let Some(order) = self.orders.get_mut(&id) {
            edit(order);
            order.revision = self.revision;
        }
    }
}
