//! Who we are to a BMC, from the first request to the last.
//!
//! A session is made on first need at `Links.Sessions`, used until the BMC forgets it (then made once more), and
//! deleted at the end: session tables are small and a leaked one locks operators out. Basic authentication is
//! used only where the service has no sessions at all, or says that it has no room for one more; never because a request
//! broke, and never again once a session has worked.
//!
//! Callers may go away at any await, and they do: a driver drops what it does when its job moves. So logging in and
//! giving back are tasks of their own, which come to their end, and the last owner of a session gives it back.
//!
//! [`Session`] is also what the rest of this room talks through: read, change, call, remove.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell, OwnedMutexGuard};
use tokio::task::JoinHandle;

use super::address::Credentials;
use super::classify::{Kind, Refusal};
use super::error::BmcError;
use super::http::{Answer, Ask, Endpoint, Oddity, Verb};
use super::view::ServiceRoot;
use super::wire::Resource;

/// Where every Redfish service begins.
const ROOT: &str = "/redfish/v1/";
/// For giving a session back; nobody waits longer for it.
const GOODBYE: Duration = Duration::from_secs(10);
/// How often that is tried.
const GOODBYES: u32 = 4;
/// How often a resource that must be there is asked for again when it is not.
const ABSENT_RETRIES: u32 = 2;
/// Longest excerpt of an unreadable answer in an error.
const EXCERPT: usize = 200;

/// The header that says who we are.
pub type Login = (HeaderName, HeaderValue);

/// An endpoint with our login.
#[derive(Debug)]
pub struct Session {
    /// Where requests go.
    pub endpoint: Arc<Endpoint>,
    credentials: Credentials,
    root: OnceCell<ServiceRoot>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    endpoint: Arc<Endpoint>,
    login: Option<Login>,
    /// Where the session is to be deleted.
    location: Option<String>,
    /// Grows with every login, so that two requests refused together log in once.
    generation: u64,
    /// Whether a session ever worked here.
    worked: bool,
    /// Why there is no session, where that is for want of room.
    full: Option<Refusal>,
}

impl Session {
    /// A session that is made when first needed.
    pub fn new(endpoint: Arc<Endpoint>, credentials: Credentials) -> Self {
        let state = State {
            endpoint: Arc::clone(&endpoint),
            login: None,
            location: None,
            generation: 0,
            worked: false,
            full: None,
        };
        Self { endpoint, credentials, root: OnceCell::new(), state: Arc::new(Mutex::new(state)) }
    }

    /// Takes the root as it was lately, instead of reading it.
    pub fn assume_root(&self, root: ServiceRoot) {
        let _ = self.root.set(root);
    }

    /// The service root, read once, without credentials where the BMC allows that.
    pub async fn root(&self) -> Result<&ServiceRoot, BmcError> {
        self.root
            .get_or_try_init(|| async {
                let ask = Ask::bare(Verb::Get, ROOT);
                let mut answer = self.endpoint.send(ask, None).await?;
                if answer.status == 401 {
                    let basic = self.basic()?;
                    answer = self.endpoint.send(ask, Some(&basic)).await?;
                    if answer.status == 401 {
                        return Err(self.refused_login());
                    }
                }
                let root = self.resource(answer, "the service root")?;
                Ok(ServiceRoot::read(root.node()))
            })
            .await
    }

    /// Reads a resource.
    pub async fn get(&self, path: &str) -> Result<Resource, BmcError> {
        let mut answer = self.send(Ask::bare(Verb::Get, path)).await?;
        // What was there may be gone for a moment: some BMCs rebuild their trees while they serve them.
        for _ in 0..ABSENT_RETRIES {
            if answer.status != 404 {
                break;
            }
            tokio::time::sleep(self.endpoint.waits().retry).await;
            answer = self.send(Ask::bare(Verb::Get, path)).await?;
        }
        self.resource(answer, path)
    }

    /// Reads a resource that may not be there.
    pub async fn find(&self, path: &str) -> Result<Option<Resource>, BmcError> {
        let answer = self.send(Ask::bare(Verb::Get, path)).await?;
        if matches!(answer.status, 404 | 405 | 410) {
            return Ok(None);
        }
        self.resource(answer, path).map(Some)
    }

