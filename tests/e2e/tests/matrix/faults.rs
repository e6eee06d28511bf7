//! The rows of the matrix: each misbehaviour, where it shows, and how a job that meets it must end.
//!
//! Where recovery is possible it is demanded. A job that cannot succeed ends failed, with a code and words that name
//! the cause. Vendors that differ are listed with the reason beside them.

use mock_redfish::{Fault, Injection, Machine, Vendor};
use serde_json::json;

/// How a job ends.
#[derive(Debug, Clone, Copy)]
pub enum Ends {
    /// With the machine in its new system.
    Well,
    /// Failed before anything was erased, with one of these codes and every one of these words in its reason.
    Failed(&'static [&'static str], &'static [&'static str]),
}

/// A vendor for which a row differs, and why.
pub struct Except {
    /// Which.
    pub vendor: Vendor,
    /// How its job ends.
    pub ends: Ends,
    /// Whether the fault shows at all.
    pub shows: bool,
    /// Why.
    #[allow(dead_code)] // for those who read the table
    pub why: &'static str,
}

/// One row.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What is armed.
    pub arm: fn(&Machine) -> Vec<Injection>,
    /// How the job ends.
    pub ends: Ends,
    /// Deadline of a phase, for faults that never pass: its name and time.
    pub limit: Option<(&'static str, &'static str)>,
    /// The machine runs when the job comes.
    pub runs: bool,
    /// Vendors that differ.
    pub except: &'static [Except],
}

const fn row(name: &'static str, arm: fn(&Machine) -> Vec<Injection>) -> Row {
    Row { name, arm, ends: Ends::Well, limit: None, runs: false, except: &[] }
}

impl Row {
    const fn fails(
        mut self,
        codes: &'static [&'static str],
        words: &'static [&'static str],
        limit: Option<(&'static str, &'static str)>,
    ) -> Self {
        self.ends = Ends::Failed(codes, words);
        self.limit = limit;
        self
    }

    const fn running(mut self) -> Self {
        self.runs = true;
        self
    }

    const fn except(mut self, except: &'static [Except]) -> Self {
        self.except = except;
        self
    }
}

/// How jobs end where there is nothing to boot from, and no other way to boot.
const NO_MEDIA: Ends = Ends::Failed(&["bmc.no_boot_slot", "bmc.missing"], &["media"]);
/// How jobs end where no system can be told from another.
const NO_SYSTEM: Ends = Ends::Failed(&["bmc.missing"], &["no system", "restart the BMC"]);

const fn differs(vendor: Vendor, ends: Ends, why: &'static str) -> Except {
    Except { vendor, ends, shows: true, why }
}

const fn unseen(vendor: Vendor, why: &'static str) -> Except {
    Except { vendor, ends: Ends::Well, shows: false, why }
}

fn always(fault: Fault) -> Vec<Injection> {
    vec![Injection::always(fault)]
}

fn times(times: u32, fault: Fault) -> Vec<Injection> {
    vec![Injection::times(times, fault)]
}

fn at(times: u32, fault: Fault, method: &str, path: &str) -> Vec<Injection> {
    vec![Injection::times(times, fault).on(method, path)]
}

/// At whatever puts a medium into a drive: POST to an action, or PATCH of the drive.
fn at_insert(machine: &Machine, injection: &Injection) -> Vec<Injection> {
    let method = if machine.config().quirks.media_by_patch { "PATCH" } else { "POST" };
    vec![injection.clone().on(method, &machine.media_path())]
}

