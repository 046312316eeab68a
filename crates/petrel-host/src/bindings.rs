//! What wasmtime makes of the contract: calls lend slices, answers are owned.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from the contract"
)]

wasmtime::component::bindgen!({
    path: "../petrel-detector/wit",
    world: "petrel-detector",
    ownership: Borrowing { duplicate_if_necessary: true },
    require_store_data_send: true,
});
