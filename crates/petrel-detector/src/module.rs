//! Something that instances of a detector can be made of: a compiled WASM component, or native code.

use crate::{Detector, Fault};

/// Makes instances of one detector; cheap to share, used by every worker.
pub trait Module: Send + Sync {
    /// A fresh instance that has not been configured.
    ///
    /// # Errors
    /// [`Fault`] when the instance cannot be made.
    fn instantiate(&self) -> Result<Box<dyn Detector + Send>, Fault>;

    /// `sha256:` and the hex digest of the module's bytes as read; `native:` and a name for native code.
    fn digest(&self) -> &str;
}
