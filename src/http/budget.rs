//! How many requests an app registration may send, and when: one budget for all jobs that share it.
//!
//! Business Central counts per user, and an application is one user: so many requests in any five minutes, so many at
//! once (BC documentation, operational limits). A permit is one request: it waits for a pause to pass, for a place
//! among the running ones and for room in the window, first come, first served. When BC throttles, the whole budget
//! pauses and the number of places is halved, then grows again one by one.
//!
//! Never sends anything, and never looks at an answer itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::retry::{Delays, LONGEST_RETRY_AFTER};
use crate::model::RetryPolicy;

/// The length of BC's sliding window.
const WINDOW: Duration = Duration::from_mins(5);

/// So many requests in a row without throttling win back one place.
const SUCCESSES_PER_PLACE: u32 = 20;

/// The pauses when BC does not say how long: 1, 2, 4 ... 60 seconds, with jitter.
const PAUSES: RetryPolicy = RetryPolicy {
    attempts: u32::MAX,
    initial: Duration::from_secs(1),
    max: Duration::from_mins(1),
    patience: Duration::MAX,
};

/// The budget of one app registration in one environment. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Held by the one whose turn it is; tokio's mutex is fair, so that turns come in the order of asking.
    turn: tokio::sync::Mutex<()>,
    /// Tells the one whose turn it is that a place may have become free.
    freed: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    most_places: usize,
    places: usize,
    taken: usize,
    window_limit: u32,
    window: VecDeque<(Instant, u32)>,
    window_used: u32,
    paused_until: Option<Instant>,
    pauses: Delays,
    /// Counts the throttlings that were acted on. Answers to permits of an earlier era are old news.
    era: u64,
    successes: u32,
    granted: u64,
    throttled: u64,
}

/// The right to send one request; gives its place back when dropped.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    era: u64,
}

/// What a budget is doing, for status displays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Permits granted since the start.
    pub granted: u64,
    /// Answers that said "too many requests" or "not now".
    pub throttled: u64,
    /// What the requests of the last five minutes cost together.
    pub in_window: u32,
    /// Permits held at the moment.
    pub running: usize,
    /// Permits that may be held at once at the moment.
    pub places: usize,
    /// How much longer nothing is sent.
    pub paused_for: Option<Duration>,
}

/// What a request has to wait for.
enum Wait {
    Until(Instant),
    Place,
}

impl Budget {
    /// A budget of `concurrency` requests at once and `requests_per_5_minutes` in any five minutes, at least one each.
    #[must_use]
    pub fn new(concurrency: usize, requests_per_5_minutes: u32) -> Self {
        let places = concurrency.max(1);
        let state = State {
            most_places: places,
            places,
            taken: 0,
            window_limit: requests_per_5_minutes.max(1),
            window: VecDeque::new(),
            window_used: 0,
            paused_until: None,
            pauses: Delays::new(&PAUSES),
            era: 0,
            successes: 0,
            granted: 0,
            throttled: 0,
        };
        Self {
            shared: Arc::new(Shared {
                turn: tokio::sync::Mutex::default(),
                freed: Notify::new(),
                state: Mutex::new(state),
            }),
        }
    }

    /// Waits for the right to send one request that counts as `cost` requests; `None` when cancelled.
    ///
    /// A cost above the whole window counts as the whole window.
    pub async fn acquire(&self, cost: u32, cancel: &CancellationToken) -> Option<Permit> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            permit = self.granted(cost) => Some(permit),
        }
    }

    /// Sends nothing for `pause`, at most ten minutes; a longer pause in force stays.
    pub fn pause(&self, pause: Duration) {
        self.shared.state().pause(pause);
    }

    /// What the budget is doing now.
    #[must_use]
    pub fn status(&self) -> BudgetStatus {
        let now = Instant::now();
        let mut state = self.shared.state();
        state.forget_before(now);
        BudgetStatus {
            granted: state.granted,
            throttled: state.throttled,
            in_window: state.window_used,
            running: state.taken,
            places: state.places,
            paused_for: state.paused_until.and_then(|until| until.checked_duration_since(now)).filter(|d| !d.is_zero()),
        }
    }

    async fn granted(&self, cost: u32) -> Permit {
        let _turn = self.shared.turn.lock().await;
        loop {
            let taken = self.shared.state().take(Instant::now(), cost);
            match taken {
                Ok(era) => return Permit { shared: Arc::clone(&self.shared), era },
                Err(Wait::Until(instant)) => sleep_until(instant).await,
                Err(Wait::Place) => self.shared.freed.notified().await,
            }
        }
    }
}

impl Permit {
    /// Says that the request was answered without throttling.
    pub fn answered(&self) {
        let mut state = self.shared.state();
        if self.era != state.era {
            return;
        }
        state.pauses.reset();
        if state.places == state.most_places {
            return;
        }
        state.successes += 1;
        if state.successes >= SUCCESSES_PER_PLACE {
            state.successes = 0;
            state.places += 1;
            drop(state);
            self.shared.freed.notify_one();
        }
    }