    /// Calls an action.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, BmcError> {
        self.send(Ask { verb: Verb::Post, path, body: Some(body), if_match: None }).await
    }

    /// Sends any request with our login; logs in once more when the BMC no longer knows us. Any other status is
    /// the caller's to judge.
    pub async fn send(&self, ask: Ask<'_>) -> Result<Answer, BmcError> {
        let (login, generation) = self.login(0).await?;
        let answer = self.endpoint.send(ask, Some(&login)).await?;
        if !forgets_us(&answer) {
            return Ok(answer);
        }
        if login.0 == AUTHORIZATION {
            // Where there was no room for a session, that is what is wrong, and not the password.
            return Err(match self.state.lock().await.full.clone() {
                Some(full) => full.into_error(&self.endpoint.shown(), LOGIN),
                None => self.refused_login(),
            });
        }
        let (login, _) = self.login(generation).await?;
        let answer = self.endpoint.send(ask, Some(&login)).await?;
        if answer.status == 401 { Err(self.refused_login()) } else { Ok(answer) }
    }

    /// The login in use, for a request that is not ours to make.
    pub async fn present(&self) -> Option<Login> {
        self.login(0).await.ok().map(|(login, _)| login)
    }

    /// Gives the session back. A second call finds nothing to do; a later request logs in again.
    pub async fn close(&self) {
        let given_back = self.state.lock().await.give_back();
        if let Some(given_back) = given_back {
            // It says itself when it did not work.
            let _ = given_back.await;
        }
    }

    /// The present login, made anew when it is not younger than `refused`.
    async fn login(&self, refused: u64) -> Result<(Login, u64), BmcError> {
        let root = self.root().await?;
        let mut state = Arc::clone(&self.state).lock_owned().await;
        if let Some(login) = state.login.clone() {
            if state.generation > refused {
                return Ok((login, state.generation));
            }
            state.login = None;
            state.location = None;
        }
        let path = match &root.sessions {
            Some(link) => Some(self.endpoint.path(link)?),
            None => None,
        };
        let entrance =
            Entrance { endpoint: Arc::clone(&self.endpoint), credentials: self.credentials.clone() };
        let logged_in = tokio::spawn(async move { entrance.enter(path, state).await });
        logged_in.await.unwrap_or_else(|_| Err(self.refused_login()))
    }

    fn basic(&self) -> Result<Login, BmcError> {
        basic(&self.endpoint, &self.credentials)
    }

    fn refused_login(&self) -> BmcError {
        refused_login(&self.endpoint)
    }

    /// The resource in an answer, or why there is none.
    pub fn resource(&self, answer: Answer, what: &str) -> Result<Resource, BmcError> {
        if !answer.is_success() {
            let refusal = Refusal::read(answer.status, &answer.body);
            return Err(refusal.into_error(&self.endpoint.shown(), format!("reading {what}")));
        }
        let excerpt = answer.body.plain(EXCERPT).unwrap_or_else(|| "nothing".into());
        answer.resource().ok_or_else(|| self.endpoint.nonsense(what, Oddity::NoResource(excerpt)))
    }
}

/// What logging in is called in errors.
const LOGIN: &str = "the login";

/// What became of a POST to the session collection.
enum Made {
    /// A session: its token, and where it is deleted.
    Session(HeaderValue, Option<String>),
    /// The service has no sessions.
    NoSessions,
    /// It has, and no room for one more.
    NoRoom(Refusal),
}

/// What logging in takes, owned, so that it comes to its end although whoever asked for it went away.
struct Entrance {
    endpoint: Arc<Endpoint>,
    credentials: Credentials,
}

impl Entrance {
    /// Logs in at the session collection, or by Basic where there is none, and keeps the login.
    async fn enter(
        self,
        path: Option<String>,
        mut state: OwnedMutexGuard<State>,
    ) -> Result<(Login, u64), BmcError> {
        let made = match path {
            Some(path) => self.make(&path).await?,
            None => Made::NoSessions,
        };
        let login = match made {
            Made::Session(token, location) => {
                state.worked = true;
                state.location = location;
                (HeaderName::from_static("x-auth-token"), token)
            }
            Made::NoSessions if state.worked => return Err(refused_login(&self.endpoint)),
            Made::NoSessions => basic(&self.endpoint, &self.credentials)?,
            // Its sessions may be anybody's: they are not ours to delete.
            Made::NoRoom(refusal) if state.worked => {
                return Err(refusal.into_error(&self.endpoint.shown(), LOGIN));
            }
            Made::NoRoom(refusal) => {
                self.endpoint.work.note(format!(
                    "the BMC has no room for another session ({}); it is spoken to by Basic authentication instead; end old \
                     sessions on it",
                    refusal.text.trim_end_matches('.')
                ));
                state.full = Some(refusal);
                basic(&self.endpoint, &self.credentials)?
            }
        };
        state.generation += 1;
        state.login = Some(login.clone());
        Ok((login, state.generation))
    }

