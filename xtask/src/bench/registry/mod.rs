//! `registry`: the controller's registry and media listener against what people run today, each over real sockets by one and
//! the same client (`registry-load`), on the same disk, in turns.
//!
//! ```text
//!   push        slipway (PUT, PATCH, TLS) │ docker-registry
//!   pull        slipway (plain, TLS)      │ nginx (sendfile, TLS)         1, 8 and 64 clients
//!   manifests   slipway                   │ nginx, docker-registry
//!   media       slipway                   │ nginx                         ranges as BMCs ask for them
//!   lists       10 000 tags, repositories │ the same with 100
//! ```

mod content;
mod load;
mod servers;

use std::fs;

use anyhow::Result;

use super::Findings;
use super::figure::{Figure, Target};
use super::programs::Programs;
use crate::{cache, packages};
use load::{Load, Measured};
use servers::{Server, Servers};

/// What it is compared with.
pub const PEERS: &[&str] = &["docker-registry", "nginx"];
/// Their packages.
const PACKAGES: &[(&str, &str)] = &[
    ("docker-registry", "the registry that is compared with"),
    ("nginx-light", "the file server that is compared with"),
    ("openssl", "a certificate for nginx"),
];
/// Numbers of clients that pull.
const CLIENTS: [u32; 3] = [1, 8, 64];
/// Seconds of one measurement of reads.
const SECONDS: &str = "2";
/// Size of a pushed blob in MiB.
const PUSHED_MIB: &str = "1024";

/// Samples of one thing, round by round.
#[derive(Default)]
struct Samples {
    rate: Vec<f64>,
    cpu: Vec<f64>,
}

impl Samples {
    fn add(&mut self, measured: &Measured) {
        self.rate.push(measured.mib_per_second());
        self.cpu.push(measured.cpu_per_gib());
    }
}

/// Installs what it is compared with.
pub fn install() -> Result<()> {
    packages::ensure_unstarted(PACKAGES)
}

/// Measures it.
pub fn measure(programs: &Programs, rounds: u32) -> Result<Findings> {
    let folder = cache::folder("bench")?.join("registry");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let servers = Servers::start(programs, &folder)?;
    let load = Load { program: &programs.registry_load, servers: &servers };
    eprintln!("── registry: filling …");
    let filled = content::fill(&load, &folder)?;
    let mut figures = Vec::new();
    let mut commands = Vec::new();
    pushes(&load, rounds, &mut figures, &mut commands)?;
    pulls(&load, &filled, rounds, &mut figures, &mut commands)?;
    small(&load, &filled, rounds, &mut figures, &mut commands)?;
    drop(servers);
    fs::remove_dir_all(&folder)?;
    Ok(Findings {
        figures,
        commands,
        notes: vec![
            "every server on loopback, its store on the same disk; slipway is the real `slipway serve` with authentication on, \
             its plain listener is `registry_listen`; processor time is the server's alone, user and system"
                .to_owned(),
            "a push ends with the 201; slipway has then synced blob, folder and index, docker-registry 2.8 syncs nothing"
                .to_owned(),
        ],
    })
}

/// All of them, the order turned round with each round; the first is for warmth.
fn rounds_of<T>(rounds: u32, of: &[T], mut run: impl FnMut(usize, &T, bool) -> Result<()>) -> Result<()> {
    for round in 0..=rounds {
        let mut order: Vec<_> = of.iter().enumerate().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (number, one) in order {
            run(number, one, round > 0)?;
        }
    }
    Ok(())
}

fn pushes(load: &Load<'_>, rounds: u32, figures: &mut Vec<Figure>, commands: &mut Vec<String>) -> Result<()> {
    eprintln!("── registry: pushes …");
    let ways: [(Server, &[&str]); 4] = [
        (Server::Docker, &["--mib", PUSHED_MIB]),
        (Server::Slipway, &["--mib", PUSHED_MIB]),
        (Server::Slipway, &["--mib", PUSHED_MIB, "--patch", "4"]),
        (Server::SlipwayTls, &["--mib", PUSHED_MIB]),
    ];
    commands.extend(ways.iter().map(|(server, args)| load.push_shown(*server, args)));
    let mut found: [Samples; 4] = Default::default();
    let mut hashing = Vec::new();
    rounds_of(rounds, &ways, |number, (server, args), counts| {
        let measured = load.push(*server, args)?;
        load.servers.forget_pushed(*server)?;
        if counts {
            found[number].add(&measured);
            hashing.push(measured.hash_per_gib());
        }
        Ok(())
    })?;
    let [docker, ours, patches, tls] = found;
    figures.extend([
        Figure::ratio("push of 1 GiB, speed, of docker-registry", &ours.rate, &docker.rate)
            .should_be(Target::AtLeast(2.0)),
        Figure::median("push, processor time of the server", "s/GiB", ours.cpu.clone())
            .should_be(Target::AtMost(1.6)),
        Figure::median("of it SHA-256 alone, as the client measured it", "s/GiB", hashing),
        Figure::ratio("push, processor time, of docker-registry", &ours.cpu, &docker.cpu),
        Figure::ratio("push in PATCHes of 4 MiB, speed, of one PUT", &patches.rate, &ours.rate)
            .should_be(Target::AtLeast(0.8)),
        Figure::median("push", "MiB/s", ours.rate),
        Figure::median("push under TLS", "MiB/s", tls.rate),
        Figure::median("push under TLS, processor time", "s/GiB", tls.cpu),
        Figure::median("push, docker-registry", "MiB/s", docker.rate),
        Figure::median("push, docker-registry, processor time", "s/GiB", docker.cpu),
    ]);
    Ok(())
}

