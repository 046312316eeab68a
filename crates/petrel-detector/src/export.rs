//! The one line by which a crate becomes a detector.

/// Makes this crate a guest: `export!(Type)` for a [`Detector`](crate::Detector) that is `Default`,
/// `export!(Type, expression)` for one made by an expression.
///
/// A detector's crate has `crate-type = ["cdylib", "rlib"]`, calls this once, and is built by
/// `cargo build --release --target wasm32-unknown-unknown`: the module that comes out is what Petrel
/// loads. On other targets this expands to a check of the types alone, and the crate is an ordinary
/// library.
///
/// The text and line of a panic reach the operator's log.
#[macro_export]
macro_rules! export {
    ($detector:ty) => {
        $crate::export!(
            $detector,
            <$detector as ::core::default::Default>::default()
        );
    };
    ($detector:ty, $make:expr) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[doc(hidden)]
            pub struct Make;

            impl $crate::guest::Make for Make {
                fn make() -> ::std::boxed::Box<dyn $crate::Detector> {
                    let detector: $detector = $make;
                    ::std::boxed::Box::new(detector)
                }
            }

            type Component = $crate::guest::Component<Make>;

            $crate::guest::bindings::export_component!(
                Component with_types_in $crate::guest::bindings
            );
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() -> ::std::boxed::Box<dyn $crate::Detector> = || {
            let detector: $detector = $make;
            ::std::boxed::Box::new(detector)
        };
    };
}