/// Every row, by what it is about.
pub const ROWS: &[Row] = &[
    row("nothing", |_| vec![]),
    row("nothing, and the machine runs", |_| vec![]).running(),
    // Slow and broken transport.
    row("every answer is late", |_| always(Fault::Delay { ms: 25 })),
    row("connections are reset", |_| vec![Injection::times(3, Fault::Reset).after(4)]),
    row("the power-on is done and its answer lost", |m| at(1, Fault::ResetAfter, "POST", &m.reset_path())),
    row("an insert is done and its answer lost", |m| at_insert(m, &Injection::times(1, Fault::ResetAfter))),
    row("answers are cut in the middle", |_| {
        vec![Injection::times(2, Fault::CutAnswer).on("GET", "/redfish/v1").after(5)]
    }),
    row("half-written JSON", |m| {
        vec![Injection::times(2, Fault::HalfJson).on("GET", &m.system_path()).after(1)]
    }),
    row("an answer drips", |m| at(1, Fault::Drip { ms: 2 }, "GET", &m.system_path())),
    // Refusals that pass.
    row("a storm of 500", |_| {
        vec![Injection::times(4, Fault::status(500)).on("GET", "/redfish/v1").after(3)]
    }),
    row("inserts break", |m| at_insert(m, &Injection::times(2, Fault::status(500)))),
    row("pages of HTML with 503", |_| vec![Injection::times(2, Fault::Page { status: 503 }).after(6)]),
    row("429 with Retry-After", |_| vec![Injection::times(2, Fault::busy(429, 1)).after(5)]),
    row("503 with Retry-After", |m| at(2, Fault::busy(503, 1), "POST", &m.reset_path())),
    row("the system flaps with 404", |m| {
        vec![Injection::times(2, Fault::status(404)).on("GET", &m.system_path()).after(1).every(2)]
    }),
    row("409 on power-on", |m| at(2, Fault::message(409, "ResourceInUse"), "POST", &m.reset_path())),
    row("412 on changes", |_| at(2, Fault::message(412, "PreconditionFailed"), "PATCH", "/redfish/v1")),
    row("428 on changes", |_| at(1, Fault::message(428, "PreconditionRequired"), "PATCH", "/redfish/v1")),
    row("the insert fails and was done", |m| {
        at_insert(m, &Injection::times(1, Fault::StatusAfter { status: 500 }))
    }),
    // Logins.
    row("401 in the middle", |_| vec![Injection::times(2, Fault::SessionForgotten).after(6)]),
    row("the session table is full for a while", |_| times(1, Fault::SessionsFull))
        .except(&[unseen(Vendor::Sushy, "it knows no sessions")]),
    row("the session table stays full", |_| always(Fault::SessionsFull))
        .except(&[unseen(Vendor::Sushy, "it knows no sessions")]),
    row("the password must be changed", |_| always(Fault::PasswordChange)).fails(
        &["bmc.refused", "bmc.credentials", "bmc.password_change"],
        &["password"],
        Some(("probing", "6s")),
    ),
    row("401 for ever", |_| always(Fault::message(401, "NoValidSession"))).fails(
        &["bmc.credentials"],
        &["credentials"],
        None,
    ),
    // Drives.
    row("an ejected drive still shows its image", |_| times(2, Fault::StaleInserted { reads: 3 })),
    row("an insert says yes and is not there", |_| times(1, Fault::PhantomInsert)),
    row("no insert is ever there", |_| always(Fault::PhantomInsert)).fails(
        &["timeout.mounting"],
        &["shows"],
        Some(("mounting", "8s")),
    ),
    // Tasks.
    row("the task of an insert vanishes", |m| at_insert(m, &Injection::times(1, Fault::TaskVanishes))),
    row("the task of the power-on vanishes", |m| at(1, Fault::TaskVanishes, "POST", &m.reset_path())),
    row("a task never ends, and its work is done", |m| {
        at_insert(m, &Injection::times(1, Fault::TaskStuck { works: true }))
    }),
    row("tasks never end, and nothing is done", |m| {
        at_insert(m, &Injection::always(Fault::TaskStuck { works: false }))
    })
    .fails(&["timeout.mounting"], &[], Some(("mounting", "8s"))),
    // Overrides.
    row("the override is ignored", |_| always(Fault::OnceIgnored)).fails(
        &["timeout.booting"],
        &["has not"],
        Some(("booting", "4s")),
    ),
    row("the override sticks", |_| times(1, Fault::OnceSticks)),
    row("the override reverts early", |_| times(1, Fault::OnceReverts { reads: 1 })),
    row("an insert drops the override", |_| times(1, Fault::OverrideDropped)),
    row("the mode flips to Legacy", |_| times(1, Fault::ModeFlips)).except(&[
        unseen(Vendor::OpenbmcGb200, "it has no override mode"),
        unseen(Vendor::Ilo4, "it has no override mode"),
    ]),
    // Power.
    row("the power state lies a while", |_| times(2, Fault::PowerLies { says: "On".into() })),
    row("the power state always says On", |_| always(Fault::PowerLies { says: "On".into() })).fails(
        &["timeout.mounting", "bmc.refused"],
        &["Off"],
        Some(("mounting", "8s")),
    ),
    row("a reset does nothing", |_| times(1, Fault::ResetIgnored)),
    row("the machine does not start", |_| always(Fault::WillNotStart)).fails(
        &["timeout.booting"],
        &["ower"],
        Some(("booting", "12s")),
    ),
    // The BMC itself.
    row("the BMC restarts in the middle", |_| {
        vec![Injection::times(1, Fault::BmcReboots { ms: 400, unready: 3 }).after(9)]
    }),
    row("its clock is a day behind", |_| always(Fault::ClockSkew { seconds: -86_400 })),
    row("keys are missing until it is restarted", |_| always(Fault::KeysMissing))
        .fails(&["bmc.no_boot_slot", "bmc.missing"], &["media"], Some(("probing", "6s")))
        .except(&[
            differs(Vendor::OpenbmcGb200, NO_SYSTEM, "of its two systems none shows that it boots"),
            differs(Vendor::AmiDgx, NO_SYSTEM, "of its two systems none shows that it boots"),
        ]),
    row("it has no drives", |m| {
        let empty = [("Members", json!(null)), ("Members@odata.count", json!(0))];
        vec![Injection::always(Fault::replace(&empty)).on("GET", &m.media_path())]
    })
    .except(&[
        // Those that let the URI be set boot over HTTP instead.
        differs(Vendor::Xcc, NO_MEDIA, "it lists no UefiHttp"),
        differs(Vendor::Ilo5, NO_MEDIA, "it lists UefiHttp, and has no key for the URI"),
        differs(Vendor::Ilo4, NO_MEDIA, "it knows no HTTP boot"),
        differs(Vendor::SupermicroX11, NO_MEDIA, "it has no key for the URI"),
        differs(Vendor::SupermicroX13, NO_MEDIA, "it has no key for the URI"),
        differs(Vendor::Idrac8, NO_MEDIA, "it knows no HTTP boot"),
    ]),
    row("a link leads to another host", |_| {
        let away = json!({"@odata.id": "http://127.0.0.9:9/redfish/v1/Systems"});
        vec![Injection::always(Fault::replace(&[("Systems", away)])).on("GET", "/redfish/v1")]
    })
    .fails(&["bmc.foreign_link"], &["leads away"], None),
];
