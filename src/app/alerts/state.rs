//! The states of one alert: quiet, suspected, firing. Pure: what is seen and what time it is come
//! from outside.

use std::time::Duration;

use jiff::Timestamp;

use crate::types::{Alert, AlertKind, Change, Notification};

/// Result of one measurement of one alert's condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Measurement {
    /// Not measured.
    Unknown,
    Fine(Figure),
    Wrong(Figure),
}

/// How a matter stands now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// One plain sentence.
    pub(super) message: String,
    pub(super) value: f64,
    pub(super) threshold: f64,
}

/// A moment on both clocks: one that only goes forward, for measuring, and one that can be set, for
/// people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) running: Duration,
    pub(super) wall: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Looks in a row that must show it before it fires.
    pub(super) looks: u32,
    /// How long it must not have been seen before it is over: what comes and goes is one alert.
    pub(super) hold: Duration,
}

#[derive(Debug)]
pub(super) struct AlertState {
    kind: AlertKind,
    policy: Policy,
    state: State,
}

#[derive(Debug)]
enum State {
    Quiet,
    Suspected {
        since: Timestamp,
        looks: u32,
    },
    Firing {
        alert: Alert,
        /// Since when it has not been seen.
        fine: Option<Duration>,
    },
}

impl AlertState {
    /// `firing` is what had been firing before a restart: it goes on without a new notification.
    pub(super) fn new(kind: AlertKind, policy: Policy, firing: Option<Alert>) -> Self {
        let state = firing.map_or(State::Quiet, |alert| State::Firing { alert, fine: None });
        Self { kind, policy, state }
    }

    pub(super) fn firing(&self) -> Option<&Alert> {
        match &self.state {
            State::Firing { alert, .. } => Some(alert),
            State::Quiet | State::Suspected { .. } => None,
        }
    }

    /// Takes in what has been seen; gives the change when there is one.
    pub(super) fn look(&mut self, measurement: Measurement, now: Now) -> Option<Notification> {
        match measurement {
            Measurement::Wrong(figure) => self.wrong(self.alert(figure, now), now),
            Measurement::Fine(figure) => self.fine(self.alert(figure, now), now),
            // Not seen is not over: only time without a sign of it is, and that has to be seen.
            Measurement::Unknown => None,
        }
    }

    fn alert(&self, Figure { message, value, threshold }: Figure, now: Now) -> Alert {
        let since = match &self.state {
            State::Quiet => now.wall,
            State::Suspected { since, .. } => *since,
            State::Firing { alert, .. } => alert.since,
        };
        Alert { kind: self.kind, message, value, threshold, since }
    }

    fn wrong(&mut self, alert: Alert, now: Now) -> Option<Notification> {
        let looks = match &mut self.state {
            State::Quiet => 1,
            State::Suspected { looks, .. } => *looks + 1,
            State::Firing { alert: firing, fine } => {
                // The latest figures, for queries.
                (*firing, *fine) = (alert, None);
                return None;
            }
        };
        if looks < self.policy.looks {
            self.state = State::Suspected { since: alert.since, looks };
            return None;
        }
        self.state = State::Firing { alert: alert.clone(), fine: None };
        Some(Notification { alert, at: now.wall, change: Change::Firing })
    }

