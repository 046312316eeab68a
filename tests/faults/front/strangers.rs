//! Connections of nobody who has anything to send: abandoned, or slow for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::collector::Collector;
use crate::front::{assert_undisturbed, goes_on, under_load};
use crate::linux;
use crate::scene::{Plan, Scene};
use crate::strangers;
use crate::table::Row;
use crate::wait;

/// Connections that are abandoned together.
const WAVE: usize = 500;
const N_SLOW: usize = 300;
/// How often more must have arrived while they go on.
const N_LOOKS: usize = 30;
/// Between two bytes of a slow connection.
const BYTE_INTERVAL: Duration = Duration::from_millis(50);
/// Each is cut several times, in its headers or in its body, and comes back.
const TIMEOUTS: &str = ", read_header_timeout: 500ms, read_timeout: 1s, idle_timeout: 1s";

pub(super) async fn abandoned(
    collector: Collector,
    fault: String,
    plan: Plan,
    n_connections: usize,
) -> Row {
    let mut scene = Scene::start(collector, plan);
    let (row, told) = under_load(&mut scene, &fault, |scene| {
        let before = n_files(scene);
        for _ in 0..n_connections / WAVE {
            let addresses = [scene.setup.grpc.as_str(), &scene.setup.http];
            let connections = strangers::begin(addresses, WAVE);
            goes_on(scene);
            drop(connections);
        }
        // Some may be those of metrics, just asked.
        wait::until("what was abandoned to be closed", wait::SOON, || {
            (n_files(scene) <= before + 2).then_some(())
        });
    })
    .await;
    assert_undisturbed(&told);
    row
}

pub(super) async fn slow(collector: Collector, fault: &str, plan: Plan) -> Row {
    let mut scene = Scene::before_petrel(collector, plan, |sink| sink);
    let http = format!("endpoint: '{}'", scene.setup.http);
    let config = scene.config().replace(&http, &format!("{http}{TIMEOUTS}"));
    scene.write_config(&config);
    scene.petrel = Some(scene.setup.start(&scene.scratch));
    scene.start_upstream(collector);
    let (row, told) = under_load(&mut scene, fault, |scene| {
        let is_over = Arc::new(AtomicBool::new(false));
        for index in 0..N_SLOW {
            let address = [&scene.setup.grpc, &scene.setup.http][index % 2].clone();
            tokio::spawn(dribble(address, index, Arc::clone(&is_over)));
        }
        wait::until("slow senders to be connected", wait::SOON, || {
            let addresses = [&scene.setup.grpc, &scene.setup.http];
            let n_connected = addresses.map(|address| linux::connected_from(address).len());
            // Others have just been cut.
            (n_connected.iter().sum::<usize>() >= N_SLOW / 2).then_some(())
        });
        // Long enough that those of HTTP are cut, and come back.
        (0..N_LOOKS).for_each(|_| goes_on(scene));
        is_over.store(true, Ordering::Relaxed);
    })
    .await;
    assert_undisturbed(&told);
    row
}

/// Says a request byte by byte, from its beginning again whenever it is cut.
async fn dribble(address: String, index: usize, is_over: Arc<AtomicBool>) {
    const HTTP_1: &[u8] = b"POST /v1/logs HTTP/1.1\r\nhost: petrel\r\ncontent-type: application/x-protobuf\r\ncontent-length: 5000\r\n\r\n";
    const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let words = [HTTP_1, HTTP_2][index / 2 % 2];
    // Every other one is quick with its headers, and slow with what follows.
    let n_quick = [0, words.len()][index / 4 % 2];
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(&address).await else {
            continue;
        };
        let (quick, slow) = words.split_at(n_quick);
        if stream.write_all(quick).await.is_err() {
            continue;
        }
        for byte in slow.iter().chain(std::iter::repeat(&0)) {
            tokio::time::sleep(BYTE_INTERVAL).await;
            if is_over.load(Ordering::Relaxed) || stream.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    }
}

fn n_files(scene: &Scene) -> usize {
    linux::count_of(scene.process(), "fd").unwrap_or_default()
}
