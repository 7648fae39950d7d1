//! What belongs to a person in Business Central, and how long it has to stay.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Policy, Property, Source, Step};

/// How a line shows that is not there.
pub(crate) const GONE: &str = "(gone)";

/// A value that a person put in the place of ours.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) value: String,
    /// Edits of the source since.
    pub(crate) edits: u32,
    /// Whether an edit of the source may still have been on its way at that moment.
    pub(crate) pending: bool,
    /// Whether nobody can say whose the value is: the row was not linked yet, or two records want it.
    pub(crate) weak: bool,
    /// Whether a line is gone that the program cannot have seen: only a request whose answer was lost had added it.
    unseen: bool,
}

/// What people did, and what the source did to the same properties.
#[derive(Debug, Default)]
pub(crate) struct People {
    pub(crate) claims: BTreeMap<Property, Claim>,
    /// Phone numbers, which no mapping knows, by set and number of the row.
    pub(crate) phones: BTreeMap<(&'static str, u8), String>,
    /// Descriptions and quantities of people's own lines by order.
    pub(crate) own_lines: BTreeMap<u8, Vec<(String, u32)>>,
    /// Numbers of customers, and orders, whose linked row a person removed. They never come back.
    pub(crate) removed: BTreeSet<(&'static str, u8)>,
    /// Those whose row a person removed before it was linked.
    pub(crate) removed_early: BTreeSet<(&'static str, u8)>,
    /// Orders whose customer changed.
    moved: BTreeSet<u8>,
    /// Edits of the source since all of them were last seen settled.
    pending: BTreeSet<Property>,
    given_out: u32,
}

impl People {
    /// A number that no person and no source used before.
    pub(crate) fn fresh(&mut self) -> u32 {
        self.given_out += 1;
        10_000 + self.given_out
    }

    /// A person put a phone number there.
    pub(crate) fn phone(&mut self, set: &'static str, number: u8, phone: &str) {
        if set == "customers" || !self.moved.contains(&number) {
            self.phones.insert((set, number), phone.to_owned());
        }
    }

    /// A person deleted a line. `linked`: whether the program knows its order by now; `seen`: whether it knows the line.
    pub(crate) fn line_is_gone(&mut self, line: Property, linked: bool, seen: bool) {
        self.claim(line, GONE.to_owned(), linked);
        if let Some(claim) = self.claims.get_mut(&line) {
            claim.unseen = !seen;
        }
    }

    /// A person put `value` there. `linked`: whether the program knows the row by now.
    pub(crate) fn claim(&mut self, property: Property, value: String, linked: bool) {
        let before = self.claims.get(&property);
        let pending = self.pending.contains(&property) || before.is_some_and(|claim| claim.edits > 0 || claim.pending);
        let weak = !linked || before.is_some_and(|claim| claim.weak);
        self.claims.insert(property, Claim { value, edits: 0, pending, weak, unseen: false });
    }

    /// Notes what a step in the source means for people's values. `source` is as it is after the step.
    pub(crate) fn source_took(&mut self, source: &Source, step: &Step) {
        match *step {
            Step::Account(id) => {
                self.edited(Property::CustomerEmail(id));
                self.edited(Property::CustomerCity(id));
            }
            Step::Email(id, _) => self.edited(Property::CustomerEmail(source.accounts[&id].no)),
            Step::Order(id, _) => {
                self.edited(Property::OrderEmail(id));
                for line in super::model::IDS {
                    self.edited(Property::Line(id, line));
                }
                self.moved(id);
            }
            Step::OrderEmail(id, _) => self.edited(Property::OrderEmail(id)),
            Step::Line(id, line, _) | Step::DropLine(id, line) => self.edited(Property::Line(id, line)),
            Step::Move(id, _) => self.moved(id),
            _ => {}
        }
        for (property, claim) in &mut self.claims {
            let (Property::CustomerEmail(no) | Property::CustomerCity(no)) = property else { continue };
            claim.weak |= source.disputed.contains(no);
        }
    }

    /// The order may get another customer by now. Business Central copies what the customer has then.
    fn moved(&mut self, id: u8) {
        self.moved.insert(id);
        self.phones.remove(&("salesOrders", id));
    }

    fn edited(&mut self, property: Property) {
        self.pending.insert(property);
        if let Some(claim) = self.claims.get_mut(&property) {
            claim.edits += 1;
        }
    }

    /// A person removed the row, or it was posted.
    pub(crate) fn row_is_gone(&mut self, set: &'static str, number: u8, linked: bool) {
        self.phones.remove(&(set, number));
        if set == "salesOrders" {
            self.own_lines.remove(&number);
        }
        self.claims.retain(|property, _| match property {
            Property::CustomerEmail(no) | Property::CustomerCity(no) => set != "customers" || *no != number,
            Property::OrderEmail(id) | Property::Line(id, _) => set != "salesOrders" || *id != number,
        });
        if linked {
            self.removed.insert((set, number))
        } else {
            self.removed_early.insert((set, number))
        };
    }

    /// Nothing is on its way any more where it `is_settled`: what differs from the source by now stays, unless it `is_over`.
    pub(crate) fn settle(&mut self, is_settled: impl Fn(Property) -> bool, is_over: impl Fn(Property, &Claim) -> bool) {
        self.pending.retain(|property| !is_settled(*property));
        self.claims.retain(|property, claim| !is_settled(*property) || !is_over(*property, claim));
        for (_, claim) in self.claims.iter_mut().filter(|(property, _)| is_settled(**property)) {
            claim.edits = 0;
            claim.pending = false;
        }
    }
}

impl Claim {
    /// Whether the policy lets nobody overwrite the value.
    pub(crate) fn is_protected(&self, policy: Policy) -> bool {
        !self.weak
            && !self.unseen
            && match policy {
                Policy::SourceWins => self.edits == 0 && !self.pending,
                Policy::BcWins | Policy::Hold => true,
            }
    }

    /// Whether the source must have overwritten the value, once everything has arrived. `fresh`: what the source holds
    /// was never sent before.
    pub(crate) fn is_overwritten(&self, policy: Policy, fresh: bool) -> bool {
        !self.weak && policy == Policy::SourceWins && self.edits > 0 && fresh
    }
}
