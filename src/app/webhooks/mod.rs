//! Webhooks: events of any source on their way to a receiver outside. `outbox` keeps what waits, also across
//! a restart, and `delivery` sends it until it is taken.

mod delivery;
mod outbox;

pub(super) use self::{
    delivery::{Delivery, Pace, Receiver},
    outbox::Outbox,
};

#[cfg(test)]
pub(super) use self::outbox::QUEUE_LIMIT;
