//! Rate and concurrency limits of one principal: a sliding window, five running, a short queue.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::errors::ApiError;
use super::settings::Limits;

/// The gate in front of the API.
#[derive(Debug, Default)]
pub(super) struct Gate {
    traffic: Mutex<Traffic>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Traffic {
    arrivals: VecDeque<Instant>,
    running: usize,
    most_running: usize,
    waiting: usize,
}

/// The right to run; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit(Option<Arc<Gate>>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = &self.0 {
            gate.with(|traffic| traffic.running -= 1);
            gate.freed.notify_one();
        }
    }
}

/// A place in the queue; given back when dropped, also by a client that has gone.
struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.with(|traffic| traffic.waiting -= 1);
    }
}

impl Gate {
    fn with<T>(&self, work: impl FnOnce(&mut Traffic) -> T) -> T {
        work(&mut self.traffic.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a request that costs `cost`, then waits until it may run. Refused with 429 when a limit is reached.
    pub(super) async fn enter(self: &Arc<Self>, limits: &Limits, cost: usize) -> Result<Permit, ApiError> {
        if !limits.enforced {
            return Ok(Permit(None));
        }
        self.with(|traffic| traffic.arrive(limits, cost))?;
        if self.with(|traffic| traffic.start(limits)) {
            return Ok(Permit(Some(Arc::clone(self))));
        }
        let _place = self.with(|traffic| {
            if traffic.waiting >= limits.queued {
                let actual = traffic.waiting + traffic.running + 1;
                return Err(ApiError::too_many_requests("connections", actual, limits.running + limits.queued));
            }
            traffic.waiting += 1;
            Ok(Place(self))
        })?;
        loop {
            let freed = self.freed.notified();
            if self.with(|traffic| traffic.start(limits)) {
                return Ok(Permit(Some(Arc::clone(self))));
            }
            freed.await;
        }
    }

    /// Most requests that ran at the same time.
    pub(super) fn most_running(&self) -> usize {
        self.with(|traffic| traffic.most_running)
    }

    /// Starts to count [`Gate::most_running`] anew.
    pub(super) fn forget_most_running(&self) {
        self.with(|traffic| traffic.most_running = traffic.running);
    }

    /// Wakes everyone who waits, after the limits have changed.
    pub(super) fn reconsider(&self) {
        self.freed.notify_waiters();
    }
}

impl Traffic {
    fn arrive(&mut self, limits: &Limits, cost: usize) -> Result<(), ApiError> {
        let now = Instant::now();
        let window = Duration::from_secs(limits.window_seconds);
        while self.arrivals.front().is_some_and(|arrival| now.duration_since(*arrival) >= window) {
            self.arrivals.pop_front();
        }
        if self.arrivals.len() + cost > limits.requests {
            return Err(ApiError::too_many_requests("requests", self.arrivals.len() + cost, limits.requests));
        }
        self.arrivals.extend(std::iter::repeat_n(now, cost));
        Ok(())
    }

    fn start(&mut self, limits: &Limits) -> bool {
        let free = self.running < limits.running;
        self.running += usize::from(free);
        self.most_running = self.most_running.max(self.running);
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { requests: 3, running: 1, queued: 1, ..Limits::default() }
    }

    #[tokio::test]
    async fn the_window_is_counted() {
        let gate = Arc::new(Gate::default());
        for _ in 0..3 {
            gate.enter(&limits(), 1).await.unwrap();
        }
        assert_eq!(gate.enter(&limits(), 1).await.unwrap_err().status, 429);
    }

    #[tokio::test]
    async fn one_runs_one_waits_the_next_is_refused() {
        let gate = Arc::new(Gate::default());
        let running = gate.enter(&limits(), 1).await.unwrap();
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(&limits(), 1).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(gate.enter(&limits(), 1).await.unwrap_err().code, "Application_TooManyRequests");
        drop(running);
        waiting.await.unwrap().unwrap();
    }
}