    /// Says that the request was throttled: pauses the budget as asked, or for longer each time, and halves its places.
    ///
    /// Requests that were under way together are throttled together; only the first of them changes the pace.
    pub fn throttled(&self, retry_after: Option<Duration>) {
        let mut state = self.shared.state();
        state.throttled += 1;
        if self.era == state.era {
            state.era += 1;
            state.successes = 0;
            state.places = (state.places / 2).max(1);
            let pause = state.pauses.next(retry_after).unwrap_or(PAUSES.max);
            state.pause(pause);
        } else if let Some(asked) = retry_after {
            state.pause(asked);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.state().taken -= 1;
        self.shared.freed.notify_one();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a place and room in the window, or tells what is to be waited for.
    fn take(&mut self, now: Instant, cost: u32) -> Result<u64, Wait> {
        if let Some(until) = self.paused_until.filter(|until| now < *until) {
            return Err(Wait::Until(until));
        }
        if self.taken >= self.places {
            return Err(Wait::Place);
        }
        self.forget_before(now);
        let cost = cost.min(self.window_limit);
        if let Some(until) = self.room_at(cost) {
            return Err(Wait::Until(until));
        }
        self.window.push_back((now, cost));
        self.window_used += cost;
        self.taken += 1;
        self.granted += 1;
        Ok(self.era)
    }

    /// When the window has room for `cost`; `None` when it has now.
    fn room_at(&self, cost: u32) -> Option<Instant> {
        let mut used = self.window_used;
        let mut room_at = None;
        for (granted_at, earlier) in &self.window {
            if used + cost <= self.window_limit {
                break;
            }
            used -= earlier;
            room_at = Some(*granted_at + WINDOW);
        }
        room_at
    }

    fn forget_before(&mut self, now: Instant) {
        while let Some((granted_at, cost)) = self.window.front() {
            if now < *granted_at + WINDOW {
                break;
            }
            self.window_used -= cost;
            self.window.pop_front();
        }
    }

    fn pause(&mut self, pause: Duration) {
        let until = Instant::now() + pause.min(LONGEST_RETRY_AFTER);
        self.paused_until = Some(self.paused_until.map_or(until, |current| current.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    async fn permit(budget: &Budget) -> Permit {
        budget.acquire(1, &CancellationToken::new()).await.unwrap()
    }

    /// The permit that can be had now, if any.
    async fn at_once(budget: &Budget, cost: u32) -> Option<Permit> {
        let now = Instant::now();
        let permit =
            tokio::time::timeout(Duration::ZERO, budget.acquire(cost, &CancellationToken::new())).await.ok()??;
        assert_eq!(Instant::now(), now);
        Some(permit)
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_run_at_once_than_allowed() {
        let budget = Budget::new(2, 1_000);
        let (first, _second) = (permit(&budget).await, permit(&budget).await);
        assert!(at_once(&budget, 1).await.is_none());
        assert_eq!(budget.status().running, 2);
        drop(first);
        assert!(at_once(&budget, 1).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn any_five_minutes_hold_no_more_than_the_window() {
        let budget = Budget::new(10, 60);
        let mut granted = Vec::new();
        for n in 0..400_u32 {
            let cost = n % 3 + 1;
            let permit = budget.acquire(cost, &CancellationToken::new()).await.unwrap();
            granted.push((Instant::now(), cost));
            drop(permit);
            tokio::time::advance(secs(u64::from(n % 7))).await;
        }
        for (start, _) in &granted {
            let within = granted.iter().filter(|(at, _)| at >= start && *at < *start + WINDOW);
            assert!(within.map(|(_, cost)| cost).sum::<u32>() <= 60);
        }
        // As much as the window allows is also used: 800 in all need no more than 14 windows.
        assert!(granted[399].0 - granted[0].0 <= WINDOW * 14);
        assert!(budget.status().in_window <= 60);
    }

    #[tokio::test(start_paused = true)]
    async fn the_window_opens_the_moment_the_oldest_leaves_it() {
        let budget = Budget::new(5, 3);
        let start = Instant::now();
        drop(budget.acquire(2, &CancellationToken::new()).await);
        tokio::time::advance(secs(100)).await;
        drop(permit(&budget).await);
        drop(permit(&budget).await);
        assert_eq!(start.elapsed(), WINDOW);
        drop(budget.acquire(3, &CancellationToken::new()).await);
        assert_eq!(start.elapsed(), WINDOW * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cost_above_the_window_is_the_whole_window() {
        let budget = Budget::new(5, 10);
        assert!(at_once(&budget, u32::MAX).await.is_some());
        assert!(at_once(&budget, 1).await.is_none());
        tokio::time::advance(WINDOW).await;
        assert!(at_once(&budget, u32::MAX).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_the_order_of_asking() {
        let budget = Budget::new(2, 900);
        let running = permit(&budget).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        // A dear one first, for which the window has no room yet: the cheap ones behind it must not overtake.
        for (n, cost) in [900, 1, 1, 1].into_iter().enumerate() {
            let (budget, order) = (budget.clone(), Arc::clone(&order));
            waiting.push(tokio::spawn(async move {
                let permit = budget.acquire(cost, &CancellationToken::new()).await.unwrap();
                order.lock().unwrap().push(n);
                drop(permit);
            }));
            tokio::task::yield_now().await;
        }
        drop(running);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_takes_nothing_along() {
        let budget = Budget::new(1, 1_000);
        let running = permit(&budget).await;
        let cancel = CancellationToken::new();
        let (given_up, next) = (budget.acquire(1, &cancel), permit(&budget));
        let stop = async {
            tokio::task::yield_now().await;
            cancel.cancel();
            tokio::task::yield_now().await;
            drop(running);
        };
        let (given_up, next, ()) = tokio::join!(given_up, next, stop);
        assert!(given_up.is_none());
        drop(next);
        assert_eq!((budget.status().running, budget.status().granted), (0, 2));
        assert!(budget.acquire(1, &cancel).await.is_none(), "already cancelled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everyone_and_the_later_end_counts() {
        let budget = Budget::new(5, 1_000);
        let start = Instant::now();
        budget.pause(secs(30));
        budget.pause(secs(10));
        assert_eq!(budget.status().paused_for, Some(secs(30)));
        drop(permit(&budget).await);
        assert_eq!(start.elapsed(), secs(30));
        assert_eq!(budget.status().paused_for, None);
        budget.pause(secs(86_400));
        drop(permit(&budget).await);
        assert_eq!(start.elapsed(), secs(630), "no pause is longer than ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_begins_while_waiting_for_a_place_holds_too() {
        let budget = Budget::new(1, 1_000);
        let running = permit(&budget).await;
        let start = Instant::now();
        let throttle = async {
            tokio::task::yield_now().await;
            running.throttled(Some(secs(20)));
            drop(running);
        };
        let (next, ()) = tokio::join!(permit(&budget), throttle);
        drop(next);
        assert_eq!(start.elapsed(), secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_halves_the_places_and_successes_win_them_back_one_by_one() {
        let budget = Budget::new(5, 100_000);
        permit(&budget).await.throttled(Some(secs(1)));
        assert_eq!(budget.status().places, 2);
        permit(&budget).await.throttled(Some(secs(1)));
        permit(&budget).await.throttled(Some(secs(1)));
        assert_eq!(budget.status().places, 1, "never none");
        for places in [1, 2, 3, 4, 5, 5] {
            assert_eq!(budget.status().places, places);
            for _ in 0..SUCCESSES_PER_PLACE {
                permit(&budget).await.answered();
            }
        }
        assert_eq!(budget.status().throttled, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_won_back_is_used_at_once() {
        let budget = Budget::new(2, 100_000);
        permit(&budget).await.throttled(None);
        for _ in 1..SUCCESSES_PER_PLACE {
            permit(&budget).await.answered();
        }
        let running = permit(&budget).await;
        let answer = async {
            tokio::task::yield_now().await;
            running.answered();
        };
        let (second, ()) = tokio::join!(permit(&budget), answer);
        assert_eq!(budget.status().running, 2);
        drop((running, second));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_throttled_together_count_as_one_event() {
        let budget = Budget::new(4, 1_000);
        let together = [permit(&budget).await, permit(&budget).await, permit(&budget).await, permit(&budget).await];
        for permit in &together {
            permit.throttled(None);
        }
        assert_eq!(budget.status().places, 2);
        assert!(budget.status().paused_for.unwrap() <= Duration::from_millis(1_501), "the pause did not grow");
        together[1].throttled(Some(secs(40)));
        assert_eq!(budget.status().paused_for, Some(secs(40)), "what BC asks for holds, whoever was told");
        for _ in 0..=SUCCESSES_PER_PLACE {
            together[2].answered();
        }
        assert_eq!(budget.status().places, 2, "an answer from before is no sign of recovery");
        assert_eq!(budget.status().throttled, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_a_request_goes_through() {
        let budget = Budget::new(4, 1_000);
        let mut nominal = 1_000;
        for _ in 0..8 {
            permit(&budget).await.throttled(Some(Duration::ZERO));
            let paused = budget.status().paused_for.unwrap();
            assert!(paused >= Duration::from_millis(nominal / 2), "{paused:?} of {nominal} ms");
            assert!(paused <= Duration::from_millis(nominal * 3 / 2 + 1).min(PAUSES.max), "{paused:?} of {nominal} ms");
            nominal = (nominal * 2).min(60_000);
        }
        permit(&budget).await.answered();
        permit(&budget).await.throttled(None);
        assert!(budget.status().paused_for.unwrap() <= Duration::from_millis(1_501));
    }
}
