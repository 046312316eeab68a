//! A limit to open files and sockets that strangers use up.

use std::net::TcpStream;

use crate::collector::Collector;
use crate::front::{goes_on, stops, under_load};
use crate::petrel;
use crate::relay::Wire;
use crate::scene::{Plan, Scene};
use crate::table::Row;
use crate::wait;

/// Of Petrel: some twenty more than it has open in these rows.
const N_FILES: usize = 64;

/// Who is connected is served; then the next hop breaks its connections, and Petrel has nothing to connect
/// with until the strangers are gone.
pub(super) async fn run(collector: Collector, fault: &str, plan: Plan) -> Row {
    let mut scene = Scene::before_petrel(collector, plan, |sink| sink);
    let command = petrel::short_of_files(N_FILES);
    scene.petrel = Some(scene.setup.start_as(&scene.scratch, command));
    scene.start_upstream(collector);
    let (row, _) = under_load(&mut scene, fault, |scene| {
        let connect =
            |_| TcpStream::connect(&scene.setup.http).expect("the system's queue takes it");
        let idle: Vec<_> = (0..2 * N_FILES).map(connect).collect();
        wait::until("descriptors to run out", wait::SOON, || {
            let is_said = scene.log().contains("no connection can be taken");
            is_said.then_some(())
        });
        goes_on(scene);
        scene.relay.set(Wire::Down);
        stops(scene);
        // By now a stranger has the descriptor of the connection that broke.
        scene.relay.set(Wire::Whole);
        stops(scene);
        drop(idle);
    })
    .await;
    row
}
