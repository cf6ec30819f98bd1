//! Two linked ends with one pump for each direction: [`pair`] links two websockets, [`bridge`] a websocket with
//! something local. Knows no sessions, targets or policies.

pub mod bridge;
pub mod credit;
pub mod pair;
mod turn;
