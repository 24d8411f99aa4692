//! Layers that every request passes, outermost first: `observe`, which asks `auth` and writes `errors`.

pub(super) mod auth;
pub(super) mod cors;
pub(super) mod errors;
pub(super) mod observe;