    /// `present` has the figures at the end.
    fn fine(&mut self, present: Alert, now: Now) -> Option<Notification> {
        let State::Firing { fine, .. } = &mut self.state else {
            self.state = State::Quiet;
            return None;
        };
        let fine_since = *fine.get_or_insert(now.running);
        if now.running.saturating_sub(fine_since) < self.policy.hold {
            return None;
        }
        self.state = State::Quiet;
        Some(Notification { alert: present, at: now.wall, change: Change::Resolved })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy { looks: 3, hold: Duration::from_secs(120) };

    fn wrong() -> Measurement {
        Measurement::Wrong(Figure { message: "It is.".to_owned(), value: 0.5, threshold: 0.1 })
    }

    fn fine() -> Measurement {
        Measurement::Fine(Figure { message: "It is not.".to_owned(), value: 0.05, threshold: 0.1 })
    }

    fn at(seconds: u64) -> Now {
        Now {
            running: Duration::from_secs(seconds),
            wall: Timestamp::from_second(1_700_000_000 + i64::try_from(seconds).expect("small"))
                .expect("a time"),
        }
    }

    /// Looks every 10 s: `w`rong, `f`ine or `u`nknown. Gives the changes with the second of each.
    fn changes(state: &mut AlertState, looks: &str) -> Vec<(u64, Change)> {
        let look = |(index, look): (usize, char)| {
            let seconds = 10 * index as u64;
            let measurement = match look {
                'w' => wrong(),
                'f' => fine(),
                _ => Measurement::Unknown,
            };
            state.look(measurement, at(seconds)).map(|change| (seconds, change.change))
        };
        looks.chars().enumerate().filter_map(look).collect()
    }

    #[test]
    fn changes_follow_the_table() {
        use Change::{Firing, Resolved};
        let table: &[(&str, &[(u64, Change)])] = &[
            ("ffffff", &[]),
            // Twice is not thrice, and a fine look starts the count anew.
            ("wwfwwfwwf", &[]),
            ("www", &[(20, Firing)]),
            ("wwwwwwwwwwwwwwwwwwww", &[(20, Firing)]),
            // What cannot be seen neither counts nor starts the count anew.
            ("wuwuw", &[(40, Firing)]),
            ("wwwffffffffffff", &[(20, Firing)]),
            ("wwwfffffffffffff", &[(20, Firing), (150, Resolved)]),
            // One wrong look while it holds starts the hold anew, and is no new alert.
            ("wwwffffffffffffwffffffffffff", &[(20, Firing)]),
            ("wwwffffffffffffwfffffffffffff", &[(20, Firing), (280, Resolved)]),
            ("wwwuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu", &[(20, Firing)]),
            ("wwwfffffffffffffwww", &[(20, Firing), (150, Resolved), (180, Firing)]),
        ];
        for (looks, expected) in table {
            let mut state = AlertState::new(AlertKind::BackendDown, POLICY, None);
            assert_eq!(changes(&mut state, looks), *expected, "{looks}");
        }
    }

    #[test]
    fn it_began_when_it_was_first_seen_and_shows_the_latest_figures() {
        let mut state = AlertState::new(AlertKind::HighErrorRate, POLICY, None);
        changes(&mut state, "fwww");
        let worse = Measurement::Wrong(Figure { message: "Worse.".to_owned(), value: 0.9, threshold: 0.1 });
        assert_eq!(state.look(worse, at(40)), None);
        let alert = state.firing().expect("it fires");
        assert_eq!((alert.since, alert.value, alert.message.as_str()), (at(10).wall, 0.9, "Worse."));
        // Its end is told with the figures of its end.
        assert_eq!(state.look(fine(), at(50)), None);
        let Notification { alert, change, .. } = state.look(fine(), at(170)).expect("it is over");
        assert_eq!((change, alert.since, alert.value), (Change::Resolved, at(10).wall, 0.05));
        assert_eq!(alert.message, "It is not.");
    }

    #[test]
    fn what_fired_before_a_restart_is_not_fired_again() {
        let mut before = AlertState::new(AlertKind::DiskNearlyFull, POLICY, None);
        assert_eq!(changes(&mut before, "www").len(), 1);
        let kept = before.firing().cloned();
        let mut after = AlertState::new(AlertKind::DiskNearlyFull, POLICY, kept.clone());
        assert_eq!(changes(&mut after, "wwwwww"), []);
        assert_eq!(after.firing().map(|alert| alert.since), kept.map(|alert| alert.since));
        assert_eq!(changes(&mut after, "fffffffffffff"), [(120, Change::Resolved)]);
    }

    proptest! {
        /// Whatever is seen, and however the wall clock is set meanwhile.
        #[test]
        fn changes_alternate_and_an_alert_ends_only_after_its_hold(
            looks in proptest::collection::vec((0_u8..3, 1_u64..60, -3600_i64..3600), 0..200),
        ) {
            let mut state = AlertState::new(AlertKind::BackendDown, POLICY, None);
            let (mut running, mut last_wrong, mut changes) = (0, 0, Vec::new());
            for (kind, pause, step) in looks {
                running += pause;
                let wall = Timestamp::from_second(1_700_000_000 + step).expect("a time");
                let now = Now { running: Duration::from_secs(running), wall };
                let measurement = match kind { 0 => wrong(), 1 => fine(), _ => Measurement::Unknown };
                if kind == 0 {
                    last_wrong = running;
                }
                let notification = state.look(measurement, now);
                if let Some(Notification { change: Change::Resolved, .. }) = notification {
                    prop_assert!(running - last_wrong >= POLICY.hold.as_secs());
                }
                changes.extend(notification.map(|notification| notification.change));
                let expected = changes.last() == Some(&Change::Firing);
                prop_assert_eq!(state.firing().is_some(), expected);
            }
            for (index, change) in changes.iter().enumerate() {
                let expected = if index % 2 == 0 { Change::Firing } else { Change::Resolved };
                prop_assert_eq!(*change, expected);
            }
        }
    }
}
