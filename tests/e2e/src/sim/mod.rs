//! A site in one process: the real controller on a state folder, a rack of mock BMCs, and hosts that do over the
//! wire what the maintenance OS does.
//!
//! ```text
//!   test ─▶ Api ─▶ controller (Server) ─▶ Redfish ─▶ Rack (mock) ─▶ SimHost (one boot)
//!             ▲          ▲   ▲ media by ranges ──────────────────────────┤
//!             │          └── started, steps, success, pulls (TLS, token) ┘
//!             └── what people see; Playbook tells each host how to behave, its Ledger what it did
//! ```
//! Nothing here decides for the product: the host reads discs by itself, verifies with the dispatcher's own code,
//! and only what it was told to simulate differs from a real one.

mod api;
mod disc;
mod host;
mod image;
mod maintenance;
mod receiver;
mod script;
mod site;
mod wire;

pub use api::{Answer, Api, WITHIN};
pub use host::SimHost;
pub use image::{Pushed, push_image};
pub use maintenance::maintenance_iso;
pub use receiver::{Call, Receiver};
pub use script::{Deed, Disk, Moment, Playbook, Script, Stage};
pub use site::{PASSWORD, Setup, Site, description, fast, fragment, linux_recipe};
