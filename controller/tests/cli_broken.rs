//! The program on a line that breaks: a push and a watch go on where they were cut.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

mod api_support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api_support::World;
use api_support::host::Script;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A line to the controller whose connections are cut, the first `cuts` of them, once so many bytes went through.
struct Line {
    url: String,
    connections: Arc<AtomicUsize>,
    /// Cuts every connection of now.
    cut: Arc<tokio::sync::Notify>,
}

impl Line {
    async fn new(to: SocketAddr, cuts: usize, after: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let cut = Arc::new(tokio::sync::Notify::new());
        let scissors = Arc::clone(&cut);
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::Relaxed);
                let budget = if number < cuts { after } else { usize::MAX };
                let scissors = Arc::clone(&scissors);
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(near, to, budget) => {}
                        () = scissors.notified() => {}
                    }
                });
            }
        });
        Self { url, connections, cut }
    }
}

/// Carries bytes both ways until the budget is used up or an end is closed.
async fn carry(mut near: TcpStream, to: SocketAddr, mut budget: usize) {
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    loop {
        let moved = tokio::select! {
            count = near.read(&mut up) => {
                let count = count.unwrap_or(0);
                if count == 0 || far.write_all(&up[..count]).await.is_err() { return }
                count
            }
            count = far.read(&mut down) => {
                let count = count.unwrap_or(0);
                if count == 0 || near.write_all(&down[..count]).await.is_err() { return }
                count
            }
        };
        match budget.checked_sub(moved) {
            Some(left) => budget = left,
            None => return, // both ends are dropped: the line is cut
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_goes_on_where_the_line_was_cut() {
    let world = World::start(0).await;
    let mut disk = vec![0_u8; 24 << 20];
    getrandom::fill(&mut disk).unwrap();
    disk[512..520].copy_from_slice(b"EFI PART");
    let file = world.state.path().join("disk.raw");
    std::fs::write(&file, &disk).unwrap();
    let line = Line::new(world.server.api_address, 3, 5 << 20).await;
    let push = ["image", "push", file.to_str().unwrap(), "images/disk", "--url", &line.url];
    let ran = world.slipway(&push, "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("going on where it broke"), "{}", ran.err);
    assert!(line.connections.load(Ordering::Relaxed) > 3);
    let digest = ran.out.trim().split_once('@').unwrap().1;
    let image = world.server.registry.resolve("images/disk", digest).await.unwrap().unwrap();
    assert_eq!((image.layers[0].size, image.missing.len()), (disk.len() as u64, 0));
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_the_line_was_cut_and_tells_nothing_twice() {
    let world = World::start(1).await;
    world.add(0).await;
    world.player.pause(Duration::from_secs(5));
    let id = world.job("S1", &World::inventory(), Script::Succeed(vec!["inventory"])).await;
    world.until(&id, "phase", "installing").await;
    let line = Line::new(world.server.api_address, 0, 0).await;
    let watch = ["job", "watch", &id, "--url", &line.url];
    let cutting = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        line.cut.notify_waiters();
    };
    let (ran, ()) = tokio::join!(world.slipway(&watch, ""), cutting);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("trying again"), "the line was not cut:\n{}", ran.out);
    assert!(line.connections.load(Ordering::Relaxed) > 1);
    let told = ran.out.matches("making the task medium").count();
    assert_eq!(told, 1, "{}", ran.out);
    assert!(ran.out.contains(" on S1 succeeded after "), "{}", ran.out);
    world.server.stop().await;
}
