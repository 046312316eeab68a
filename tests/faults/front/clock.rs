//! A wall clock that jumps under Petrel.

use crate::collector::Collector;
use crate::faketime::Clock;
use crate::front::{assert_undisturbed, goes_on, under_load};
use crate::petrel;
use crate::scene::{Plan, Scene};
use crate::table::Row;

const JUMPS: [&str; 4] = ["+2d", "-3d", "+2d", "+0"];

pub(super) async fn run(collector: Collector, fault: &str, plan: Plan, clock: Clock) -> Row {
    let mut scene = Scene::before_petrel(collector, plan, |sink| sink);
    let mut command = petrel::command(&[]);
    clock.give(&scene.scratch, &mut command);
    scene.petrel = Some(scene.setup.start_as(&scene.scratch, command));
    scene.start_upstream(collector);
    let (row, told) = under_load(&mut scene, fault, |scene| {
        for jump in JUMPS {
            Clock::jump(&scene.scratch, jump);
            goes_on(scene);
        }
    })
    .await;
    assert_undisturbed(&told);
    row
}