    /// POSTs a session.
    async fn make(&self, path: &str) -> Result<Made, BmcError> {
        let password = self.credentials.password.reveal();
        let body = json!({"UserName": self.credentials.user, "Password": password});
        let ask = Ask { verb: Verb::Post, path, body: Some(&body), if_match: None };
        let answer = self.endpoint.send(ask, None).await?;
        if answer.is_success() {
            let Some(mut token) = answer.token else {
                return Err(self.endpoint.nonsense(
                    "the login",
                    Oddity::NoResource("a success without an X-Auth-Token header".into()),
                ));
            };
            token.set_sensitive(true);
            // A foreign Location cannot be deleted later; the session then ends by its own timeout.
            let location = answer.location.and_then(|link| self.endpoint.path(&link).ok());
            return Ok(Made::Session(token, location));
        }
        if matches!(answer.status, 404 | 405 | 501) {
            return Ok(Made::NoSessions);
        }
        let mut refusal = Refusal::read(answer.status, &answer.body);
        match refusal.kind {
            Kind::PasswordExpired | Kind::SessionsFull => {}
            _ if answer.status == 401 => return Err(refused_login(&self.endpoint)),
            Kind::NoSession | Kind::Forbidden => return Err(refused_login(&self.endpoint)),
            _ => {}
        }
        // Some services quote the request they refuse.
        if !password.is_empty() {
            refusal.text = refusal.text.replace(password, "***");
        }
        if refusal.kind == Kind::SessionsFull {
            return Ok(Made::NoRoom(refusal));
        }
        Err(refusal.into_error(&self.endpoint.shown(), LOGIN))
    }
}

fn basic(endpoint: &Endpoint, credentials: &Credentials) -> Result<Login, BmcError> {
    let pair = format!("{}:{}", credentials.user, credentials.password.reveal());
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let mut value = HeaderValue::from_str(&text).map_err(|_| refused_login(endpoint))?;
    value.set_sensitive(true);
    Ok((AUTHORIZATION, value))
}

fn refused_login(endpoint: &Endpoint) -> BmcError {
    BmcError::Credentials { endpoint: endpoint.shown() }
}

/// Whether an answer says that our session is gone. A bare 403 does not: it may be a missing right.
fn forgets_us(answer: &Answer) -> bool {
    answer.status == 401
        || (answer.status == 403 && Refusal::read(answer.status, &answer.body).kind == Kind::NoSession)
}

async fn goodbye(endpoint: &Endpoint, login: &Login, location: &str) {
    match tokio::time::timeout(GOODBYE, say_goodbye(endpoint, login, location)).await {
        Ok(Ok(answer)) if answer.is_success() || answer.status == 401 || answer.status == 404 => {}
        Ok(Ok(answer)) => {
            tracing::warn!(bmc = %endpoint.shown(), status = answer.status, "the BMC kept our session");
        }
        Ok(Err(error)) => tracing::warn!(bmc = %endpoint.shown(), %error, "our session was not given back"),
        Err(_) => tracing::warn!(bmc = %endpoint.shown(), "our session was not given back in 10 s"),
    }
}

/// Deleting a session twice does no harm, so it is said until it is heard. A BMC that is left alone hears it too: a
/// session that stays there locks somebody out.
async fn say_goodbye(endpoint: &Endpoint, login: &Login, location: &str) -> Result<Answer, BmcError> {
    let mut tries = 0;
    loop {
        let said = endpoint.send_anyway(Ask::bare(Verb::Delete, location), Some(login)).await;
        tries += 1;
        let pause = match &said {
            Ok(answer) if answer.status == 429 || answer.status >= 500 => answer.retry_after,
            Err(BmcError::Unreachable { .. }) => None,
            _ => return said,
        };
        if tries == GOODBYES {
            return said;
        }
        tokio::time::sleep(pause.unwrap_or_else(|| endpoint.pause(tries))).await;
    }
}

impl State {
    /// Begins to give the session back, where there is one and a runtime to do it.
    fn give_back(&mut self) -> Option<JoinHandle<()>> {
        let (login, location) = (self.login.take()?, self.location.take()?);
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let endpoint = Arc::clone(&self.endpoint);
        Some(runtime.spawn(async move { goodbye(&endpoint, &login, &location).await }))
    }
}

impl Drop for State {
    /// Last resort for a session nobody closed, or that was made for someone who went away meanwhile.
    fn drop(&mut self) {
        drop(self.give_back());
    }
}
