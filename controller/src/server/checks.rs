//! What `/readyz` really tries.

use std::sync::Arc;

use async_trait::async_trait;

use super::bmcs::with_causes;
use super::health::Check;
use crate::media::{Shelf, ShelfError};
use crate::registry::Registry;
use crate::store::{self, Store};

/// The store reads and writes.
pub struct StoreCheck(pub Arc<dyn Store>);

#[async_trait]
impl Check for StoreCheck {
    fn name(&self) -> &'static str {
        "store"
    }
    async fn check(&self) -> Result<(), String> {
        store::on(&self.0, Store::check).await.map_err(|error| with_causes(&error))
    }
}

/// The registry's index and disk answer.
pub struct RegistryCheck(pub Arc<Registry>);

#[async_trait]
impl Check for RegistryCheck {
    fn name(&self) -> &'static str {
        "registry"
    }
    async fn check(&self) -> Result<(), String> {
        self.0.check().await.map_err(|error| with_causes(&error))
    }
}

/// There is a maintenance medium.
pub struct MediaCheck(pub Arc<Shelf>);

#[async_trait]
impl Check for MediaCheck {
    fn name(&self) -> &'static str {
        "media"
    }
    async fn check(&self) -> Result<(), String> {
        self.0.maintenance().map(drop).ok_or_else(|| ShelfError::NoMaintenance.to_string())
    }
}