fn pulls(
    load: &Load<'_>,
    filled: &content::Filled,
    rounds: u32,
    figures: &mut Vec<Figure>,
    commands: &mut Vec<String>,
) -> Result<()> {
    for clients in CLIENTS {
        eprintln!("── registry: pulls, {clients} at once …");
        let number = clients.to_string();
        let args = ["--clients", &number, "--seconds", SECONDS];
        let ways = [Server::Nginx, Server::Slipway, Server::NginxTls, Server::SlipwayTls];
        let path = |server: Server| if server.is_nginx() { "/blob" } else { filled.blob.as_str() };
        if clients == CLIENTS[0] {
            commands.extend(ways.iter().map(|server| load.get_shown(*server, path(*server), &args)));
        }
        let mut found: [Samples; 4] = Default::default();
        rounds_of(rounds, &ways, |number, server, counts| {
            let measured = load.get(*server, path(*server), &args)?;
            if counts {
                found[number].add(&measured);
            }
            Ok(())
        })?;
        let [nginx, ours, nginx_tls, ours_tls] = found;
        let least = if clients == 1 { 0.8 } else { 1.0 };
        figures.extend([
            Figure::ratio(&format!("pull, {clients} at once, of nginx"), &ours.rate, &nginx.rate)
                .should_be(Target::AtLeast(least)),
            Figure::ratio(
                &format!("pull under TLS, {clients} at once, of nginx"),
                &ours_tls.rate,
                &nginx_tls.rate,
            )
            .should_be(Target::AtLeast(0.8)),
            Figure::median("  slipway", "MiB/s", ours.rate),
            Figure::median("  nginx", "MiB/s", nginx.rate),
            Figure::median("  slipway, TLS", "MiB/s", ours_tls.rate),
            Figure::median("  nginx, TLS", "MiB/s", nginx_tls.rate),
            Figure::median("  slipway, processor time", "s/GiB", ours.cpu),
            Figure::median("  nginx, processor time", "s/GiB", nginx.cpu),
            Figure::median("  slipway, TLS, processor time", "s/GiB", ours_tls.cpu),
            Figure::median("  nginx, TLS, processor time", "s/GiB", nginx_tls.cpu),
        ]);
    }
    Ok(())
}

fn small(
    load: &Load<'_>,
    filled: &content::Filled,
    rounds: u32,
    figures: &mut Vec<Figure>,
    commands: &mut Vec<String>,
) -> Result<()> {
    eprintln!("── registry: manifests, media, lists …");
    let manifest = ["--clients", "16", "--seconds", SECONDS, "--accept", content::MANIFEST];
    let ranges = ["--clients", "8", "--seconds", SECONDS, "--ranges", "4096-1048576"];
    let list = ["--clients", "4", "--seconds", SECONDS];
    let ways: [(Server, &str, &[&str]); 9] = [
        (Server::Slipway, &filled.manifest, &manifest),
        (Server::Nginx, "/manifest", &manifest),
        (Server::Docker, &filled.manifest, &manifest),
        (Server::Media, &filled.media, &ranges),
        (Server::Nginx, "/media", &ranges),
        (Server::Slipway, content::MANY_TAGS, &list),
        (Server::Slipway, content::FEW_TAGS, &list),
        (Server::Slipway, content::LATE_REPOSITORIES, &list),
        (Server::Slipway, content::EARLY_REPOSITORIES, &list),
    ];
    commands.extend(ways.iter().map(|(server, path, args)| load.get_shown(*server, path, args)));
    let mut found: [Vec<f64>; 9] = Default::default();
    rounds_of(rounds, &ways, |number, (server, path, args), counts| {
        let measured = load.get(*server, path, args)?;
        if counts {
            found[number].push(measured.requests_per_second());
        }
        Ok(())
    })?;
    let mut copies = Vec::new();
    for round in 0..rounds {
        let to = format!("bench/copy{round}");
        let args = ["--from", content::REPOSITORY, "--to", &to, "--digest", &filled.digest];
        copies.push(load.mount(Server::Slipway, &args)? * 1000.0);
    }
    let [ours, nginx, docker, media, nginx_media, many, few, late, early] = found;
    figures.extend([
        Figure::median("manifests of 4 KiB, 16 at once", "/s", ours.clone())
            .should_be(Target::AtLeast(20_000.0)),
        Figure::ratio("  of nginx", &ours, &nginx),
        Figure::ratio("  of docker-registry", &ours, &docker),
        Figure::ratio("media, ranges of 4 KiB to 1 MiB, of nginx", &media, &nginx_media)
            .should_be(Target::AtLeast(0.8)),
        Figure::median("  slipway", "/s", media),
        Figure::median("  nginx", "/s", nginx_media),
        Figure::ratio("a page of 100 of 10 000 tags, of one of 100", &many, &few)
            .should_be(Target::AtLeast(0.8)),
        Figure::ratio("the last page of 10 000 repositories, of the first", &late, &early)
            .should_be(Target::AtLeast(0.8)),
        Figure::largest("copy of 1 GiB to another repository, slowest of 20", "ms", copies)
            .should_be(Target::AtMost(100.0)),
        Figure::median("  pages of tags", "/s", many),
        Figure::median("  pages of repositories", "/s", late),
    ]);
    Ok(())
}
