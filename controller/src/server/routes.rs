//! What the listeners answer: every room's routes behind the registry's gate, the guard and what each request passes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use jiff::Timestamp;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::direct::{Over, Part};
use super::health::{self, Check};
use super::upkeep::Upkeep;
use super::{ServerError, access, checks, guarded, listen, request};
use crate::api::{AskRoom, Guard, MediumFacts, Room, SiteFacts};
use crate::config::Config;
use crate::media::{self, MediumBody};
use crate::registry;
use crate::workflow::Workflow;

/// What the listeners answer.
pub struct Routes {
    /// The API's: everything.
    pub all: Router,
    /// The registry's plain listener's: `/v2`.
    pub plain: Router,
}

/// Puts every room behind its routes.
pub fn router(
    config: &Config,
    workflow: &Arc<Workflow>,
    upkeep: &Arc<Upkeep>,
    shelf: &Arc<media::Shelf>,
    (api_url, media_url, plain_url): (&str, &str, Option<&str>),
) -> Result<Routes, ServerError> {
    let site = SiteFacts {
        api_url: api_url.to_owned(),
        media_url: media_url.to_owned(),
        allow_loopback: config.allow_loopback,
        allow_plain_http_bmcs: config.allow_plain_http_bmcs,
        maintenance: shelf.maintenance().map(|medium| MediumFacts {
            version: medium.version.clone(),
            sha256: hex::encode(medium.sha256),
            size: medium.len,
        }),
    };
    let state_dir = config.state_dir.clone();
    let room: AskRoom = Arc::new(move || room(&state_dir));
    let checks: Vec<Arc<dyn Check>> = vec![
        Arc::new(checks::StoreCheck(Arc::clone(workflow.store()))),
        Arc::new(checks::RegistryCheck(Arc::clone(&upkeep.registry))),
        Arc::new(checks::MediaCheck(Arc::clone(shelf))),
    ];
    let public = config.registry_anonymous_pull.clone();
    let access = Arc::new(access::RegistryAccess::new(Arc::clone(workflow), public));
    let guard = Arc::new(Guard::default());
    let proxies = request::Proxies(config.trusted_proxies.clone().into());
    let images = |base: &str| {
        let realm = registry::auth::Realm { base: base.to_owned(), names: config.api_names.clone() };
        let access = Arc::<access::RegistryAccess>::clone(&access);
        guarded::guarded(upkeep.registry.router(access, Some(realm)), Arc::clone(&guard))
    };
    let plain = plain_url.map(images).unwrap_or_default();
    let images = images(api_url);
    let rules = super::bmc_rules(config)?;
    let store = Arc::<Upkeep>::clone(upkeep);
    let api = crate::api::router(Arc::clone(workflow), rules, site, room, store, Arc::clone(&guard));
    let all = Router::new().merge(health::router(checks)).merge(images).merge(api);
    Ok(Routes { all: request::around(all, proxies.clone()), plain: request::around(plain, proxies) })
}

/// Room on the disk of a folder.
fn room(folder: &std::path::Path) -> Option<Room> {
    let found = nix::sys::statvfs::statvfs(folder).ok()?;
    #[allow(clippy::useless_conversion)] // the C types differ between platforms
    let bytes = |blocks| u64::from(blocks).saturating_mul(u64::from(found.fragment_size()));
    Some(Room { free: bytes(found.blocks_available()), total: bytes(found.blocks()) })
}

/// Serves routes until a stop.
pub async fn serve_routes(listener: listen::Listener, router: Router, stopped: watch::Receiver<bool>) {
    let service = move |request| {
        let router = router.clone();
        async move { router.oneshot(request).await.unwrap_or_else(|never| match never {}) }
    };
    listener.serve(service, content_of_a_blob, stopped).await;
}

/// A blob, where the answer is one.
fn content_of_a_blob(response: &mut Response<Body>) -> Option<Part> {
    let content = response.extensions_mut().remove::<registry::Content>()?;
    Some(Part {
        file: content.file,
        first: content.first,
        length: content.length,
        over: None,
        sent: Some(Box::new(registry::Content::sent)),
    })
}

/// Serves media until a stop.
pub async fn serve_media(
    listener: listen::Listener,
    shelf: Arc<media::Shelf>,
    stopped: watch::Receiver<bool>,
) {
    let clock: media::Clock = Arc::new(Timestamp::now);
    let service = move |request: Request<_>| {
        let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        let response = media::serve(&shelf, &request, from, &clock);
        async move { response }
    };
    let part = |response: &mut Response<MediumBody>| {
        let media::FileBody { file, range, laid, object, sent } = response.body().file()?;
        let read = move |offset, count| object.read(offset, count);
        let over = (!laid.is_empty()).then(|| Over { places: laid, read: Box::new(read) });
        Some(Part { file, first: range.start, length: range.end - range.start, over, sent: Some(sent) })
    };
    listener.serve(service, part, stopped).await;
}
