//! The site, as described.
#![allow(dead_code)] // described, never made

use utoipa::ToSchema;

use super::Role;

/// A maintenance medium.
#[derive(ToSchema)]
pub struct Medium {
    /// Version of Slipway that it was built from; null for one that does not say.
    #[schema(required)]
    version: Option<String>,
    /// Of the file as it lies on disk, hex.
    sha256: String,
    /// In bytes.
    size: u64,
}

/// Room in the state folder, in bytes.
#[derive(ToSchema)]
pub struct Room {
    free: u64,
    total: u64,
}

/// The token that a call came with.
#[derive(ToSchema)]
pub struct Bearer {
    name: String,
    #[schema(inline)]
    role: Role,
    /// Null: never.
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
}

/// A controller and how it is set up.
#[derive(ToSchema)]
pub struct Site {
    /// Of the controller.
    version: String,
    /// The controller's clock.
    #[schema(format = DateTime)]
    now: String,
    /// URL by which hosts reach the API.
    api_url: String,
    /// URL by which BMCs reach the media.
    media_url: String,
    /// Jobs run although those are on loopback.
    allow_loopback: bool,
    /// Machines may be marked as having a plain HTTP BMC.
    allow_plain_http_bmcs: bool,
    /// Null when there is none.
    #[schema(required)]
    maintenance: Option<Medium>,
    /// Null when the system does not tell.
    #[schema(required)]
    room: Option<Room>,
    token: Bearer,
}
